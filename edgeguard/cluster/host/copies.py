"""Copies of files, which share their blocks with the original where the disk can do that (Btrfs, XFS)."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import FULL
from edgeguard.cluster.host.partial import PIECE, digest_of

if TYPE_CHECKING:
    from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h


def copy(source: Path, fresh: Path, content: str, *, cloned: bool) -> bool:
    """Copy a file, as a clone where this disk makes `cloned` ones. False: it can't be read, or has another content.

    It never becomes a hard link: whoever writes to one image must not change another.

    Raises:
        OSError: the disk is full.
    """
    try:
        found = _cloned(source, fresh) if cloned else write(source, fresh)
    except OSError as exc:
        fresh.unlink(missing_ok=True)
        if exc.errno in FULL:
            raise
        return False
    if found != content:
        fresh.unlink()
    return found == content


def write(source: Path, fresh: Path) -> str:
    """Copy a file's content. Returns its digest. Raises OSError, also where the source is no file."""
    found = hashlib.sha256()
    with open(source, "rb", opener=_regular) as file, fresh.open("xb") as to:
        while piece := file.read(PIECE):
            to.write(piece)
            found.update(piece)
    return found.hexdigest()


def _cloned(source: Path, fresh: Path) -> str:
    """As `write`, and both files have the same blocks until one is written to."""
    with open(source, "rb", opener=_regular) as file, fresh.open("xb") as to:
        fcntl.ioctl(to.fileno(), _FICLONE, file.fileno())
    return digest_of(fresh)


def clones(source: Path, folder: Path) -> bool:
    """Whether this disk makes clones, which take no room."""
    fresh = folder / "clone"
    try:
        _cloned(source, fresh)
    except OSError:
        return False
    finally:
        fresh.unlink(missing_ok=True)
    return True


def _regular(path: str, flags: int) -> int:
    """An `opener` for files alone: a pipe would make its reader wait."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no file", path)
