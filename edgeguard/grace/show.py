"""The present grace of an environment: the dictionary's claims, the grace in force by them, and what a node shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import in_force, live, parse_all
from edgeguard.errors import EdgeguardError
from edgeguard.grace import audit, strays
from edgeguard.times import duration, rfc3339
from edgeguard.visible import on_one_line
from edgeguard.width import wrapped

if TYPE_CHECKING:
    from edgeguard.environment import EdgeSide


def grace(environment: EdgeSide, *, now: float, audit_lines: int = 0) -> dict[str, Any]:
    """The grace in force and its claims, as the dictionary has them and one edge node shows them. Durations in seconds.

    A claim's end is judged by the edge's clock. `now` is this machine's time, and counts if the edge does not answer.
    If the API does not answer, the result is {"error": …, "remedy": …}. If only the edge does not answer, the part
    "edge" is that. `audit` has the newest lines first. `findings` are the strays.
    """
    if not environment.edge.claims:
        return _by_setting(environment)
    settings = environment.settings.edge
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
    alive = live(parse_all(items), now=now, ceiling=settings.ceiling)
    force = in_force(alive, base=settings.base_grace, ceiling=settings.ceiling, now=now)
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
            for claim in alive
        ],
        "edge": edge,
        "audit": [_readable(line) for line in said[:audit_lines]],
        "findings": [
            {"name": found.name, "severity": found.severity, "text": found.text, "remedy": found.remedy}
            for found in strays.about(environment, strays.find(items, now=now, ceiling=settings.ceiling))
        ],
    }


def _unknown(exc: EdgeguardError) -> dict[str, Any]:
    return {"error": exc.message, "remedy": exc.remedy}


def _readable(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the audit, with its times in RFC 3339."""
    times = {key: line[key] for key in ("at", "until") if key in line}
    return {**line, **{key: rfc3339(at) for key, at in times.items()}}


def _by_setting(environment: EdgeSide) -> dict[str, Any]:
    """The answer of `grace` if the service's own setting gives the grace. `in_force` is None if it is not as wanted."""
    base, ceiling = environment.edge.base, environment.settings.edge.ceiling
    try:
        policy = environment.edge.policy()
    except EdgeguardError as exc:
        return _unknown(exc)
    return {
        "mechanism": environment.settings.edge.mechanism,
        "base": base,
        "ceiling": ceiling,
        "in_force": None if policy.differences else base,
        "hold": False,
        "claims": [],
        "edge": None,  # the edge does not tell its settings
        "audit": [],
        "differences": list(policy.differences),
    }


def text(found: dict[str, Any]) -> str:
    """The answer of `grace`, for people."""
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
        whose = on_one_line(f"; {claim['who']}: {claim['why'] or 'no reason given'}") if claim["who"] else ""
        lines.append(f"  {claim['id']:<10} {duration(claim['grace'])} until {claim['until']} ({left} left{whose})")
    edge = found["edge"]
    if "error" in edge:
        lines.append(f"  edge       unknown: {edge['error']}")
    else:
        lines.append(
            f"  edge       {edge['node']} shows {duration(edge['grace'])}{', on hold' if edge['hold'] else ''}"
        )
    lines += [f"  {each['severity']:<10} {each['text']}. {each['remedy']}" for each in found["findings"]]
    for line in found["audit"]:
        said = f"{line.get('did', '?')} {line.get('id', '')} by {line.get('who', '?')}: {line.get('why') or '-'}"
        lines.append(f"  {line['at']}  {on_one_line(said)}")
    return "\n".join(wrapped(line, 13) for line in lines)
