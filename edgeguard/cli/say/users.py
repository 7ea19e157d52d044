"""People who log in on the servers, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def told(found: Mapping[str, Any]) -> str:
    """A line for each server, and what the environment's file would change."""
    lines = []
    for server, there in found["servers"].items():
        who = ", ".join(_one(name, there["open"].get(name, 0)) for name in there["users"])
        lines.append(f"{server}  {who or 'nobody may log in'}")
        lines += [
            f"{server}  {name} may not log in any more, and is logged in"
            for name in there["open"]
            if name not in there["users"]
        ]
    return "\n".join([*lines, *([told_changes(found, done=False)] if found["changes"] else [])])


def told_changes(found: Mapping[str, Any], *, done: bool) -> str:
    """What was changed, or would be: servers with the same changes share their lines."""
    if not found["changes"]:
        return f"{found['environment']}: the people of the environment's file, and nobody else, may log in already"
    same: dict[str, list[str]] = {}
    for server, change in found["changes"].items():
        said = [f"  {word} {who}" for word, names in change.items() for who in names]
        same.setdefault("\n".join(said), []).append(server)
    begin = "" if done else "`edgeguard users apply` would change on "
    return "\n".join(f"{begin}{', '.join(servers)}:\n{said}" for said, servers in same.items())


def _one(name: str, processes: int) -> str:
    return f"{name} (logged in)" if processes else name
