"""The border of output: all text for people is written here (docs/decisions/hostile-text.md)."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from edgeguard.cli import fleeting
from edgeguard.machine.redaction import redacted
from edgeguard.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator


def write(stream: TextIO, text: str, *, secrets: bool = False) -> None:
    """Write a text for people, and a new line. Secrets are hidden, and what a terminal would obey is shown as escapes.
    A fleeting line gives way to it."""
    with whether_read_or_not(stream):
        fleeting.clear()
        encoding = stream.encoding or "utf-8"  # a StringIO has none
        lacking = harmless(text, secrets=secrets).encode(encoding, "backslashreplace")
        stream.write(f"{lacking.decode(encoding)}\n")
        stream.flush()


def harmless(text: str, *, secrets: bool = False) -> str:
    """The text as people may see it."""
    return visible(text if secrets else redacted(text))


_unread: set[TextIO] = set()
"""The streams that nobody reads any more, as a write has shown."""


def unread(stream: TextIO) -> bool:
    """Whether nobody reads this stream any more: what only reads for its reader may end then."""
    if stream in _unread:
        return True
    with suppress(OSError, ValueError):
        look = select.poll()
        look.register(stream.fileno(), 0)
        return any(found & (select.POLLERR | select.POLLHUP) for _, found in look.poll(0))
    return False


@contextmanager
def whether_read_or_not(stream: TextIO) -> Iterator[None]:
    """Once nobody reads a stream any more, or its disk is full, what is written to it goes nowhere: what a command has
    done does not depend on its reader."""
    try:
        yield
    except (OSError, ValueError):
        _unread.add(stream)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
