"""What can go wrong on a server. The code travels as text, so it is a part of the protocol and never changes."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable

FAILED = "failed"
"""Anything that has no code of its own."""
FENCED = "fenced"
"""A newer holder of the lock, or a newer session of the same holder, has taken over."""
DAMAGED = "damaged"
"""A file of edgeguard's own can't be read as what it has to be."""
BUSY = "busy"
"""Another process holds the server's lock, and did not let go of it."""
NOT_CLOSED = "not-closed"
"""The gate is open, and this is done behind a closed gate only."""
NOT_STAGED = "not-staged"
"""The generation is not on this server."""
IMAGE_CHANGED = "image-changed"
"""The image is not as it was built."""
HOOK_STARTED = "hook-started"
"""The hook was started before."""
HOOK_RUNS = "hook-runs"
"""A hook runs on this server."""
HOOK_UNKNOWN = "hook-unknown"
"""A hook was started, does not run, and nothing says how it ended."""
INTERRUPTED = "interrupted"
"""The caller asked for an end of the waiting."""
UNHEALTHY = "unhealthy"
"""The application does not answer as it has to, or something else runs in its place."""
NO_ACCOUNT = "no-account"
"""The user as whom the application should run is none of this server, or can't be become."""
UNKNOWN_ACT = "unknown-act"
"""A caller over a connection asked for something that this program does not know."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors of a full disk."""


class HostError(Exception):
    """Something went wrong on this server. `message` says what, `remedy` what to do now ("" where nothing helps)."""

    def __init__(self, message: str, remedy: str = "", *, code: str = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code


def refusal(act: Callable[[], object]) -> str | None:
    """What an act refuses, in one sentence with the remedy; None where it does not."""
    try:
        act()
    except HostError as exc:
        return f"{exc.message} ({exc.remedy.rstrip('.')})"
    return None


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


def of_system(exc: OSError) -> HostError:
    """The error about one of this server's system: a full disk, a folder that is gone."""
    where = f"{exc.filename}: " if exc.filename else ""
    return HostError(f"{where}{(exc.strerror or type(exc).__name__).lower()}", REMEDIES.get(exc.errno or 0, _OTHERWISE))
