"""The gate and the supervisors are daemons: they outlive every command, and follow files.

In a daemon's folder, `desired.json` has the desired state, with a number that counts up. The daemon makes that state
true, and writes to `actual.json` the last number that it has followed. The living process holds `daemon.lock`, which
has its pid, so a reused pid is never signalled. SIGHUP only makes it look sooner. Once the process is dead, its
`actual.json` does not count.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from edgeguard.cluster.errors import on
from edgeguard.cluster.host import files, output
from edgeguard.cluster.host.errors import DAMAGED, HostError
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START_SECONDS = 20.0
_POLL = 0.001
_NUDGE = 0.1
_ENVIRONMENT = ("PATH", "LANG", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")  # no tokens among them


@dataclass(frozen=True)
class Daemon:
    """A daemon as commands see it. `name` is for people; `program` is the module that it runs."""

    name: str
    program: str
    folder: Path

    def pid(self) -> int | None:
        """The living process, None if there is none."""
        gone = suppress(FileNotFoundError, NotADirectoryError)
        with on(self.name), gone, (self.folder / "daemon.lock").open(encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
        return None

    def desired(self) -> dict[str, Any]:
        """The desired state; empty before the first order."""
        with on(self.name):
            return files.read(self.folder / "desired.json") or {}

    def actual(self) -> dict[str, Any] | None:
        """The actual state that the living process wrote; None if there is none, or it has written nothing yet."""
        pid = self.pid()
        actual = None if pid is None else self.last()
        return actual if actual is not None and actual["pid"] == pid else None

    def last(self) -> dict[str, Any] | None:
        """The actual state that a process wrote last, be it alive or dead; None if none ever did. It is not durable, so
        a power cut may have torn it: then nobody's state is known, and nobody is alive to have it."""
        with on(self.name):
            return read_actual(self.folder)

    def order(self, wanted: Mapping[str, Any], *, limit: float = START_SECONDS) -> dict[str, Any]:
        """Set the desired state, and wait until it is the actual state. Returns the actual state.

        If no process lives, one is started. If that one can't do what is wanted, it is ended again. The caller holds
        the lock of the host.

        Raises:
            ClusterError: the process can't do it (the message is its own), doesn't start, or takes longer than `limit`
                seconds.
        """
        number = self.desired().get("number", 0) + 1
        with on(self.name):
            files.private(self.folder)
            files.write(self.folder / "desired.json", {**wanted, "number": number})
        before = self.pid()
        actual = self._obeyed(number, limit)
        if actual.get("error"):
            if before is None:
                self.end()
            raise ClusterError(f"{self.name}: {actual['error']}", actual.get("remedy", ""))
        return actual

    def end(self) -> None:
        """End the process and all that it supervises. Nothing happens if there is no process."""
        pid = self.pid()
        deadline = time.monotonic() + START_SECONDS
        if pid is not None:
            _signal(pid, signal.SIGTERM)
        while pid is not None and self.pid() == pid:
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
            time.sleep(_POLL)

    def _obeyed(self, number: int, limit: float) -> dict[str, Any]:
        deadline = time.monotonic() + limit
        nudged = 0.0
        started = False
        while True:
            actual = self.actual()
            if actual is not None and actual["number"] >= number:
                return actual
            now = time.monotonic()
            pid = self.pid()
            if now > deadline or (pid is None and started):
                raise ClusterError(
                    f"{self.name}: its {self.program.rpartition('.')[2]} "
                    + ("has not done what it was asked" if pid else "does not start or has died")
                    + files.quoted("its log ends with", files.tail(self.folder / "daemon.log")),
                    f"See {self.folder / 'daemon.log'}; trying again is harmless.",
                )
            if pid is None:
                with on(self.name):
                    self._start()
                started = True
            elif now - nudged > _NUDGE:
                _signal(pid, signal.SIGHUP)
                nudged = now
            time.sleep(_POLL)

    def _start(self) -> None:
        """Start the process in a session of its own. When this returns, the process has its lock, unless it failed."""
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        descriptor = os.open(self.folder / "daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            subprocess.run(
                [sys.executable, "-P", "-m", self.program, str(self.folder)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ClusterError(f"{self.name}: {self.program} does not start", "Is this machine overloaded?") from exc
        finally:
            os.close(descriptor)


class DaemonProcess:
    """A daemon's folder as its own process sees it. The process holds the folder's lock as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: TextIO | None = None

    def take(self) -> bool:
        """Become the folder's daemon, in the background. Returns False if another process is the daemon.

        This forks: it returns in the child, and the caller's own process exits once the child has the lock. Handlers of
        signals must be set before.
        """
        reader, writer = os.pipe()
        if os.fork():
            os.close(writer)
            os.read(reader, 1)  # ends when the child closes its end, or has died
            os._exit(0)
        os.close(reader)
        self._lock = open(self.folder / "daemon.lock", "a+", encoding="ascii", opener=files.only_ours)  # noqa: SIM115
        taken = self._wait_for_lock()
        if taken:
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()
        os.close(writer)
        return taken

    def desired(self) -> dict[str, Any]:
        """The desired state; its number is 0 before the first order."""
        return files.read(self.folder / "desired.json") or {"number": 0}

    def published(self) -> dict[str, Any] | None:
        """The actual state that this daemon, or an earlier one, wrote last; None also where a power cut tore it."""
        return read_actual(self.folder)

    def publish(self, actual: Mapping[str, Any]) -> None:
        """Write the actual state. It is not durable: after a power cut the process is gone, too."""
        files.write(self.folder / "actual.json", {**actual, "pid": os.getpid()}, durable=False)

    def trim_log(self) -> None:
        """Keep daemon.log bounded. To be called now and then."""
        output.trim(self.folder / "daemon.log")

    def _wait_for_lock(self) -> bool:
        """Try several times: a process that only looks whether the lock is held has it for a moment."""
        for _ in range(100):
            with suppress(BlockingIOError):
                if self._lock is not None:
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
            time.sleep(0.005)
        return False


def read_actual(folder: Path) -> dict[str, Any] | None:
    """What is in actual.json; None where there is nothing, or a torn file. Raises HostError if it can't be read."""
    try:
        return files.read(folder / "actual.json")
    except HostError as exc:
        if exc.code == DAMAGED:
            return None
        raise


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
