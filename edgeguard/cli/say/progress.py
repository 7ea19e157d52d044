"""A deploy's events for people: a line for each phase, when it has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from edgeguard.cli import fleeting
from edgeguard.cli.border import write
from edgeguard.deploy.report import INTERNAL
from edgeguard.errors import first_line
from edgeguard.times import duration, measured

if TYPE_CHECKING:
    from edgeguard.deploy.journal import Entry

_TAKING_BACK = ("undoing", "undone", "halted", "undo-failed")


class Progress:
    """Writes to a stream. On a terminal, the phase that is under way has a fleeting line."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self._began = time.time()

    def hear(self, entry: Entry) -> None:
        """Say what people need to know of this event; of most events, nothing."""
        event, step = entry["event"], entry.get("step")
        if event == "begin":
            self._began = entry["at"]
            if step not in INTERNAL:
                fleeting.show(f"  {step:<12} …")
        elif event == "done" and step not in INTERNAL:
            self._line(step, entry["at"] - self._began, detail(entry))
        elif event == "failed" and not entry.get("goes_on"):  # else a warning tells it
            self._line(step, entry["at"] - self._began, f"FAILED: {first_line(entry['error'])}")
        elif event in _TAKING_BACK and step not in INTERNAL:
            self._taking_back(entry)
        elif event == "found":
            self._line("", 0, f"found it at {entry['phase']}: {'; '.join(entry['servers'])}; will {entry['will']}")
        elif event == "progress":
            fleeting.show(f"  {step or '':<12} {entry['text']}")
        elif event in ("scene", "serves"):
            self._line("", 0, entry["text"])
        elif event == "warning" or (event == "output" and self._verbose):
            write(self._stream, f"  {'!' if event == 'warning' else '|'} {entry['text']}")

    def _taking_back(self, entry: Entry) -> None:
        """The outcome of an undo, once it is known. A reason for which a step stays is told as a warning."""
        event, step = entry["event"], entry["step"]
        if event == "undoing":
            fleeting.show(f"  taking back {step} …")
        elif event == "undone":
            self._line("", 0, f"{step} is taken back")
        elif event == "halted":
            self._line("", 0, f"{step} is not taken back: {first_line(entry['error'])}")
        elif event == "undo-failed":
            self._line("", 0, f"taking back {step} FAILED: {first_line(entry['error'])}")

    def _line(self, name: str | None, seconds: float, text: str) -> None:
        took = f"{measured(seconds):>10}" if name else " " * 10
        write(self._stream, f"  {name or '':<12}{took}  {text}")


def detail(entry: Entry) -> str:  # noqa: PLR0911 (a line for each phase that has something to tell)
    """The words after a phase's name and time."""
    match entry["step"]:
        case "build":
            reused, serves = " (reused)" if entry["reused"] else "", "; it serves already" if entry["serves"] else ""
            return f"release {entry['release'][:12]} of {entry['ref']}{reused}{serves}"
        case "claim" if "claimed" in entry:
            return f"grace {duration(entry['claimed'])}, confirmed by {', '.join(entry['nodes'])}"
        case "stop-tasks" if entry["tasks"]:
            return f"{entry['tasks']} ended"
        case "open" if entry.get("skipped"):
            return f"skipped meanwhile: {', '.join(entry['skipped'])}"
        case "drain":
            return f"{entry['cut']} requests cut" if entry["cut"] else ""
        case "hook" | "post-deploy":
            return f"on {entry['server']}" if entry["server"] else ""
        case "purge":
            keys = "1 key" if entry["keys"] == 1 else f"{entry['keys']} keys"
            return f"{keys}, softly" + (", twice" if entry["second_pass"] else "")
    return ""
