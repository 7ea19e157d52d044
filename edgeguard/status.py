"""What is in force in an environment now, asked of the servers and the edge."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeguard.edge import grace
from edgeguard.errors import EdgeguardError
from edgeguard.record import Record
from edgeguard.report import rfc3339

if TYPE_CHECKING:
    from edgeguard.environment import EdgeSide, Environment


def status(environment: Environment, *, now: float) -> dict[str, Any]:
    """Servers, lock, unfinished deploy and grace. The edge's part is {"error": …} when it can't be asked."""
    record = Record(environment.cluster, environment.name).look()
    return {
        "environment": environment.name,
        "servers": [asdict(server) for server in environment.cluster.state()],
        "lock": record.get("lock"),
        "deploy": record.get("deploy"),
        "opened": record.get("opened"),
        "grace": grace_status(environment, now=now),
    }


def grace_status(environment: EdgeSide, *, now: float) -> dict[str, Any]:
    """What the dictionary holds, what follows from it, and what one edge node shows. Durations in seconds."""
    settings = environment.settings.edge
    try:
        claims = grace.live(grace.parse_all(environment.edge.items()), now=now, ceiling=settings.ceiling)
        shown = environment.edge.status()
    except EdgeguardError as exc:
        return {"error": exc.message}
    force = grace.in_force(claims, base=settings.base_grace, ceiling=settings.ceiling, now=now)
    return {
        "base": settings.base_grace,
        "ceiling": settings.ceiling,
        "in_force": force.seconds,
        "hold": force.hold,
        "claims": [
            {
                "slot": claim.slot,
                "grace": claim.grace,
                "until": rfc3339(claim.until),
                "seconds_left": claim.until - int(now),
            }
            for claim in claims
        ],
        "edge": {"node": shown.node, "revision": shown.revision, "grace": shown.grace, "hold": shown.hold},
    }


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{found['environment']}:", *servers_text(found["servers"])]
    lock = found["lock"]
    lines.append(
        f"  lock       {lock['deploy']} ({lock['holder']}, since {lock['since']})" if lock else "  lock       free"
    )
    if found["deploy"]:
        lines.append(f"  closed by  {found['deploy']['id']}")
    return "\n".join([*lines, grace_text(found["grace"])])


def servers_text(servers: list[dict[str, Any]]) -> list[str]:
    """A line for each server."""
    lines = []
    for server in servers:
        state = "open" if server["open"] else "closed"
        release, running = (server[key][:12] if server[key] else "none" for key in ("release", "running"))
        lines.append(f"  {server['name']:<10} {state:<7} release {release}, runs {running}")
    return lines


def grace_text(found: dict[str, Any]) -> str:
    """The grace for people."""
    if "error" in found:
        return f"  grace      unknown: {found['error']}"
    hold = ", on hold" if found["hold"] else ""
    lines = [f"  grace      {duration(found['in_force'])} in force{hold} (base {duration(found['base'])})"]
    for claim in found["claims"]:
        left = duration(claim["seconds_left"])
        lines.append(f"  {claim['slot']:<10} {duration(claim['grace'])} until {claim['until']} ({left} left)")
    edge = found["edge"]
    lines.append(f"  edge       {edge['node']} shows {duration(edge['grace'])}{', on hold' if edge['hold'] else ''}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Seconds as people say them: 90 s, 5 min, 4 h, 7 d, exact where they are whole."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f} {unit}"
    if seconds >= 3600:  # noqa: PLR2004
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s"
