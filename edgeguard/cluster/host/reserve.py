"""Room on the disk that is kept in a server's folder for the day when the disk is full.

A deploy that is under way has to be finished or taken back then, too, and each of its acts writes a little. So the
folder has a file, `reserve`, that only takes room. It is made whole when a generation is staged, and an act that finds
the disk full makes it shorter, until the act succeeds or nothing of it is left.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from edgeguard.cluster.host.errors import FULL, HostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Value = TypeVar("Value")
SIZE = 1 << 20
"""Bytes of a whole reserve. What acts write replaces what is there, so only a few of them stay taken."""
_NAME = "reserve"
_STEP = 1 << 16  # whatever else writes to this disk takes what is let go, so it is let go by and by


def keep(server: Path) -> None:
    """Make the reserve of a server's folder whole. May be repeated.

    Raises:
        HostError: there is no room for it.
    """
    path = server / _NAME
    try:
        server.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            # Random bytes, since a disk that compresses would keep nothing for equal ones.
            file.write(os.urandom(max(SIZE - os.fstat(descriptor).st_size, 0)))
            file.flush()
            os.fsync(descriptor)
    except OSError as exc:
        raise HostError(
            f"{path} can't be made, so a full disk could keep this server from being opened again: {exc.strerror}",
            "Make room on its disk, or give edgeguard's user the right to write there.",
        ) from exc


def lacking(server: Path) -> str | None:
    """Why the reserve could not be made whole now; None where it could. Nothing is changed."""
    if not server.exists():
        return None
    path = server / _NAME
    there = path.stat().st_size if path.exists() else 0
    room = os.statvfs(server)
    free = room.f_bavail * room.f_frsize
    if there + free >= SIZE:
        return None
    return (
        f"there is no room for what edgeguard writes while a deploy is under way, on the disk of {server}: "
        f"{SIZE - there} bytes are needed, {free} are free; make room"
    )


def despite_full_disk(path: Path, act: Callable[[], Value]) -> Value:
    """What an act returns that writes at this path; it is repeated while it finds the disk full and there is a reserve
    in one of the folders above.

    Raises:
        OSError: the act's own.
    """
    while True:
        try:
            return act()
        except OSError as exc:  # noqa: PERF203 (each turn is another attempt)
            if exc.errno not in FULL or not _let_go(path):
                raise


def _let_go(path: Path) -> bool:
    """Make the nearest reserve shorter. Returns whether there was anything of it."""
    for folder in path.parents:
        with suppress(OSError):  # there is none, or it is no file of this user's
            size = (folder / _NAME).lstat().st_size
            if size:
                os.truncate(folder / _NAME, max(size - _STEP, 0))
                return True
    return False
