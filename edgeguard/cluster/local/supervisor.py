"""Keeps one server's application running: `python -m edgeguard.cluster.local.supervisor <server's folder>/supervisor`.

Its desired state is {"server", "generation": name or null, "port"}; its actual state is {"generation", "running",
"deaths", "died", "exit", "output"}. `running`: the application's process is there now. `deaths` counts the last deaths
in a row that came within STEADY_SECONDS of the start; `died` counts all deaths since the generation was ordered, also
those that an earlier supervisor saw. `exit` is the last process's exit code, and `output` is its part of app.log. A
process that dies is started again, after a longer pause each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import environment, generations, processes, sockets
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.output import Output
from edgeguard.cluster.local.daemon import DaemonProcess
from edgeguard.cluster.local.wakeup import Wakeup
from edgeguard.errors import ClusterError

STEADY_SECONDS = 5.0
PAUSES = (0.05, 0.1, 0.5, 1.0, 2.0, 5.0)  # before the first, second, … start again
_TICK = 1.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, Linux: prctl(2)


class Supervisor:
    """Keeps the application of one server running. It has one thread."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._folder = daemon.folder.parent
        self._output = Output(self._folder / "app.log")
        self._desired: dict[str, Any] = {"number": -1}
        self._generation: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._again = 0.0
        self._deaths = self._died = 0
        self._exit: int | None = None
        self._error: dict[str, str] = {}
        self._published: dict[str, Any] = {}
        self.wakeup = Wakeup()

    def run(self) -> None:
        """Follow the desired state until SIGTERM; then end the application."""
        self._stop()  # ends what an earlier supervisor left running when it was killed
        while not self.wakeup.asked_to_end:
            self._follow()
            self._look()
            self._output.trim()
            self._daemon.trim_log()
            self._publish()
            pause = _TICK if self._process or not self._generation else max(0.0, self._again - time.monotonic())
            self.wakeup.sleep(min(pause, _TICK))
        self._stop()

    def _follow(self) -> None:
        desired = self._daemon.desired()
        if desired["number"] == self._desired["number"]:
            return
        if desired.get("generation") != self._generation or desired.get("port") != self._desired.get("port"):
            self._stop()
            self._exit = None
            self._died = self._died_before(desired.get("generation"))
            self._output.forget()
        self._deaths, self._again = 0, 0.0  # also where the order is the same: its process is started at once
        self._desired, self._generation, self._error = desired, desired.get("generation"), {}

    def _look(self) -> None:
        """Notice that the process has died, and start one if there should be one and the pause is over."""
        self._reap()
        if self._process is not None and self._process.returncode is not None:
            self._exit = self._process.returncode
            quick = time.monotonic() - self._started < STEADY_SECONDS
            self._deaths = self._deaths + 1 if quick else 1
            self._died += 1
            self._stop()  # its children, too
            self._output.end()
            self._pause()
        if self._generation is not None and self._process is None and time.monotonic() >= self._again:
            self._error = {}
            try:
                self._start(self._generation)
            except (OSError, ClusterError, HostError) as exc:
                self._error = {"error": str(exc), "remedy": getattr(exc, "remedy", "")}
                self._deaths += 1
                self._died += 1
                self._pause()

    def _died_before(self, generation: str | None) -> int:
        """The deaths of this generation that an earlier supervisor saw."""
        first_order = self._desired["number"] < 0
        before = self._daemon.published() if first_order else None
        return int(before.get("died", 0)) if before and before.get("generation") == generation else 0

    def _pause(self) -> None:
        self._again = time.monotonic() + PAUSES[min(self._deaths, len(PAUSES)) - 1]

    def _start(self, name: str) -> None:
        port = self._desired["port"]
        folder = self._folder / "generations" / name
        runs = generations.read(self._folder, name).runs
        account = accounts.to_become(runs.user)
        if runs.socket:
            sockets.make_way(self._folder, name)
        else:
            sockets.refuse_taken(port, "options.first_port")
        variables = environment.of_web(self._folder, name, self._desired["server"], port)
        with self._output.begin() as descriptor:
            if account is not None:
                os.fchown(descriptor, account.user, account.group)  # so that it can open /dev/stderr
            self._process = subprocess.Popen(
                list(runs.start),
                cwd=runs.folder,
                env={**variables, processes.MARK: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                **(account.identity if account else {}),
            )
        self._started = time.monotonic()

    def _stop(self) -> None:
        """End the processes of all generations of this server."""
        processes.end(self._belonging, self._reap)
        if self._generation is not None:
            sockets.remove(self._folder, self._generation)
        self._process = None

    def _belonging(self) -> list[int]:
        if processes.VISIBLE:
            return list(processes.running(self._folder, parent=os.getpid()))
        return processes.group(self._process.pid) if self._process else []

    def _reap(self) -> None:
        """Collect every child that has ended: the application's first process, and the orphans that came to us."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if self._process is not None and pid == self._process.pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)

    def _publish(self) -> None:
        actual = {
            "number": self._desired["number"],
            "generation": self._generation,
            "running": self._process is not None,
            "deaths": self._deaths,
            "died": self._died,
            "exit": self._exit,
            "output": self._output.part,
            **self._error,
        }
        if actual != self._published:
            self._daemon.publish(actual)
            self._published = actual


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent has died, where the system can do that (Linux)."""
    if processes.VISIBLE:
        import ctypes  # noqa: PLC0415 (Linux only)

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    """Supervise until SIGTERM. This ends at once if the folder has a supervisor already."""
    daemon = DaemonProcess(Path(sys.argv[1]))
    supervisor = Supervisor(daemon)
    supervisor.wakeup.listen()
    if not daemon.take():
        return
    adopt_orphans()
    supervisor.run()


if __name__ == "__main__":
    main()
