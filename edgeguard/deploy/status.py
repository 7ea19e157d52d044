"""What is in force in an environment now, asked of the servers and the edge."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import left_out
from edgeguard.deploy.steps import ways_on
from edgeguard.edge.claim import in_force, live, parse_all
from edgeguard.errors import EdgeguardError
from edgeguard.grace import audit
from edgeguard.monitor import Limits
from edgeguard.monitor.check import check
from edgeguard.times import duration, rfc3339, short

if TYPE_CHECKING:
    from edgeguard.environment import EdgeSide, Environment

_PATIENCE = 5.0
"""Seconds for all pages together."""


def status(environment: Environment, *, now: float) -> dict[str, Any]:
    """Servers, lock, unfinished deploy and grace. The edge's part is {"error": …} when it can't be asked.

    `servers` are those that are driven and can be read; `without` those that are left out, `unreadable` the others,
    each with what was wrong; `runway` is told while something is unfinished or closed. If no server can be read there
    is nothing to tell: ClusterError.
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
        "grace": grace_status(environment, now=now),
        "runway": _runway(environment) if matters else None,
    }


def _runway(environment: Environment) -> float | None:
    """As `probe` has it: for how many seconds the edge could serve the pages of visitors.anonymous by itself."""
    return check(environment.name, environment.settings, Limits(None, None, _PATIENCE)).runway


def grace_status(environment: EdgeSide, *, now: float, audit_lines: int = 0) -> dict[str, Any]:
    """What the dictionary holds, what follows from it, and what one edge node shows. Durations in seconds.

    A claim's end is judged by the edge's clock; `now` is this machine's, and counts where the edge does not answer.
    What can't be asked is {"error": …, "remedy": …}: all of it, or only the edge's part. `audit` has the newest lines
    first.
    """
    settings = environment.settings.edge
    if not environment.edge.claims:
        return _by_setting(environment)
    try:
        items = environment.edge.items()
    except EdgeguardError as exc:
        return _unknown(exc)
    try:
        shown = environment.edge.status()
        now = shown.now
        edge: dict[str, Any] = {"node": shown.node, "revision": shown.revision, "now": rfc3339(shown.now)}
        edge |= {"grace": shown.grace, "hold": shown.hold}
    except EdgeguardError as exc:
        edge = _unknown(exc)
    said = audit.lines(items)
    claims = live(parse_all(items), now=now, ceiling=settings.ceiling)
    force = in_force(claims, base=settings.base_grace, ceiling=settings.ceiling, now=now)
    return {
        "mechanism": settings.mechanism,
        "base": settings.base_grace,
        "ceiling": settings.ceiling,
        "in_force": force.seconds,
        "hold": force.hold,
        "claims": [
            {
                "id": claim.slot,
                "grace": claim.grace,
                "until": rfc3339(claim.until),
                "seconds_left": claim.until - int(now),
                "who": audit.of_claim(claim, said).get("who"),
                "why": audit.of_claim(claim, said).get("why"),
            }
            for claim in claims
        ],
        "edge": edge,
        "audit": [_readable(line) for line in said[:audit_lines]],
    }


def _unknown(exc: EdgeguardError) -> dict[str, Any]:
    return {"error": exc.message, "remedy": exc.remedy}


def _readable(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the audit with times as people write them."""
    times = {key: line[key] for key in ("at", "until") if isinstance(line.get(key), int | float)}
    return {**line, **{key: rfc3339(at) for key, at in times.items()}}


def _by_setting(environment: EdgeSide) -> dict[str, Any]:
    """As grace_status where a setting carries the grace; `in_force` is None where it is not as wanted."""
    ceiling = environment.settings.edge.ceiling
    try:
        policy = environment.edge.policy()
    except EdgeguardError as exc:
        return _unknown(exc)
    return {
        "mechanism": environment.settings.edge.mechanism,
        "base": ceiling,
        "ceiling": ceiling,
        "in_force": None if policy.differences else ceiling,
        "hold": False,
        "claims": [],
        "edge": None,  # it tells nothing of a setting
        "audit": [],
        "differences": list(policy.differences),
    }


def text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{found['environment']}:", *servers_text(found["servers"])]
    lines += [
        f"  {name:<10} left out: no request gets there until a deploy brings it back" for name in found["without"]
    ]
    lines += [f"  {name:<10} unknown: {failure}" for name, failure in found["unreadable"].items()]
    lock = found["lock"]
    lines.append(
        f"  lock       {lock['deploy']} ({lock['holder']}, since {lock['since']})" if lock else "  lock       free"
    )
    lines.append(grace_text(found["grace"]))
    if found["runway"] is not None:
        lines.append(f"  runway     {duration(round(found['runway']))}: so long the edge could serve its copies alone")
    return "\n".join([*lines, *_to_do(found)])


def _to_do(found: dict[str, Any]) -> list[str]:
    """What is unfinished or closed, and the commands that go on from there."""
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


def grace_text(found: dict[str, Any]) -> str:
    """The grace for people."""
    if "error" in found:
        return f"  grace      unknown: {found['error']}"
    if "differences" in found:
        said = ", ".join(found["differences"]) or f"{duration(found['ceiling'])}, always, by the service's own setting"
        return f"  grace      {said}; no claims are possible, and the edge can't confirm it"
    hold = ", on hold" if found["hold"] else ""
    limits = f"base {duration(found['base'])}, ceiling {duration(found['ceiling'])}"
    lines = [f"  grace      {duration(found['in_force'])} in force{hold} ({limits})"]
    for claim in found["claims"]:
        left = duration(claim["seconds_left"])
        whose = plain(f"; {claim['who']}: {claim['why'] or 'no reason given'}") if claim["who"] else ""
        lines.append(f"  {claim['id']:<10} {duration(claim['grace'])} until {claim['until']} ({left} left{whose})")
    edge = found["edge"]
    if "error" in edge:
        lines.append(f"  edge       unknown: {edge['error']}")
    else:
        lines.append(
            f"  edge       {edge['node']} shows {duration(edge['grace'])}{', on hold' if edge['hold'] else ''}"
        )
    for line in found["audit"]:
        said = f"{line.get('did', '?')} {line.get('id', '')} by {line.get('who', '?')}: {line.get('why') or '-'}"
        lines.append(f"  {line['at']}  {plain(said)}")
    return "\n".join(lines)


def plain(text: str) -> str:
    """Others' words, without what a terminal would obey."""
    return "".join(character if character.isprintable() else "�" for character in text)
