"""What was done to a cluster by hand, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.times import duration, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def closed(environment: str, done: dict[str, Any]) -> str:
    """The end that was planned, and the command that opens it."""
    ends = f" until {done['grace']['until']}" if "until" in done["grace"] else ""
    return (
        f"{environment} is closed, as planned until {done['closure']['until']}; the edge serves the copies it has{ends}"
        f"\nedgeguard cluster open {environment} opens it"
    )


def opened(environment: str, done: dict[str, Any]) -> str:
    """The release that serves, and the servers that are left out."""
    left_out = [f"{server} is left out until a deploy brings it back" for server in done["without"]]
    closed = "" if done["closed_seconds"] is None else f", after {duration(done['closed_seconds'])} closed"
    opened = f"{environment} is open{closed}, healthy, and on {short(done['opened'])}; the grace is given back"
    return "\n".join([opened, *left_out])


def prepared(environment: str, done: Mapping[str, Sequence[str]], *, dry_run: bool) -> str:
    """What was done on each server, or would be done."""
    if not any(done.values()):
        return f"{environment}: every server is prepared, and nothing was left to do"
    head = f"{environment}: `cluster prepare` would" if dry_run else f"{environment} is prepared"
    return "\n".join([head, *_by_server(done)])


def unprepared(environment: str, done: Mapping[str, Sequence[str]]) -> str:
    """What was taken away on each server."""
    if not any(done.values()):
        return f"{environment}: no server was prepared, and nothing was left to take away"
    return "\n".join([f"{environment} is prepared no more; records and images stay on the servers", *_by_server(done)])


def _by_server(done: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each sentence, with the servers of which it is true. A server's own folder counts as the others'."""
    servers: dict[str, list[str]] = {}
    for server, sentences in done.items():
        for sentence in sentences:
            servers.setdefault(sentence.replace(f"/servers/{server}/", "/servers/*/"), []).append(server)
    return [f"  {', '.join(names)}: {sentence}" for sentence, names in servers.items()]
