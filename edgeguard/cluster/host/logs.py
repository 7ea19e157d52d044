"""The application's output on one server, read in pieces: from systemd's journal, or from a supervisor's file.

Each piece ends with a place, a text from which the next one goes on. So nothing of a reader stays on a server.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from edgeguard.cluster.host import output, takes
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 8192
"""Characters of a line that are told. The rest is counted."""
LINES, CHARACTERS = 500, 1 << 18
"""A piece ends after so many, so that a caller takes it in one answer."""
_ENTRY = 1 << 20
"""Bytes of a journal's entry that are read."""
_FILE = 2 * output.LOG_BYTES
"""Bytes of a file that are read at once."""
_CURSOR = re.compile(rb'"__CURSOR"\s*:\s*"([^"\\]+)"')
TAKES = {
    "place": takes.perhaps(takes.text),
    "lines": takes.perhaps(takes.whole),
    "ago": takes.perhaps(takes.seconds),
    "task": takes.perhaps(takes.name),
}
"""What `journal` takes."""
_AT = "@"
"""A place that begins so is a moment of the server's clock; any other one is a cursor of the journal."""


@dataclass(frozen=True)
class Line:
    """A line of output, and when it was written, in Unix seconds of the server's clock; None where nobody knows."""

    at: float | None
    text: str


@dataclass(frozen=True)
class Piece:
    """Some lines, the place from which to go on, and whether more lines are known to follow."""

    lines: tuple[Line, ...]
    place: str
    more: bool


def journal(
    folder: Path,
    *,
    place: str | None = None,
    lines: int | None = None,
    ago: float | None = None,
    task: str | None = None,
) -> Any:  # noqa: ANN401 (JSON)
    """What the web process, or the task of this id, wrote to the journal, as [[at, text], …] with the place and whether
    there is more.

    From `place` on; without one the last `lines` (None: all) of the last `ago` seconds (None: of whatever is kept).
    """
    prepared = Prepared.of(folder)
    kind, _, name = (task or "").partition("-")
    unit = prepared.template(kind, name) if task else prepared.unit.name
    now = time.time()
    piece = _told(unit, _beginning(unit, lines, None if ago is None else now - ago) if place is None else _after(place))
    told = [[line.at, line.text] for line in piece.lines]
    return {"lines": told, "place": piece.place or place or f"{_AT}{now:.6f}", "more": piece.more}


def file(path: Path, *, place: str | None, lines: int | None) -> Piece:
    """As `journal`, for a log that `output.trim` keeps short. It has no times. What was written between the last look
    and a trim is not told."""
    size = path.stat().st_size if path.exists() else 0
    if place is not None:
        begin = int(place) if int(place) <= size else 0
        end, more = min(size, begin + _FILE), size - begin > _FILE
        content = _read(path, begin, end)
        if not more:  # the last line may not be whole yet
            content = content[: content.rfind(b"\n") + 1]
        return Piece(tuple(_split(None, content)), str(begin + len(content)), more)
    before = output.before(path)
    older = before.stat().st_size if before.exists() else 0
    content = _read(before, max(0, older - _FILE), older) + _read(path, max(0, size - _FILE), size)
    every = tuple(_split(None, content))
    return Piece(every if lines is None else every[max(0, len(every) - lines) :], str(size), more=False)


def _read(path: Path, begin: int, end: int) -> bytes:
    with suppress(FileNotFoundError), path.open("rb") as opened:
        opened.seek(begin)
        return opened.read(end - begin)
    return b""


def _beginning(unit: str, lines: int | None, since: float | None) -> list[str] | None:
    """How the journal is asked for these lines; None where there are none. Versions of systemd differ in what --lines
    means beside --since, unless it is read backwards."""
    if lines is None:
        return [] if since is None else [f"--since=@{since:.6f}"]
    bounds = [f"--lines={max(lines, 1)}", *([] if since is None else [f"--since=@{since:.6f}"])]
    cursor = b""
    with _asked(unit, ["--reverse", *bounds], "__CURSOR") as entries:
        for entry in entries:
            cursor = _cursor(entry)
            if lines == 0:
                return _after(cursor.decode())
    return [f"--cursor={cursor.decode()}"] if cursor else None


def _after(place: str) -> list[str]:
    return [f"--since={place}"] if place.startswith(_AT) else [f"--after-cursor={place}"]


def _told(unit: str, question: list[str] | None) -> Piece:
    """The lines of as many entries as a piece has room for."""
    found: list[Line] = []
    cursor, characters, more = b"", 0, False
    if question is None:
        return Piece((), "", more=False)
    with _asked(unit, question, "MESSAGE") as entries:
        for entry in entries:
            more = len(found) >= LINES or characters >= CHARACTERS
            if more:
                break
            cursor = _cursor(entry) or cursor
            for line in _lines(entry):
                found.append(line)
                characters += len(line.text)
    if not cursor and question[0].startswith("--after-cursor="):
        cursor = question[0].partition("=")[2].encode()
    return Piece(tuple(found), cursor.decode(), more)


@contextmanager
def _asked(unit: str, question: list[str], field: str) -> Iterator[Iterator[bytes]]:
    """The journal's entries about a unit, a line of JSON each, while the block runs. Raises HostError."""
    argv = ["journalctl", "--quiet", "--no-pager", "--all", "--output=json", f"--output-fields={field}"]
    try:
        process = subprocess.Popen(
            [*argv, *question, f"_SYSTEMD_UNIT={unit}"],
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as exc:
        raise HostError("journalctl is not there", "The driver ssh needs servers that run systemd.") from exc
    with process:
        entries = _entries(process.stdout)  # type: ignore[arg-type]  # a pipe, as said above
        try:
            yield entries
            if next(entries, None) is None:
                _, said = process.communicate()
                if process.returncode:
                    words = said.decode(errors="replace").strip()[:500] or f"exit {process.returncode}"
                    raise HostError(f"journalctl failed: {words}", "Try it there by hand.")
        finally:
            process.kill()


def _entries(pipe: IO[bytes]) -> Iterator[bytes]:
    """Each line; of a long one its beginning, where the cursor is."""
    while line := pipe.readline(_ENTRY):
        whole = line
        while len(whole) == _ENTRY and not whole.endswith(b"\n"):
            whole = pipe.readline(_ENTRY)
        yield line


def _cursor(entry: bytes) -> bytes:
    found = _CURSOR.search(entry)
    return found[1] if found else b""


def _lines(entry: bytes) -> Iterator[Line]:
    """The lines of an entry's message: a program that speaks to the journal itself may write several at once."""
    try:
        said = json.loads(entry)
        at, message = int(said["__REALTIME_TIMESTAMP"]) / 1e6, said.get("MESSAGE")
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Line(None, f"(an entry of more than {_ENTRY} bytes)")
        return
    if isinstance(message, list) and all(isinstance(byte, int) for byte in message):  # journald's form of other bytes
        message = bytes(byte & 0xFF for byte in message)
    if isinstance(message, str):
        message = message.encode("utf-8", "surrogatepass")
    if isinstance(message, bytes):
        lines = list(_split(at, message[:CHARACTERS]))
        yield from lines[:LINES]
        if len(lines) > LINES or len(message) > CHARACTERS:
            yield Line(at, f"(the entry has {len(message)} bytes; this is its beginning)")


def _split(at: float | None, content: bytes) -> Iterator[Line]:
    for line in content.decode(errors="replace").removesuffix("\n").split("\n") if content else ():
        text = line.rstrip("\r")
        more = len(text) - LONGEST
        yield Line(at, text if more <= 0 else f"{text[:LONGEST]} … and {more} characters more")
