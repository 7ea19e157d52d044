"""One background task of a server: its processes, its times, and what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import environment, output, processes, schedule
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.local.supervisor import PAUSES, STEADY_SECONDS

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

    from edgeguard.cluster.host.generations import Runs, Task

_LATE = 120.0
"""A moment that is longer past (this program slept, or the clock was set) is no reason to start a cron."""


@dataclass(frozen=True)
class Place:
    """Where tasks run: the server's folder and name, the generation, and the folder of their logs."""

    folder: Path
    server: str
    generation: str
    runs: Runs
    logs: Path

    def start(self, task: Task, argv: tuple[str, ...], *, marked: bool = True) -> subprocess.Popen[bytes]:
        """Start a command of a task, in a session of its own. What it writes is in the task's log.

        Raises:
            HostError, OSError: it can't be started.
        """
        account = accounts.to_become(self.runs.user)
        variables = dict(environment.of_task(self.folder, self.generation, self.server, task))
        if marked:
            variables[processes.TASK] = processes.task_mark(self.folder, self.generation, task.id)
        log = os.open(self.logs / f"{task.id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if account is not None:
                os.fchown(log, account.user, account.group)  # so that it can open /dev/stderr
            return subprocess.Popen(
                list(argv),
                cwd=self.runs.folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **(account.identity if account else {}),
            )
        finally:
            os.close(log)

    def processes(self, task: Task) -> list[int]:
        """Those that belong to a task."""
        found = processes.of_tasks(self.folder)
        return [pid for pid, whose in found.items() if whose is not None and whose.name == task.id]


@dataclass
class Kept:
    """A task that has to run. `told` is what is published of it."""

    task: Task
    place: Place
    told: dict[str, Any]
    moments: schedule.Schedule | None = None  # of a cron
    where: tzinfo = field(default_factory=lambda: schedule.zone(None))
    due: float | None = None  # its next moment, in Unix time
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0  # these three are by the monotonic clock
    _ending: float | None = None
    _again: float = 0.0
    _quick: int = 0  # starts in a row that lasted not long
    _why: str | None = None  # the reason for which it is ended, if not by itself

    def __post_init__(self) -> None:
        if self.task.schedule is not None:
            self.moments = schedule.read(self.task.schedule, self.task.hashed)
            self.due = schedule.after(self.moments, time.time(), self.where)

    def look(self) -> None:
        """Notice what has ended, end what has to end, and start what is due. Children must have been reaped before."""
        if self.process is not None:
            self._look_at(self.process)
        if self.moments is None:
            if self.process is None and time.monotonic() >= self._again:
                self._start()
        elif self.due is not None and (now := time.time()) >= self.due:
            late = now - self.due > _LATE
            self.due = schedule.after(self.moments, now, self.where)
            if self.process is not None:
                self.told["missed"] += 1
            elif not late:
                self._start()
        output.trim(self.place.logs / f"{self.task.id}.log")

    def ask_to_end(self) -> subprocess.Popen[bytes] | None:
        """Start the command that asks it to end, if it has one."""
        self._why = self._why or "stopped"
        if self.task.stop is not None:
            with suppress(OSError, HostError):
                return self.place.start(self.task, self.task.stop, marked=False)
        return None

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Note that all its processes have ended."""
        lived = time.monotonic() - self._started
        code = None if self._why else process.returncode
        self.told["last"] = {"began": self.told.pop("since"), "seconds": lived, "code": code, "why": self._why}
        self.process = None
        if self.moments is None and self._why is None:
            self.told["deaths"] += 1
            self._pause(lived)

    def pause(self) -> float:
        """Seconds until it has to be looked at, if nothing happens to it before."""
        if self._ending is not None and self.process is not None:
            return 0.02
        if self.due is not None:
            return self.due - time.time()
        return self._again - time.monotonic() if self.process is None else 1.0

    def _start(self) -> None:
        now = time.time()
        self._ending, self._why = None, None
        try:
            self.process = self.place.start(self.task, self.task.start)
        except (OSError, HostError) as exc:
            self.told["last"] = {"began": now, "seconds": 0.0, "code": None, "why": str(exc)}
            self._pause(0.0)
            return
        self._started = time.monotonic()
        self.told["since"] = now

    def _pause(self, lived: float) -> None:
        self._quick = self._quick + 1 if lived < STEADY_SECONDS else 1
        self._again = time.monotonic() + PAUSES[min(self._quick, len(PAUSES)) - 1]

    def _look_at(self, process: subprocess.Popen[bytes]) -> None:
        now, over = time.monotonic(), process.returncode is not None
        if self._ending is None:
            late = self.task.limit is not None and now - self._started > self.task.limit
            if late and not over:
                self._why = "at its limit"
            if late or over:  # what it left behind goes, too
                self._ending = now
                self._signal(signal.SIGTERM)
        elif now - self._ending > processes.TERM_SECONDS:
            self._signal(signal.SIGKILL)
        if over and not self.place.processes(self.task):
            self.ended(process)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.place.processes(self.task):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
