"""Keeps one server's background tasks: `python -m edgeguard.cluster.local.tasks <server's folder>/tasks`.

Its desired state is {"server", "generation": name or null, "crons"}: no task runs without a generation, and crons are
started only on the server that has `crons`. Its actual state is {"generation", "stopped", "tasks"}. `stopped` is how
many tasks the last order has ended. `tasks` tells of each task, by its id, {"since", "deaths", "missed", "next",
"last": {"began", "seconds", "code", "why"}}, also of those that were stopped. Moments are Unix times.

A worker that ends is started again, after a longer pause each time. A cron that still runs when it is due again is not
started: that moment is `missed`. What a task writes is in `<id>.log`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import generations, processes, schedule
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.local.daemon import DaemonProcess
from edgeguard.cluster.local.supervisor import adopt_orphans
from edgeguard.cluster.local.task import Kept, Place
from edgeguard.cluster.local.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Mapping

_TICK = 1.0


class Tasks:
    """Keeps the tasks of one server. It has one thread."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.wakeup = Wakeup()
        self._daemon = daemon
        self._folder = daemon.folder.parent
        self._desired: dict[str, Any] = {"number": -1}
        self._generation: str | None = None
        self._kept: dict[str, Kept] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._stopped = 0
        self._error: dict[str, str] = {}
        self._published: dict[str, Any] = {}

    def run(self) -> None:
        """Follow the desired state until SIGTERM; then end the tasks."""
        self._told = _told(self._daemon.published())
        self._stop()  # ends what an earlier daemon left running when it was killed
        while not self.wakeup.asked_to_end:
            self._follow()
            self._reap()
            for kept in self._kept.values():
                kept.look()
            self._daemon.trim_log()
            self._publish()
            self.wakeup.sleep(max(0.0, min([_TICK, *(kept.pause() for kept in self._kept.values())])))
        self._stop()
        self._publish()

    def _follow(self) -> None:
        desired = self._daemon.desired()
        if desired["number"] == self._desired["number"]:
            return
        before, self._desired, self._stopped = self._desired, desired, 0
        if self._error or any(desired.get(key) != before.get(key) for key in ("generation", "crons")):
            self._stopped, self._error = self._stop(), {}
            self._generation = None
            try:
                self._keep(desired.get("generation"), crons=bool(desired.get("crons")))
            except (OSError, HostError, ValueError) as exc:
                self._error = {"error": str(exc), "remedy": getattr(exc, "remedy", "")}

    def _keep(self, name: str | None, *, crons: bool) -> None:
        """Keep the tasks of this generation from now on. Raises HostError, OSError, ValueError."""
        if name is None:
            return
        runs = generations.read(self._folder, name).runs
        place = Place(self._folder, self._desired["server"], name, runs, self._daemon.folder)
        where = schedule.zone(runs.timezone)
        here = [task for task in runs.tasks if crons or task.schedule is None]
        self._told = {task.id: {"last": None, **self._told.get(task.id, {}), **_FRESH} for task in here}
        self._kept = {task.id: Kept(task, place, self._told[task.id], where=where) for task in here}
        self._generation = name

    def _stop(self) -> int:
        """End every task: by its own command or by SIGTERM, and by SIGKILL what still runs 2 s later. Returns how many
        ran."""
        self._reap()
        under_way = [(kept, kept.process) for kept in self._kept.values() if kept.process is not None]
        asking = {stop.pid: kept for kept, _ in under_way if (stop := kept.ask_to_end()) is not None}
        spared = {pid for kept in asking.values() for pid in kept.place.processes(kept.task)}
        processes.end(self._every, self._reap, spared=lambda: spared | _members(asking))
        self._reap()
        for kept, process in under_way:
            kept.ended(process)
        self._kept = {}
        return len(under_way)

    def _every(self) -> list[int]:
        """The processes of all tasks, and of the commands that ask them to end."""
        if processes.VISIBLE:
            return list(processes.of_tasks(self._folder, parent=os.getpid()))
        mine = (kept.process for kept in self._kept.values())
        return [pid for process in mine if process is not None for pid in processes.group(process.pid)]

    def _reap(self) -> None:
        """Collect every child that has ended: the tasks' first processes, and the orphans that came to us."""
        mine = {kept.process.pid: kept.process for kept in self._kept.values() if kept.process is not None}
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in mine:
                    mine[pid].returncode = os.waitstatus_to_exitcode(status)

    def _publish(self) -> None:
        due = {name: kept.due for name, kept in self._kept.items()}
        actual = {
            "number": self._desired["number"],
            "generation": self._generation,
            "stopped": self._stopped,
            "tasks": {name: {**told, "next": due.get(name)} for name, told in self._told.items()},
            **self._error,
        }
        if actual != self._published:
            self._daemon.publish(actual)
            self._published = actual


_FRESH = {"deaths": 0, "missed": 0}


def _told(published: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """What an earlier daemon told of tasks: the last run of each. Their processes are gone."""
    tasks = (published or {}).get("tasks", {})
    return {name: {"last": told.get("last"), **_FRESH} for name, told in tasks.items()}


def _members(sessions: Mapping[int, object]) -> set[int]:
    return {process.pid for process in processes.living() if process.session in sessions} if sessions else set()


def main() -> None:
    """Keep the tasks until SIGTERM. This ends at once if the folder has a daemon already."""
    daemon = DaemonProcess(Path(sys.argv[1]))
    tasks = Tasks(daemon)
    tasks.wakeup.listen()
    if not daemon.take():
        return
    adopt_orphans()
    tasks.run()


if __name__ == "__main__":
    main()
