"""The verdict as text for people, for Nagios and similar monitors, for Prometheus, or as JSON.

Nagios: nagios-plugins.org/doc/guidelines.html, "Plugin Output for Nagios" and "Performance data".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeguard.monitor import CODES, prometheus
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.monitor import Health
    from edgeguard.monitor.look import Asked


def text(health: Health) -> str:
    """Text for people: the verdict, what else has to be done, and the evidence."""
    lines = [f"{health.state.upper()} - {health.environment}: {health.summary}"]
    bad = [finding for finding in health.findings if finding.bad]
    for finding in bad:
        lines += [f"  {finding.severity:<10} {finding.text}"] if len(bad) > 1 else []
        lines += [f"  {'':<10} {finding.remedy}"] if finding.remedy else []
    lines += _facts(health)
    return "\n".join(lines) + "\n"


def _facts(health: Health) -> Iterator[str]:
    seen, status = health.seen, health.seen.status
    yield f"  front door {_told(seen.front)}"
    for origin in seen.origins:
        yield f"  origin     {_told(origin)}"
    if status is None:
        yield "  grace      unknown"
    else:
        hold = ", on hold" if status.hold else ""
        yield f"  grace      {duration(status.grace)} in force{hold} (base {duration(status.base)}), says {status.node}"
    for claim in health.claims:
        left = duration(max(0, round(claim.until - seen.now)))
        yield f"  {claim.slot:<10} {duration(claim.grace)} until {rfc3339(claim.until)}, {left} left"
    known = [page for page in health.pages if page.runway is not None]
    if health.runway is None:
        yield "  runway     unknown" + ("" if health.pages else ": visitors.anonymous names no pages")
    else:
        shortest = min(known, key=lambda page: page.runway or 0)
        unknown = len(health.pages) - len(known)
        but = f"; unknown of {unknown} others" if unknown else ""
        yield f"  runway     {duration(round(health.runway))} ({shortest.asked.url}, the shortest of {len(known)}{but})"


def _told(asked: Asked) -> str:
    if asked.answer is None:
        return f"{asked.url} gives no answer"
    stale = f", stale ({asked.stale})" if asked.stale else ""
    return f"{asked.url} answers {asked.status}{stale} in {asked.answer.seconds:.3f} s"


def as_json(health: Health) -> str:
    """One object on one line."""
    return json.dumps(health.json()) + "\n"


def nagios(health: Health) -> str:
    """One line: the state, why, and performance data (label=value[unit];warn;crit;min;max)."""
    status, limits, front = health.seen.status, health.limits, health.seen.front
    warning, critical = ("" if limit is None else str(limit) for limit in (limits.warning, limits.critical))
    figures = [
        f"runway={_figure(health.runway)};{warning};{critical};0;",
        f"grace={_figure(status.grace if status else None)};;;0;",
        f"time={health.seen.seconds:.3f}s;;;0;{limits.timeout:g}",
    ]
    if front.answer is not None:
        figures.insert(2, f"front_door={front.answer.seconds:.3f}s;;;0;{limits.timeout:g}")
    if health.closure is not None:
        figures.append(f"closed_left={health.closure.seconds_left:.0f}s")
    return f"{_line(health.state, f'{health.environment}: {health.summary}')} | {' '.join(figures)}\n"


def _figure(seconds: float | None) -> str:
    """Seconds; U is a value that could not be determined."""
    return "U" if seconds is None else f"{seconds:.0f}s"


def _line(state: str, message: str) -> str:
    return f"EDGEGUARD {state.upper()} - {' '.join(message.split()).replace('|', '/')}"


FORMATS: dict[str, Callable[[Health], str]] = {
    "text": text,
    "json": as_json,
    "nagios": nagios,
    "prometheus": prometheus.render,
}


def unknown(how: str, environment: str, message: str) -> str:
    """Say, in one of FORMATS, that there is no verdict, and why."""
    if how == "json":
        content = {"environment": environment, "state": "unknown", "exit_code": CODES["unknown"], "summary": message}
        return json.dumps(content) + "\n"
    if how == "prometheus":
        return prometheus.no_verdict(environment)
    return _line("unknown", message) + "\n"
