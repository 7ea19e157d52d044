"""The law of a run's phases, over the entries of its journal: each outcome is told once, and as it really was."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from edgeguard.deploy import report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.deploy.journal import Entry

ENDS = {"begin": ("done", "failed"), "undoing": ("undone", "stays", "halted", "undo-failed")}
RESTORED = ("lock", "claim", "proof", "stop-tasks", "close", "swap", "open")
"""The phases that a run can take back. What the others did stays."""
REPORTED = {
    ("running", "done"): "done",
    ("running", "failed"): "failed",
    ("done", "undone"): "undone",
    ("done", "undo-failed"): "undo-failed",
}
"""The outcome of a phase after an event. Any other event leaves it as it was."""


def broken_laws(entries: Sequence[Entry]) -> Iterator[str]:
    """The broken laws, in words. A killed run may break off after any entry."""
    events = [*ENDS, *(end for ends in ENDS.values() for end in ends)]
    told = [(entry["event"], entry.get("step")) for entry in entries if entry["event"] in events]
    killed = entries[-1]["event"] != "end"
    for (event, step), after in zip_longest(told, told[1:]):
        whole = event not in ENDS or after in [(end, step) for end in ENDS[event]] or (after is None and killed)
        if not whole:
            yield f"{event} {step} is followed by {after}"
    for step in {step for _, step in told if step}:
        for begin, ends in ENDS.items():
            began = told.count((begin, step))
            ended = [event for event, name in told if name == step and event in ends]
            if began > 1 or len(ended) > 1 or (not began and set(ended) - {"halted", "undo-failed"}):
                yield f"{step} has {began} times {begin!r}, and then {ended}"


def untrue_report(entries: Sequence[Entry]) -> Iterator[str]:
    """The phases of which entries or report say something that can't be, in words."""
    found: dict[str, str] = {}
    for entry in entries:
        event, step = entry["event"], entry.get("step")
        if event == "undone" and step not in RESTORED:
            yield f"{step} is undone"
        if step is None or step in report.INTERNAL:
            continue
        if event == "begin":
            found[step] = "running"
        elif step in found:
            found[step] = REPORTED.get((found[step], event), found[step])
    told = {phase["name"]: phase["outcome"] for phase in report.fold(entries, ())["phases"]}
    if told != found:
        yield f"the report says {told}, the entries {found}"
