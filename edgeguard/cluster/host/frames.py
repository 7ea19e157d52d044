"""Messages over a pipe: a letter that says its kind, a length, and so many bytes.

A caller and the program that runs its command speak so (foreground.py):

    r  what to run, as JSON              o  output         E  output of errors
    i  input         e  the input's end  t  how many bytes of input were taken
    s  a signal's number, as text        b  it has begun
    p  the caller is there               x  how it ended, as JSON     f  why it can't be run, as JSON
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1 << 20
"""Bytes of one message."""
PIECE = 1 << 16
"""Bytes of input or output in one message."""
WINDOW = 1 << 18
"""Bytes of input that are on their way, at most: behind them a signal would have to wait."""
SILENCE = 30.0
"""Seconds. A caller that says nothing for so long is gone."""
_HEAD = struct.Struct(">cI")


def packed(kind: bytes, content: bytes = b"") -> bytes:
    """A message as it travels."""
    return _HEAD.pack(kind, len(content)) + content


class Frames:
    """The messages in what comes over a pipe, in pieces of any size."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, said: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The messages that are whole now. Raises ValueError for one that is too long: this is another language."""
        self._rest += said
        while len(self._rest) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest)
            if length > LONGEST:
                raise ValueError(f"a message of {length} bytes")
            end = _HEAD.size + length
            if len(self._rest) < end:
                return
            content = bytes(self._rest[_HEAD.size : end])
            del self._rest[:end]
            yield kind, content
