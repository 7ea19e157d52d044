"""Logs, bounded: a server's app.log, with the part of it that one start of the application wrote."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LOG_BYTES = 1_000_000
_SHOWN = 4000  # bytes


class Output:
    """The log as its supervisor keeps it. Positions count the trimmed bytes too, so trimming does not change them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._gone = 0
        self._began = 0
        self._part: tuple[int, int | None] | None = None

    @property
    def part(self) -> tuple[int, int | None, int] | None:
        """The part of the last start that has ended, or of the first start while it runs.

        It is the first position, the last one (None: the log's end), and how many bytes were trimmed away before.
        """
        return None if self._part is None else (*self._part, self._gone)

    @contextmanager
    def begin(self) -> Iterator[int]:
        """Open the log for a start's output; gives the descriptor."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._began = self._gone + os.fstat(descriptor).st_size
            self._part = self._part or (self._began, None)
            yield descriptor
        finally:
            os.close(descriptor)

    def end(self) -> None:
        """Note the end of that start's output."""
        with suppress(OSError):
            self._part = (self._began, self._gone + self._path.stat().st_size)

    def forget(self) -> None:
        """Forget the part: another generation's output follows."""
        self._part = None

    def trim(self) -> None:
        """Keep the log bounded."""
        self._gone += trim(self._path)


def trim(path: Path) -> int:
    """Move the newest part of a log to `<log>.1` if the log is longer than LOG_BYTES. Returns how many bytes went.

    Whoever writes to the log appends to it, so emptying it is safe. Bytes that are written in between are lost.
    """
    with suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            with path.open("r+b") as log:
                log.seek(-LOG_BYTES, os.SEEK_END)
                older = before(path)
                older.touch(mode=0o600)
                older.write_bytes(log.read(LOG_BYTES))
                gone = log.tell()
                log.truncate(0)
                return gone
    return 0


def said(path: Path, part: Sequence[int | None] | None) -> str:
    """The end of this part of a log, as whole lines; empty where there is nothing."""
    if part is None:
        return ""
    begin, end, gone = part[0] or 0, part[1], part[2] or 0
    content = b""
    with suppress(OSError):
        if begin < gone:
            start = before(path).stat().st_size - gone  # the position in that file of the log's first byte ever
            content += files.slice_of(before(path), start + begin, start + min(gone, end if end is not None else gone))
        content += files.slice_of(path, max(begin - gone, 0), None if end is None else max(end - gone, 0))
    return files.end_of(content, _SHOWN)


def before(path: Path) -> Path:
    """The file that has what was moved away from a log last."""
    return path.with_name(f"{path.name}.1")
