"""The one place where a server's own errors become edgeguard's."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import INTERRUPTED, NO_ACCOUNT, HostError
from edgeguard.errors import (
    ClusterError,
    EdgeguardError,
    Fenced,
    HookRuns,
    HookStarted,
    HookUnknown,
    ImageChanged,
    Interrupted,
    NotClosed,
    NotStaged,
    Unhealthy,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSES = (Fenced, NotClosed, NotStaged, ImageChanged, Unhealthy, HookStarted, HookRuns, HookUnknown)
BY_CODE: dict[str, type[ClusterError]] = {kind.code: kind for kind in _CLASSES}
"""The class for each code that a server may tell."""

REMEDIES: dict[int, str] = {
    errno.ENOENT: "Is its disk mounted? If its files are gone, go on --without it; a deploy brings it back.",
    errno.ENOTDIR: "Move away the file that stands where a folder has to be.",
    errno.EEXIST: "Move away the file that stands where a folder has to be.",
    errno.EISDIR: "Move away the folder that stands where a file has to be.",
    errno.EACCES: "Give edgeguard's user the right to read and write there.",
    errno.EPERM: "Give edgeguard's user the right to read and write there.",
    errno.ENOSPC: "Make room on its disk; trying again is harmless.",
    errno.EDQUOT: "Make room in the quota of edgeguard's user; trying again is harmless.",
    errno.EROFS: "Mount its disk for writing; a disk that fails is often mounted read-only by itself.",
    errno.EIO: "Its disk fails: see the system's log there. If the server is lost, go on --without it.",
}
"""By the number of a system's error on a server: the remedy."""
_OTHERWISE = "See the system's log there. If the server is lost, go on --without it."


@contextmanager
def on(server: str) -> Iterator[None]:
    """Turn what goes wrong on this server into the error of the same kind, which names the server first.

    An error of the server's system (a full disk, a folder that is gone) is a ClusterError with a remedy.
    """
    try:
        yield
    except HostError as exc:
        raise told(server, exc.code, exc.message, exc.remedy) from exc
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        trouble = f"{server}: {where}{(exc.strerror or type(exc).__name__).lower()}"
        raise ClusterError(trouble, REMEDIES.get(exc.errno or 0, _OTHERWISE), server=server) from exc


def told(server: str, code: str, message: str, remedy: str = "") -> EdgeguardError:
    """The error that this code and these words mean."""
    if code == INTERRUPTED:
        return Interrupted(f"{server}: {message}", remedy)
    if code == NO_ACCOUNT:
        return UsageError(f"{server}: {message}", remedy)
    return BY_CODE.get(code, ClusterError)(f"{server}: {message}", remedy, server=server)
