"""A report as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.errors import first_line
from edgeguard.times import duration, measured, short
from edgeguard.width import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.cluster.record import Ended, Opened


_SHOWN = 3


def render(report: dict[str, Any]) -> str:
    """The timeline, the visitors' table, and the outcome."""
    blocks = [_timeline(report), _visitors(report["visitors"]), _outcome(report)]
    return "\n\n".join(block for block in blocks if block)


def _timeline(report: dict[str, Any]) -> str:
    phases = [phase for phase in report["phases"] if phase["seconds"] is not None]
    longest = max((phase["seconds"] for phase in phases), default=0) or 1
    lines = []
    closed = False
    for phase in phases:
        closed = (closed or phase["name"] == "close") and phase["name"] not in ("open", "healthy")
        bar = ("█" if closed else "░") * max(1, round(40 * phase["seconds"] / longest))
        mark = {"done": "", "undone": "  taken back"}.get(phase["outcome"], f"  {phase['outcome']}")
        lines.append(f"  {phase['name']:<12}{measured(phase['seconds']):>11}  {bar}{mark}")
    if report["closed_seconds"] is not None:
        so_far = " so far" if report.get("still_closed") else ""
        lines.append(f"  closed for {measured(report['closed_seconds'])}{so_far} (█)")
    return "\n".join(line for line in lines if line)


def _visitors(figures: dict[str, Any]) -> str:
    if not figures:
        return ""
    lines = [f"  {'visitors':<14}{'requests':>9}{'errors':>8}{'stale':>8}{'p50':>9}{'p99':>9}{'down':>11}"]
    for audience, seen in figures.items():
        lines.append(
            f"  {audience:<14}{seen['requests']:>9}{seen['errors']:>8}{seen['stale']:>8}"
            f"{seen['p50'] * 1000:>6.0f} ms{seen['p99'] * 1000:>6.0f} ms{measured(seen['seconds_down']):>11}"
        )
    return "\n".join(line for line in lines if line)


def _outcome(report: dict[str, Any]) -> str:
    lines = [f"  {report['deploy']} of {report['environment']}: {report['outcome']} (exit {report['exit_code']})"]
    where = f" from {report['ref']}" if report["ref"] else ""
    lines.append(f"  release {short(report['release'])}{where}")
    if report.get("unchanged"):
        lines.append("  it served already, with the same variables and users: nothing was done")
    if report["servers"]:
        serving = (
            f"{server['name']} {short(server['release'])} {'open' if server['open'] else 'closed'}"
            for server in report["servers"]
        )
        lines.append("  servers: " + ", ".join(serving))
    if report["without"]:
        lines.append(f"  without {', '.join(report['without'])}, which no request reaches")
    lines += [f"  cron {name} was skipped: {_times(due)}" for name, due in report.get("skipped", {}).items()]
    purged = report["purged"]
    if purged["requests"]:
        keys = "1 key" if purged["keys"] == 1 else f"{purged['keys']} keys"
        requests = "1 request" if purged["requests"] == 1 else f"{purged['requests']} requests"
        lines.append(f"  purged: {keys} in {requests}; {'; '.join(purged['reasons'])}")
    if report["error"]:
        line = first_line(report["error"])
        lines.append(f"  {line}.{report['error'].removeprefix(line)}")
        lines.append(f"  {report['remedy']}" if report["remedy"] else "")
    return "\n".join(line for line in lines if line)


def _times(due: Sequence[str]) -> str:
    """The first moments at which a cron was due."""
    return ", ".join(due[:_SHOWN]) + (f" and {len(due) - _SHOWN} times more" if len(due) > _SHOWN else "")


def history(environment: str, past: Sequence[Ended], kept: Sequence[Opened]) -> str:
    """A line for each run, the newest last, and under it when, by whom and why it failed. The run that brought a
    release that is kept has a star."""
    lines = []
    last = {run.id: number for number, run in enumerate(past)}
    marked = {last[release.generation] for release in kept if release.generation in last}
    for number, run in enumerate(past):
        mark = "*" if number in marked else " "
        closed = f"closed {duration(run.closed_seconds)}" if run.closed_seconds is not None else "never closed"
        closed += " so far" if run.still_closed else ""
        lines.append(wrapped(f"{mark} {run.id}  {run.command:<8}  {run.outcome:<11}  {short(run.release)}", 4))
        lines.append(wrapped(f"    {run.started}, {closed}, by {run.who}", 4))
        if run.error:
            lines.append(wrapped(f"    {first_line(run.error)}", 4))
    lines += [f"* {short(each.release)}  of {each.generation}" for each in kept if each.generation not in last]
    if kept:
        lines.append(f"* is kept on the servers: edgeguard rollback {environment} --to RELEASE")
    return "\n".join(lines)
