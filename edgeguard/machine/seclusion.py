"""Keeps this process's secrets, a token above all, from programs that it runs for others.

Linux shows the environment with which a process began to all processes of the same user. So a clean environment for a
program is not enough: the program could read `/proc/<its parent>/environ`.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING

from edgeguard.machine import process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_DUMPABLE = 4  # Linux: include/uapi/linux/prctl.h


def hide() -> None:
    """Keep other processes of the same user from reading this one's environment from now on, where Linux can do that.

    Root can read it all the same, unless it has neither CAP_SYS_PTRACE nor CAP_PERFMON, as in most containers. The
    processes that started this one, and those that it starts, are not hidden.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 (only commands with a token need it)

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0))


def secluded(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The argv that runs a program so that it sees only the processes that it starts.

    Where this machine can't do that (`possible`), it is the same argv. The user, the files, the output and the exit
    code stay the same; for a program that a signal ended, the exit code is 128 and the signal's number. When the
    program ends, or its session's leader is killed, all processes that it started end, too.
    """
    if not possible() or shutil.which(argv[0], path=env.get("PATH")) is None:  # the caller reports a missing program
        return list(argv)
    return [*_prefix(), *argv]


@cache
def possible() -> bool:
    """Whether this user may make a PID namespace here. In many containers, and on Ubuntu since 24.04, users may not."""
    prefix = _prefix()
    if not prefix:
        return False
    return process.answer([*prefix, "true"]).returncode == 0


@cache
def _prefix() -> tuple[str, ...]:
    """The argv that makes a PID namespace with a /proc of its own; empty where there is no such program.

    Its first process is a shell that only waits, since the kernel keeps most signals from the first process. A user
    other than root needs a user namespace around it, and stays the same user in there.
    """
    unshare, shell = shutil.which("unshare"), shutil.which("sh")
    if sys.platform != "linux" or unshare is None or shell is None:
        return ()
    user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    return (
        *(unshare, *user, "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        *(shell, "-c", '"$@"\nexit $?', "sh"),
    )
