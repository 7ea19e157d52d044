"""Finding the processes of a server's application, and ending all of them.

Every process of an application has EDGEGUARD_GENERATION, the path of its generation, in its environment. A process
that loses it (a program may overwrite its environment) still belongs to its parent's or its session's generation. Linux
shows all this in /proc; elsewhere only process groups are known.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MARK = "EDGEGUARD_GENERATION"
TERM_SECONDS = 2.0  # between SIGTERM and SIGKILL
VISIBLE = Path("/proc/self/stat").exists()
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of Linux's include/linux/sched.h, in the flags that proc_pid_stat(5) names
_POLL = 0.005


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    session: int
    """0 is a session that began outside this PID namespace. It may have processes of anybody."""
    generation: str | None


def running(folder: Path, *, parent: int = 0) -> dict[int, Path | None]:
    """The processes that belong to generations in a server's folder, each with its generation.

    Children of `parent` belong too, whatever they did to their environment; None is an unknown generation.
    """
    inside = f"{folder / 'generations'}/"
    every = list(_processes())
    found: dict[int, Path | None] = {}
    sessions: dict[int, Path] = {}
    for process in every:
        if process.generation is not None and process.generation.startswith(inside):
            found[process.pid] = Path(process.generation)
            if process.session:
                sessions[process.session] = Path(process.generation)
        elif parent and process.parent == parent:
            found[process.pid] = None
    grown = True
    while grown:
        grown = False
        for process in every:
            if process.pid in found and found[process.pid] is not None:
                continue
            heir = found.get(process.parent) or sessions.get(process.session)
            if heir is not None or (process.parent in found and process.pid not in found):
                found[process.pid] = heir
                grown = True
    return found


def end(belonging: Callable[[], Iterable[int]], reap: Callable[[], None]) -> None:
    """End the processes that `belonging()` finds: SIGTERM, and SIGKILL to what still runs 2 s later.

    When this returns, `belonging()` has found none. `reap` is called in between, so that zombies don't count.
    """
    told: set[int] = set()
    deadline = time.monotonic() + TERM_SECONDS
    while True:
        reap()
        left = set(belonging())
        if not left:
            return
        late = time.monotonic() > deadline
        for pid in left if late else left - told:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= left
        time.sleep(_POLL)


def group(leader: int) -> list[int]:
    """A leader's process group as one negative id, where /proc is missing. Empty if no process of it is left."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [-leader]


def by_generation(found: Mapping[int, Path | None]) -> set[str | None]:
    """The names of the generations from which processes run."""
    return {None if generation is None else generation.name for generation in found.values()}


def _processes() -> Iterable[_Process]:
    mark = f"{MARK}=".encode()
    with os.scandir("/proc") if VISIBLE else nullcontext(()) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        if not name.isdigit():
            continue
        with suppress(OSError):  # it has just ended, or belongs to another user
            stat = Path("/proc", name, "stat").read_bytes()
            state, parent, _group, session, _tty, _foreground, flags = stat.rpartition(b")")[2].split()[:7]
            if state in b"ZX" or int(flags) & _KERNEL_THREAD:  # zombies have ended
                continue
            generation = None
            with suppress(OSError):
                for variable in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    if variable.startswith(mark):
                        generation = os.fsdecode(variable[len(mark) :])
            yield _Process(int(name), int(parent), int(session), generation)
