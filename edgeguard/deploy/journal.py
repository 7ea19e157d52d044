"""The journal of one run: each intent and each result, one JSON object a line. An intent is on disk before the act.

The journal is the source of the report, on the machine that runs the deploy. The truth about the environment is on the
servers and at the edge.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster.host import files, strict_json
from edgeguard.errors import UsageError
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Entry = dict[str, Any]
_TEXT, _NUMBER = (str,), (int, float)
_TEXTS = ("without", "ids", "reasons", "nodes")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("event", "deploy", "command", "environment"), _TEXT),
    **dict.fromkeys(("step", "ref", "release", "previous", "error", "remedy"), (str, type(None))),
    **dict.fromkeys(("at", "until"), _NUMBER),
    **dict.fromkeys(("servers", *_TEXTS), (list,)),
    "exit_code": (int,),
    "closed_seconds": (int, float, type(None)),
}
"""The types of the values by which reports are made."""
_NEEDED = {"end": ("exit_code", "error", "remedy", "servers"), "begin": ("step",), "done": ("step",)}
"""The keys without which an entry of that event says nothing."""
LARGEST = 64 * 2**20
"""Bytes of a journal that are read: a thousand times as many as a deploy writes."""
VERSION = 1
"""The version of the entries' meaning. The first entry states it; a journal that states none has version 1."""


class Journal:
    """An append-only file. `append` returns only when the line is durable; threads may share one journal.

    The one exception is *done*, on which no act depends: the next line, the intent of the next step, takes it along. So
    the disk is waited for half as often while the cluster is closed.
    """

    def __init__(self, path: Path, *, listen: Callable[[Entry], None] = lambda _: None) -> None:
        """Create the file and its folder. `listen` is called with each entry after it is written.

        Raises:
            UsageError: the file can't be made there.
        """
        self.path = path
        self._listen = listen
        self._mutex = threading.Lock()
        try:
            files.private(path.parent.parent)
            files.private(path.parent)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)  # as long as this process lives: see `alive`
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as exc:
            raise UsageError(*_unwritable(path, exc)) from exc

    def append(self, event: str, **facts: Any) -> Entry:  # noqa: ANN401 (whatever JSON can say)
        """Write one entry durably, without any secret. `at` (Unix time, seconds) is added.

        Raises:
            UsageError: the disk is full or gone. Then the caller must not act: every act is written down before it.
        """
        entry: Entry = redacted({"event": event, "at": time.time(), **facts})
        line = json.dumps(entry, separators=(",", ":")) + "\n"  # in ASCII: a person may read it with `cat`
        with self._mutex:
            try:
                _write_all(self._file, line.encode())
                if event != "done":
                    os.fsync(self._file)
            except OSError as exc:
                raise UsageError(*_unwritable(self.path, exc)) from exc
            self._listen(entry)
        return entry

    def close(self) -> None:
        """Close the file, whose lines are durable then. Nothing can be appended after that."""
        with suppress(OSError):  # whoever wrote the last line was told of a disk that is full or gone
            os.fsync(self._file)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def alive(path: Path) -> bool:
    """Whether the process that writes this journal still lives."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read(path: Path) -> list[Entry]:
    """All whole entries. A torn last line is passed over: the machine died while it wrote that line. So are entries
    that a disk has damaged.

    Raises:
        UsageError: the file is not there, can't be read, has no whole entry, or was written by a newer edgeguard.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST)
    except OSError as exc:
        raise UsageError(f"the journal {path} can't be read: {exc.strerror}", "--state names another folder.") from exc
    lines = [line for line in content.split(b"\n")[:-1] if line]
    entries = [entry for line in lines if (entry := _entry(line)) is not None]
    if not entries:
        raise UsageError(
            f"the journal {path} has no whole entry", "The process died before it had done anything. Remove it."
        )
    if (version := entries[0].get("version", VERSION)) != VERSION:
        raise UsageError(
            f"the journal {path} is of version {version!r}, this edgeguard knows {VERSION}",
            "Use the edgeguard that wrote it, or a newer one. `edgeguard history` tells of the same deploy in short.",
        )
    return entries


def _entry(line: bytes) -> Entry | None:
    """The entry in a line; None where it is none: a key that it needs is missing, or has a value of another type."""
    try:
        entry = strict_json.read_object(line)
    except strict_json.Fault:
        return None
    needed = ("event", "at", *_NEEDED.get(str(entry.get("event")), ()))
    kinds = all(type(entry[key]) in kinds for key, kinds in _KINDS.items() if key in entry)
    if not kinds or not all(key in entry for key in needed):
        return None
    texts = all(isinstance(text, str) for key in _TEXTS for text in entry.get(key, ()))
    servers = entry.get("event") != "end" or all(map(_is_server, entry.get("servers", ())))
    return entry if texts and servers else None


def _is_server(found: object) -> bool:
    """Whether the end of a run tells so of a server."""
    if not isinstance(found, dict) or not found.keys() >= {"name", "release", "open"}:
        return False
    name, release, is_open = (found.get(key) for key in ("name", "release", "open"))
    return isinstance(name, str) and isinstance(release, str | None) and isinstance(is_open, bool)


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _unwritable(path: Path, exc: OSError) -> tuple[str, str]:
    return (
        f"the journal {path} can't be written: {exc.strerror}",
        "Free space or make the state folder writable (--state names another).",
    )
