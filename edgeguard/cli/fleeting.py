"""A line on the terminal that says what is happening now, and which the next words replace."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from edgeguard.machine.redaction import redacted
from edgeguard.visible import on_one_line
from edgeguard.width import fitted

_ERASE = "\033[J"
"""Erase from here to the end of the screen (ECMA-48): a line that has wrapped, in a window made narrower, too."""
_USUAL = 80
_shown = False  # a process has one terminal


def show(text: str) -> None:
    """Show this on the terminal, in place of what is shown so, as far as one line has room for it just now.

    Nothing is shown where stderr is no terminal that can erase a line.
    """
    global _shown  # noqa: PLW0603 (as said above)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return
    line = _written(on_one_line(redacted(text)))
    line = fitted(line, _columns() - 1, "…" if _written("…") == "…" else "~")  # the last column may wrap at once
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{_ERASE}\r{line}\r")
        sys.stderr.flush()
        _shown = True


def _written(text: str) -> str:
    """The text as the stream writes it: characters that its encoding lacks become escapes."""
    encoding = sys.stderr.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def clear() -> None:
    """Take away what is shown. Harmless if nothing is."""
    global _shown  # noqa: PLW0603 (as said above)
    if _shown:
        _shown = False
        with suppress(OSError, ValueError):
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


def _columns() -> int:
    """The terminal's width as it is now: people change it."""
    with suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL
    return _USUAL
