"""The state of an environment now, asked of the servers and of the edge."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import left_out
from edgeguard.grace import show
from edgeguard.times import duration, short

if TYPE_CHECKING:
    from edgeguard.environment import Environment

_PATIENCE = 5.0
"""Seconds for all pages together."""


def status(environment: Environment, *, now: float) -> dict[str, Any]:
    """Servers, lock, unfinished deploy and grace. The edge's part is {"error": …} when it can't be asked.

    `servers` are the servers that are driven and can be read, `without` those that are left out, `unreadable` the
    others, each with its error. `runway` is told while something is unfinished or closed.

    Raises:
        ClusterError: no server can be read.
    """
    cluster = environment.cluster
    record, failures = environment.record().read()
    if set(failures) == set(cluster.servers):
        raise next(iter(failures.values()))
    without = left_out(record)
    servers = cluster.without({*without, *failures}).state()
    matters = record.get("deploy") or record.get("closure") or not all(server.open for server in servers)
    return {
        "environment": environment.name,
        "servers": [asdict(server) for server in servers],
        "without": list(without),
        "unreadable": {name: failure.message for name, failure in failures.items() if name not in without},
        "lock": record.get("lock"),
        "deploy": record.get("deploy"),
        "closure": record.get("closure"),
        "opened": record.get("opened"),
        "grace": show.grace(environment, now=now),
        "runway": _runway(environment) if matters else None,
    }


def _runway(environment: Environment) -> float | None:
    """For how many seconds the edge could serve the pages of visitors.anonymous alone, judged as `probe` does."""
    # Only when something is unfinished or closed:
    from edgeguard.monitor import Limits  # noqa: PLC0415
    from edgeguard.monitor.check import check  # noqa: PLC0415

    return check(environment.name, environment.settings, Limits(None, None, _PATIENCE)).runway


def text(found: dict[str, Any]) -> str:
    """The answer of `status`, for people."""
    lines = [f"{found['environment']}:", *servers_text(found["servers"])]
    lines += [
        f"  {name:<10} left out: no request gets there until a deploy brings it back" for name in found["without"]
    ]
    lines += [f"  {name:<10} unknown: {failure}" for name, failure in found["unreadable"].items()]
    lock = found["lock"]
    lines.append(
        f"  lock       {lock['deploy']} ({lock['holder']}, since {lock['since']})" if lock else "  lock       free"
    )
    lines.append(show.text(found["grace"]))
    if found["runway"] is not None:
        lines.append(f"  runway     {duration(round(found['runway']))}: so long the edge could serve its copies alone")
    return "\n".join([*lines, *_to_do(found)])


def _to_do(found: dict[str, Any]) -> list[str]:
    """Lines about what is unfinished or closed, with the commands that go on from there."""
    name, deploy, closure = found["environment"], found["deploy"], found["closure"]
    lines = []
    if closure:
        lines.append(
            f"  closed by hand by {closure['who']}: {closure['why']} (planned until {closure['until']})\n"
            f"  edgeguard cluster open {name} opens it"
        )
    if deploy:
        how = "is held" if deploy.get("held") else "is under way, or was left unfinished"
        hook = deploy["hook"]
        lines.append(
            f"  {deploy['id']} {how}: it reached {deploy['phase']}"
            + (f"; its hook was started on {hook['server']}" if hook else "")
        )
        if deploy.get("held") or not found["lock"]:
            from edgeguard.deploy.steps import ways_on  # noqa: PLC0415 (all steps; mostly nothing is unfinished)

            lines.append(f"  {ways_on(name, deploy['id'])}")
        else:
            lines.append(f"  if its process is gone: edgeguard resume {name} or edgeguard rollback {name}")
    return lines


def servers_text(servers: list[dict[str, Any]]) -> list[str]:
    """A line for each server."""
    lines = []
    for server in servers:
        state = "open" if server["open"] else "closed"
        release, running = short(server["release"]), short(server["running"])
        lines.append(f"  {server['name']:<10} {state:<7} release {release}, runs {running}")
    return lines
