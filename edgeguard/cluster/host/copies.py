"""Copies of files, which share their blocks with the original where the disk can do that (Btrfs, XFS)."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from edgeguard.cluster.host.partial import PIECE, digest_of

if TYPE_CHECKING:
    from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
FULL = (errno.ENOSPC, errno.EDQUOT)
"""The errors of a full disk."""


def copy(source: Path, fresh: Path, content: str) -> bool:
    """Copy a file, without a second copy of its blocks where the disk can do that. False: it has another content.

    It never becomes a hard link: whoever writes to one image must not change another.
    """
    try:
        write(source, fresh)
    except OSError as exc:
        fresh.unlink(missing_ok=True)
        if exc.errno in FULL:
            raise
        return False
    if digest_of(fresh) == content:
        return True
    fresh.unlink()
    return False


def write(source: Path, fresh: Path) -> None:
    """Copy a file's content. Raises OSError, also where the source is no file."""
    with open(source, "rb", opener=_regular) as file, fresh.open("xb") as to:
        if not clone(file, to):
            shutil.copyfileobj(file, to, PIECE)


def _regular(path: str, flags: int) -> int:
    """An `opener` for files alone: a pipe would make its reader wait."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no file", path)


def clone(file: IO[bytes], to: IO[bytes]) -> bool:
    """Let both files have the same blocks, until one is written to. False: this disk can't do that."""
    with suppress(OSError):
        fcntl.ioctl(to.fileno(), _FICLONE, file.fileno())
        return True
    return False


def takes_no_room(source: Path, folder: Path) -> bool:
    """Whether copies of this file take no room."""
    fresh = folder / "clone"
    with suppress(OSError):
        with open(source, "rb", opener=_regular) as file, fresh.open("wb") as to:
            cloned = clone(file, to)
        fresh.unlink()
        return cloned
    return False
