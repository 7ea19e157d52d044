"""Keeps one server's application running: `python -m edgeguard.cluster.local.supervisor <server's folder>/supervisor`.

Desired: {"server", "generation": name or null, "port"}. Actual: {"generation", "running", "deaths", "died", "exit",
"output"}. `running` says whether the process is there at this moment. `deaths` counts the deaths within STEADY_SECONDS
of a start, one after another; `died` counts all deaths since the generation was ordered, also those that an earlier
supervisor saw. `exit` is how the last process ended, and `output` is its part of app.log. A process that dies is
started again, later and later.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import generations, processes
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.output import Output
from edgeguard.cluster.local.daemon import Post
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from types import FrameType

STEADY_SECONDS = 5.0
PAUSES = (0.05, 0.1, 0.5, 1.0, 2.0, 5.0)  # before the first, second, … start again
_TICK = 1.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, Linux: prctl(2)


class Supervisor:
    """The application's processes on one server. The only thread of its process."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._folder = post.folder.parent
        self._output = Output(self._folder / "app.log")
        self._desired: dict[str, Any] = {"number": -1}
        self._generation: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._again = 0.0
        self._deaths = self._died = 0
        self._exit: int | None = None
        self._error: dict[str, str] = {}
        self._ending = False
        self._published: dict[str, Any] = {}
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)

    def listen(self) -> None:
        """React to signals from now on; a signal only wakes the loop."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._end)

    def run(self) -> None:
        """Follow what is desired until SIGTERM; then end the application."""
        self._stop()  # what a supervisor that was killed left running
        while not self._ending:
            self._follow()
            self._look()
            self._output.trim()
            self._publish()
            pause = _TICK if self._process or not self._generation else max(0.0, self._again - time.monotonic())
            select.select([self._wake], [], [], min(pause, _TICK))
            with suppress(BlockingIOError):
                self._wake.recv(4096)
        self._stop()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def _follow(self) -> None:
        desired = self._post.desired()
        if desired["number"] == self._desired["number"]:
            return
        if desired.get("generation") != self._generation or desired.get("port") != self._desired.get("port"):
            self._stop()
            self._deaths, self._exit, self._again = 0, None, 0.0
            self._died = self._died_before(desired.get("generation"))
            self._output.forget()
        self._desired, self._generation, self._error = desired, desired.get("generation"), {}

    def _look(self) -> None:
        """Notice that the process has died, and start one where there should be one and its pause is over."""
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
        before = self._post.published() if first_order else None
        return int(before.get("died", 0)) if before and before.get("generation") == generation else 0

    def _pause(self) -> None:
        self._again = time.monotonic() + PAUSES[min(self._deaths, len(PAUSES)) - 1]

    def _start(self, name: str) -> None:
        port = self._desired["port"]
        refuse_taken(port)
        folder = self._folder / "generations" / name
        runs = generations.read(self._folder, name).runs
        environment = {
            **generations.variables(self._folder, name),
            "PORT": str(port),
            "EDGEGUARD_SERVER": self._desired["server"],
            processes.MARK: str(folder),
        }
        with self._output.begin() as descriptor:
            self._process = subprocess.Popen(
                list(runs.start),
                cwd=runs.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        self._started = time.monotonic()

    def _stop(self) -> None:
        """When this returns, nothing of any generation of this server runs."""
        processes.end(self._belonging, self._reap)
        self._process = None

    def _belonging(self) -> list[int]:
        if processes.VISIBLE:
            return list(processes.running(self._folder, parent=os.getpid()))
        return processes.group(self._process.pid) if self._process else []

    def _reap(self) -> None:
        """Collect every child that has ended: the application's leader, and strays that came to us."""
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
            self._post.publish(actual)
            self._published = actual


def refuse_taken(port: int) -> None:
    """Raise ClusterError if some other program listens on a server's port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        raise ClusterError(
            f"port {port} is in use by another program", "End that program, or let options.first_port name others."
        ) from exc


def adopt_strays() -> None:
    """Become the parent of descendants whose own parent has died, where the system can do that (Linux)."""
    if processes.VISIBLE:
        import ctypes  # noqa: PLC0415 (Linux only)

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def main() -> None:
    """Supervise until SIGTERM. Ends at once if the folder has a supervisor already."""
    post = Post(Path(sys.argv[1]))
    supervisor = Supervisor(post)
    supervisor.listen()
    if not post.take():
        return
    adopt_strays()
    supervisor.run()


if __name__ == "__main__":
    main()
