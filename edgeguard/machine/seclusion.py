"""Keeps what this process was given, a token above all, from the programs that it runs for others.

Linux shows every process's environment, as it was when the process began, to all processes of the same user. So it is
not enough to start a program with a clean environment of its own: `/proc/<its parent>/environ` would tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_DUMPABLE = 4  # Linux: include/uapi/linux/prctl.h


def hide() -> None:
    """Let no other process of this user look into this one, from now on, where the system can do that.

    Root may look all the same, unless it has neither CAP_SYS_PTRACE nor CAP_PERFMON, as in most containers. Whoever
    started this process shows as before what it was given. What this process starts is not hidden.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 (only those who have a token need it)

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))


def alone(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The argv that runs a program where it sees no process but those that it starts, as far as this machine can do
    that (`possible`); the same argv where it can't.

    The user, the files, the output and the exit code stay the same, but for a program that a signal ended: 128 and its
    number. When the program ends, or its session's leader is killed, none of what it started is left.
    """
    if not possible() or shutil.which(argv[0], path=env.get("PATH")) is None:  # whoever runs it says what is missing
        return list(argv)
    return [*_prefix(), *argv]


@cache
def possible() -> bool:
    """Whether this user may make a PID namespace here. Many containers' users may not, nor may Ubuntu's since 24.04."""
    prefix = _prefix()
    if not prefix:
        return False
    return subprocess.run([*prefix, "true"], stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


@cache
def _prefix() -> tuple[str, ...]:
    """A PID namespace with a /proc of its own. Its first process is a shell that only waits, since the kernel keeps
    most signals from that one. Who isn't root needs a user namespace around it, and is the same user in there."""
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    if sys.platform != "linux" or unshare is None or shell is None:
        return ()
    user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    return (
        *(unshare, *user, "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *(shell, "-c", '"$@"\nexit $?', "sh"),
    )
