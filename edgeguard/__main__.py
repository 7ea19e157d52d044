"""`edgeguard`, and `python -m edgeguard`."""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import TYPE_CHECKING

from edgeguard.errors import Held, Interrupted
from edgeguard.machine.signals import ignore_all, leave_at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

GARBAGE = 50_000
"""New objects after which Python looks for garbage. Imports make many objects and no garbage: with Python's own number
(700), a tenth of a command's start would go into looking."""


FLUSH_SECONDS = 5.0
"""As long as this, the end waits for a slow reader of the last words."""


def main() -> None:
    """Run the command line, and end the process with its exit code, whatever becomes of its output."""
    leave_at_once(*_before_it_begins(sys.argv[1:]))
    gc.set_threshold(GARBAGE)
    _give_streams()
    from edgeguard.cli import main as run  # noqa: PLC0415 (typer is not needed by those who import this package)

    code = run(sys.argv[1:])
    ignore_all()
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(FLUSH_SECONDS)
    os._exit(code)  # the interpreter's own end could still change the code, or wait for a reader


def _before_it_begins(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command that a signal ends before it handles signals itself, and the rest of the sentence."""
    if arguments[:1] == ["probe"]:
        return 3, ""  # UNKNOWN, as monitors have it
    if not {"resume", "rollback", "open", "--supersede"}.isdisjoint(arguments):
        return (
            Held.exit_code,
            " before anything was done; `edgeguard status` shows how the cluster is",
        )  # it may well be closed
    return Interrupted.exit_code, ""


def _give_streams() -> None:
    """Let file descriptors 0 to 2 that the caller closed lead nowhere, so that no file of ours gets their numbers; and
    let characters that a stream's encoding lacks be written as escapes: what is said never decides what is done."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name) or os.fdopen(number, "w", closefd=False)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # its reader is gone, or the disk behind it is full
            continue


if __name__ == "__main__":
    main()
