"""How commands speak: events as they come, on stderr for people or as JSON lines on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

import typer

from edgeguard.deploy.report import INTERNAL
from edgeguard.errors import first_line
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry


def print_json(content: object, *, secrets: bool = False) -> None:
    """One object, on one line of stdout. `secrets`: whoever asked is to have those that are in it."""
    sys.stdout.write(json.dumps(content if secrets else redacted(content), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str, *, err: bool = False) -> None:
    """Text for people, on stdout (or stderr), and a new line."""
    typer.echo(redacted(text), err=err)


def teller(*, quiet: bool) -> Callable[[str], None]:
    """Words for people on stderr, beside a stdout that carries data or belongs to somebody else."""

    def say(text: str) -> None:
        if not quiet:
            sys.stderr.write(redacted(f"edgeguard: {text}\n"))
            sys.stderr.flush()

    return say


def listener(*, as_json: bool, quiet: bool, verbose: bool) -> Callable[[Entry], None]:
    """What hears the events of long work. It never fails: a closed pipe or a lost terminal must not end a deploy."""
    if as_json:
        return _unbreakable(lambda entry: print_json(_public(entry)), sys.stdout)
    if quiet:
        return lambda _: None
    progress = _Progress(verbose=verbose)
    return _unbreakable(lambda entry: progress.hear(redacted(entry)), sys.stderr)


def _unbreakable(hear: Callable[[Entry], None], stream: TextIO) -> Callable[[Entry], None]:
    """Once nobody reads the stream any more, what is written to it goes nowhere."""

    def listen(entry: Entry) -> None:
        try:
            hear(entry)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

    return listen


def _public(entry: Entry) -> dict[str, Any]:
    """The event as the interface has it: `step` is called `phase`."""
    return {("phase" if key == "step" else key): value for key, value in entry.items() if key != "before"}


class _Progress:
    """A line for each phase, when it has ended."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._began = time.time()

    def hear(self, entry: Entry) -> None:
        event, step = entry["event"], entry.get("step")
        if event == "begin":
            self._began = entry["at"]
            if sys.stderr.isatty() and step not in INTERNAL:
                sys.stderr.write(f"  {step:<12} …\r")
                sys.stderr.flush()
        elif event == "done" and step not in INTERNAL:
            self._line(step, entry["at"] - self._began, _detail(entry))
        elif event == "failed":
            self._line(step or "start", entry["at"] - self._began, f"FAILED: {first_line(entry['error'])}")
        elif event == "undoing" and step in ("open", "swap", "close", "claim", "lock"):
            self._line("", 0, f"taking back {step}")
        elif event == "found":
            self._line("", 0, f"found it at {entry['phase']}: {'; '.join(entry['servers'])}; will {entry['will']}")
        elif event == "progress":
            self.progress(step, entry["text"])
        elif event == "scene":
            self._line("", 0, entry["text"])
        elif event == "warning" or (event == "output" and self._verbose):
            sys.stderr.write(f"  {'!' if event == 'warning' else '|'} {entry['text']}\n")

    def progress(self, step: str | None, text: str) -> None:
        """How far something is, on a terminal; each text takes the place of the one before."""
        if sys.stderr.isatty():
            sys.stderr.write(f"  {step or '':<12} {text[:100]:<100}\r")
            sys.stderr.flush()

    def _line(self, name: str | None, seconds: float, text: str) -> None:
        took = f"{seconds:8.2f} s" if name else " " * 10
        sys.stderr.write(f"  {name or '':<12}{took}  {text}\n")
        sys.stderr.flush()


def _detail(entry: Entry) -> str:
    match entry["step"]:
        case "build":
            return f"release {entry['release'][:12]} of {entry['ref']}" + (" (reused)" if entry["reused"] else "")
        case "claim" if "claimed" in entry:
            return f"grace {entry['claimed']} s, confirmed by {', '.join(entry['nodes'])}"
        case "drain":
            return f"{entry['cut']} requests cut" if entry["cut"] else ""
        case "hook" | "post-deploy":
            return f"on {entry['server']}"
        case "purge":
            return f"{entry['keys']} keys, softly" + (", twice" if entry["second_pass"] else "")
    return ""
