"""Keeps this process's secrets, a token above all, from other processes of the same user."""

from __future__ import annotations

import sys

_PR_SET_DUMPABLE = 4  # Linux: include/uapi/linux/prctl.h


def hide() -> None:
    """Keep other processes of the same user from reading this one's environment from now on, where Linux can do that.

    Root can read it all the same, unless it has neither CAP_SYS_PTRACE nor CAP_PERFMON, as in most containers. The
    processes that started this one, and those that it starts, are not hidden.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 (only commands with a token need it)

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))
