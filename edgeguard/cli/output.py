"""Where commands write: results on stdout, words for people meanwhile on stderr."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import typer

from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry


def print_json(content: object, *, secrets: bool = False) -> None:
    """One object, on one line of stdout. With `secrets`, those in it are shown: the caller's reader needs them."""
    sys.stdout.write(json.dumps(content if secrets else redacted(content), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str, *, err: bool = False, secrets: bool = False) -> None:
    """Text for people, on stdout (or stderr), and a new line. `secrets` as for print_json."""
    typer.echo(text if secrets else redacted(text), err=err)


def teller(*, quiet: bool) -> Callable[[str], None]:
    """The listener of sentences for people. They go to stderr: stdout carries data, or belongs to another program."""

    def say(text: str) -> None:
        if not quiet:
            sys.stderr.write(redacted(f"edgeguard: {text}\n"))
            sys.stderr.flush()

    return say


def listener(*, as_json: bool, quiet: bool, verbose: bool) -> Callable[[Entry], None]:
    """The listener of a long work's events. It never fails: a closed pipe or a lost terminal must not end a deploy."""
    if as_json:
        return _unbreakable(lambda entry: print_json(_public(entry)), sys.stdout)
    if quiet:
        return lambda _: None
    from edgeguard.cli.say.progress import Progress

    progress = Progress(sys.stderr, verbose=verbose)
    return _unbreakable(lambda entry: progress.hear(redacted(entry)), sys.stderr)


def _unbreakable(hear: Callable[[Entry], None], stream: TextIO) -> Callable[[Entry], None]:
    """Once nobody reads the stream any more, writes to it go nowhere."""

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
