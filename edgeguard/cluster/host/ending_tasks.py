"""How background tasks of a server are ended: by SIGTERM, or by a command of their own, and by SIGKILL 2 s later."""

from __future__ import annotations

import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import processes, units
from edgeguard.cluster.host.control_groups import ControlGroup
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.cluster.host.generations import Task

_WORD = 4
"""The place of this package's word in the arguments of a command that systemd starts: python -I -S PROGRAM WORD …."""


def end(folder: Path, running: Mapping[str, ControlGroup], asked: Mapping[str, Task], *, whole: bool) -> None:
    """End the processes of these units, and (`whole`) whatever a task has started elsewhere. Those that are `asked` get
    their own command in place of SIGTERM, if it can be started."""
    asking: dict[str, ControlGroup] = {}
    for unit, task in asked.items():
        with suppress(HostError):
            asking[unit] = _command(folder, task)
    groups = [*running.values(), *asking.values()]

    def others() -> set[int]:
        return set(processes.of_tasks(folder)) if whole else set()

    def members() -> set[int]:
        found = others().union(*(group.members() for group in groups))
        return {pid for pid in found if not _notes_an_end(pid)}

    def spared() -> set[int]:
        return set().union(*(running[unit].members() | group.members() for unit, group in asking.items()))

    def kill() -> None:
        for group in groups:
            group.kill()

    processes.end(members, spared=spared, kill=kill)
    if running:
        units.stop_all(*running)


def _command(folder: Path, task: Task) -> ControlGroup:
    """Start the command that asks a task to end, in a unit of its own."""
    unit = f"eg-{Prepared.of(folder).environment}-asks-{task.name}-{secrets.token_hex(4)}.service"
    units.run(unit, (sys.executable, "-I", "-S", str(folder / "program"), "task-stop", str(folder), task.id))
    return ControlGroup(units.matching(unit)[unit]["ControlGroup"])


def _notes_an_end(pid: int) -> bool:
    """Whether this is what systemd starts to note the end of a task, in the task's own group. A task that says so of
    itself gets no signal from here; systemd ends it when it stops the unit."""
    with suppress(OSError):
        argv = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
        return argv[_WORD : _WORD + 1] == [b"task-ended"] or argv[0].startswith(b"(")  # systemd's, before it is one
    return False
