"""A hook's output on its server: the first MiB and the last 8 MiB of it, however much it writes.

While the hook runs, its output stands in segments: LOG has the first MiB, and LOG.N has 8 MiB from byte N on; the two
newest of these are kept. When the hook has ended, LOG has all that was kept, with a line that names the gap. Readers
count the bytes that the hook wrote, from 0. An offset means the same before and after the end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


HEAD = 1 << 20
"""Bytes that are kept of the beginning."""
TAIL = 8 << 20
"""Bytes that are kept of the end, at least."""
PIECE = 1 << 16
"""Bytes that one `read` returns at most."""


@dataclass(frozen=True)
class Part:
    """A part of the output: its bytes, the offset after them, and how many bytes before them are gone."""

    content: bytes
    next: int
    gone: int


class Writer:
    """Takes what a hook writes. A full disk loses output, never the hook."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0
        self._begin = 0
        for _, old, _ in _segments(path):
            old.unlink()
        self._file = _create(path)

    def take(self, pipe: int) -> bool:
        """Write down what is in the pipe now. False when nothing will come any more."""
        while True:
            try:
                said = os.read(pipe, PIECE)
            except BlockingIOError:
                return True
            if not said:
                return False
            self._append(said)
            if len(said) < PIECE:
                return True

    def close(self) -> int:
        """Put the segments together. Returns how many bytes the hook wrote."""
        os.close(self._file)
        with suppress(OSError):
            _join(self._path, self._written)
        self._file = -1
        return self._written

    def __enter__(self) -> Writer:  # noqa: PYI034 (Self is younger than Python 3.9)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file >= 0:
            os.close(self._file)

    def _append(self, said: bytes) -> None:
        while said:
            room = self._begin + (TAIL if self._begin else HEAD) - self._written
            if room == 0:
                self._next_segment()
                continue
            piece, said = said[:room], said[room:]
            with suppress(OSError):  # the disk is full; what comes later may find room
                os.pwrite(self._file, piece, self._written - self._begin)
            self._written += len(piece)

    def _next_segment(self) -> None:
        os.close(self._file)
        self._begin = self._written
        for begin, old, _ in _segments(self._path):
            if 0 < begin < self._begin - TAIL:
                old.unlink()
        self._file = _create(self._path.with_name(f"{self._path.name}.{self._begin}"))


def read(path: Path, offset: int, *, written: int | None = None) -> Part:
    """A piece of the output, from an offset on. `written`: how many bytes the hook wrote, once it has ended.

    An empty content means that nothing more is there now.
    """
    for begin, file, position, size in _pieces(path, written):
        if offset < begin + size:
            start = max(offset, begin)
            with suppress(OSError), file.open("rb") as opened:
                opened.seek(position + start - begin)
                content = opened.read(min(PIECE, begin + size - start))
                return Part(content, start + len(content), start - offset)
    return Part(b"", offset, 0)


def _pieces(path: Path, written: int | None) -> list[tuple[int, Path, int, int]]:
    """Where the output stands: for each piece the offset of its first byte, its file, its place there, its size."""
    if written is None:
        return [(begin, segment, 0, size) for begin, segment, size in _segments(path)]
    if written <= HEAD + TAIL:
        return [(0, path, 0, written)]
    return [(0, path, 0, HEAD), (written - TAIL, path, HEAD + len(_gap(written)), TAIL)]


def _segments(path: Path) -> list[tuple[int, Path, int]]:
    """The segments in their order, each with the offset of its first byte and its size."""
    found = []
    for segment in path.parent.glob(f"{path.name}*"):
        begin = segment.name[len(path.name) + 1 :] or "0"
        if begin.isdigit():
            with suppress(OSError):  # it was removed just now
                found.append((int(begin), segment, segment.stat().st_size))
    return sorted(found)


def _join(path: Path, written: int) -> None:
    """Make one file of the segments: the beginning, a line that names the gap if there is one, and the end."""
    if written <= HEAD:
        return
    kept = [(begin, segment) for begin, segment, _ in _segments(path) if begin]
    end = b"".join(segment.read_bytes() for _, segment in kept)
    with path.open("ab") as file:
        if written > HEAD + TAIL:
            file.write(_gap(written))
        file.write(end[-TAIL:])
    for _, segment in kept:
        segment.unlink()


def _gap(written: int) -> bytes:
    return b"\n[edgeguard left out %d bytes here]\n" % (written - HEAD - TAIL)


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError:  # there is no room for another file: this part of the output is lost
        return os.open(os.devnull, os.O_WRONLY)
