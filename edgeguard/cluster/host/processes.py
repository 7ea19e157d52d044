"""Which processes belong to a server's application or to a hook, and how all of them are ended.

Every process of an application carries EDGEGUARD_GENERATION, the path of the generation from which it was started, in
its environment. A process that has lost it (a program may overwrite its environment) still belongs to the generation of
its parent or of its session. Linux shows all this in /proc. Elsewhere only process groups are known.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

MARK = "EDGEGUARD_GENERATION"
"""In the environment of an application's processes: the path of their generation, FOLDER/generations/NAME."""
RUN = "EDGEGUARD_RUN"
"""In the environment of a person's command (foreground.py): the path of its generation, and a nonce below it."""
TASK = "EDGEGUARD_TASK"
"""In the environment of a task's processes: the path of their generation, and the task's id below it."""
TERM_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
VISIBLE = Path("/proc/self/stat").exists()
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of Linux's include/linux/sched.h, in the flags that proc_pid_stat(5) names
_POLL = 0.005
_AT_ONCE = 65_536  # bytes of a file of /proc that one call reads


@dataclass(frozen=True)
class Process:
    """A living process. `started` is its start in clock ticks after boot (proc_pid_stat(5), field 22)."""

    pid: int
    parent: int
    session: int
    """0: it began outside of this PID namespace, and other processes of session 0 may be anybody's."""
    started: int


def living() -> Iterator[Process]:
    """Every process that runs now, zombies and kernel threads left out; nothing where there is no /proc.

    A process whose first thread has ended shows as a zombie while its other threads run: it holds its ports, and it may
    serve. Its number of threads (proc_pid_stat(5), field 20) tells it from a dead one, which has its first thread only.
    """
    with os.scandir("/proc") if VISIBLE else nullcontext(()) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        if name.isdigit():
            with suppress(OSError, ValueError):  # it has just ended
                fields = _content(f"/proc/{name}/stat").rpartition(b")")[2].split()
                parent, session, flags, threads, started = (int(fields[n]) for n in (1, 3, 6, 17, 19))
                dead = fields[0] in b"ZX" and threads <= 1
                if not dead and not flags & _KERNEL_THREAD:
                    yield Process(int(name), parent, session, started)


def variable(pid: int, *names: str) -> str | None:
    """The first of these variables in a process's environment; None where it has none, or is another user's."""
    marks = tuple(f"{name}=".encode() for name in names)
    with suppress(OSError):
        environment = _environ(pid)
        if any(mark in environment for mark in marks):  # which most processes don't have
            for said in environment.split(b"\0"):
                if said.startswith(marks):
                    return os.fsdecode(said.partition(b"=")[2])
    return None


def _environ(pid: int) -> bytes:
    """The environment of a process. Where its first thread has ended, another thread still has it."""
    try:
        return _content(f"/proc/{pid}/environ")
    except ProcessLookupError:
        for thread in Path("/proc", str(pid), "task").iterdir():
            with suppress(ProcessLookupError):
                return _content(f"{thread}/environ")
        raise


def _content(path: str) -> bytes:
    """All of a file of /proc. A look at every process reads hundreds of them: Path and buffers would take twice as
    long."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = read = os.read(descriptor, _AT_ONCE)
        while read:
            read = os.read(descriptor, _AT_ONCE)
            content += read
        return content
    finally:
        os.close(descriptor)


def running(folder: Path, *, parent: int = 0) -> dict[int, Path | None]:
    """The processes that belong to generations in a server's folder, each with its generation.

    Children of `parent` belong too, whatever they did to their environment (None: the generation isn't known).
    """
    return belonging(f"{folder / 'generations'}/", MARK, parent=parent)


def every(folder: Path) -> dict[int, Path | None]:
    """As `running`, with the commands of people and with background tasks, each with the path that it carries."""
    return belonging(f"{folder / 'generations'}/", MARK, RUN, TASK)


def task_mark(folder: Path, generation: str, task: str) -> str:
    """What the processes of this task carry in their environment, as TASK."""
    return str(folder / "generations" / generation / task)


def of_tasks(folder: Path, *, parent: int = 0) -> dict[int, Path | None]:
    """The processes of a server's tasks, each with the path that it carries; children of `parent` too, as `running`."""
    return belonging(f"{folder / 'generations'}/", TASK, parent=parent)


def belonging(inside: str, *marks: str, parent: int = 0) -> dict[int, Path | None]:
    """The processes with one of these variables where its value begins with `inside`, each with that value, and those
    that they have started, whatever these did to their environment."""
    every = list(living())
    found: dict[int, Path | None] = {}
    sessions: dict[int, Path] = {}
    for process in every:
        generation = variable(process.pid, *marks)
        if generation is not None and generation.startswith(inside):
            found[process.pid] = Path(generation)
            if process.session:
                sessions[process.session] = Path(generation)
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


def end(
    belonging: Callable[[], Iterable[int]],
    reap: Callable[[], None] = lambda: None,
    *,
    spared: Callable[[], Collection[int]] = tuple,
    kill: Callable[[], None] = lambda: None,
) -> None:
    """End the processes that `belonging()` finds: SIGTERM, and SIGKILL to what still runs 2 s later.

    When this returns, `belonging()` found none. `reap` is called in between, so that zombies don't count. Those that
    `spared()` names get no SIGTERM, since something else has asked them to end. `kill`, if it knows a way to end many
    of them at once, is tried before each SIGKILL.
    """
    told: set[int] = set()
    deadline = time.monotonic() + TERM_SECONDS
    while True:
        reap()
        left = set(belonging())
        if not left:
            return
        late = time.monotonic() > deadline
        if late:
            kill()
        for pid in left if late else left.difference(told, spared()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= left
        time.sleep(_POLL)


def group(leader: int) -> list[int]:
    """The process group of a leader as one negative id, for where /proc is missing; empty if nothing of it is left."""
    try:
        os.killpg(leader, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [-leader]


def by_generation(found: Mapping[int, Path | None]) -> set[str | None]:
    """The names of the generations from which processes run."""
    return {None if generation is None else generation.name for generation in found.values()}


def session(leader: int, started: int) -> list[int]:
    """The living members of the session that a process began which started at that moment, the process included.

    A session keeps its number while it has members, so the number alone would do until all of them are gone. After
    that a new process may get it; its start tells it apart.
    """
    if not VISIBLE:
        return group(leader)
    members = [process for process in living() if leader in (process.pid, process.session)]
    if any(process.pid == leader and process.started != started for process in members):
        return []
    return [process.pid for process in members if process.started >= started]


def start_of(pid: int) -> int:
    """When a process started, as Process.started; 0 where that can't be told."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()[19])
    return 0


def boot() -> str:
    """What tells this boot of the machine from others; "" where that can't be told."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def marked(name: str, value: str, *, but: Collection[int] = ()) -> list[int]:
    """The processes whose environment has this variable with this value."""
    return [process.pid for process in living() if process.pid not in but and variable(process.pid, name) == value]
