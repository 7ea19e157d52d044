"""The processes of a rehearsal's servers, found and killed as the kernel or an operator would kill them: from outside,
by their ids. No code of edgeguard's is used here. Linux only, since /proc shows them."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0
"""Seconds that killed processes may take to be gone."""
_GENERATION, _HOOK, _TASK = "EDGEGUARD_GENERATION", "EDGEGUARD_HOOK", "EDGEGUARD_TASK"
"""Variables of the processes of an application, a hook and a task: a path below the cluster's folder."""


def fell(root: Path, what: str) -> None:
    """Kill the processes that one word of kinds.FELLED names, in the cluster of this folder, and wait until they are
    gone. An application is started again by its supervisor: this waits until that has been done."""
    first, deadline = set(_pids(root, what)), time.monotonic() + PATIENCE
    for pid in first:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if what == "application":
        while not set(_pids(root, what)) - first:
            assert time.monotonic() < deadline, "nobody starts the application again"
            time.sleep(0.005)
        return
    while left := set(_pids(root, what)):  # a supervisor may have started another one meanwhile
        assert time.monotonic() < deadline, f"{what}: {left} can't be killed"
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _pids(root: Path, what: str) -> Iterator[int]:
    if what in {"supervisors", "host"}:
        for lock in root.glob("servers/*/supervisor/daemon.lock"):
            yield from _holder(lock)
    if what == "host":
        for lock in root.glob("servers/*/tasks/daemon.lock"):
            yield from _holder(lock)
        yield from _marked(_TASK, root)
    if what in {"gate", "host"}:
        yield from _holder(root / "gate" / "daemon.lock")
    if what == "application":
        yield from _marked(_GENERATION, root / "servers" / "web2")
    if what == "host":
        yield from _marked(_GENERATION, root)
        yield from _marked(_HOOK, root)
        yield from _running(root / "host")


def _holder(lock: Path) -> Iterator[int]:
    """The living daemon that holds this lock."""
    with suppress(FileNotFoundError), lock.open(encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield int(file.read())


def _marked(variable: str, folder: Path) -> Iterator[int]:
    """The living processes in whose environment the variable is a path below the folder."""
    mark = f"{variable}={folder}/".encode()
    for pid in _living():
        if any(said.startswith(mark) for said in _read(pid, "environ").split(b"\0")):
            yield pid


def _running(folder: Path) -> Iterator[int]:
    """The living processes that run a program below the folder."""
    for pid in _living():
        if any(word.startswith(f"{folder}/".encode()) for word in _read(pid, "cmdline").split(b"\0")):
            yield pid


def _living() -> Iterator[int]:
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and int(place.name) != os.getpid():
            state = _read(int(place.name), "stat").rpartition(b")")[2].split()[:1]
            if state and state[0] not in b"ZX":
                yield int(place.name)


def _read(pid: int, what: str) -> bytes:
    with suppress(OSError):  # it has just ended
        return Path("/proc", str(pid), what).read_bytes()
    return b""


def lives(pid: int) -> bool:
    """Whether the process is there, and is no zombie."""
    return pid in _living()
