"""The gate of this host: a HAProxy that runs in front of the one application here.

Its files are in FOLDER/gate: `haproxy.cfg` (haproxy_rules.py), `state`, which is the map that the processes read when
they start, and `master`, the socket over which they are told what to do. HAProxy is started elsewhere, as
`haproxy -W -f FOLDER/gate/haproxy.cfg -S FOLDER/gate/master,mode,600` (under systemd -Ws).

The disk is closed before memory is, and opened after it. So a HAProxy that is started anew, at whatever moment, is
closed unless an opening was finished.

A reload leaves old processes, which keep their connections and their map. Every process is told, the old ones too. The
master names them when the disk is written: up to HAProxy 3.0 it reads the disk before it starts a process, and answers
nobody meanwhile. So a process that it does not name will find on disk what the others are told.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from edgeguard.cluster.host import files, haproxy_rules, processes
from edgeguard.cluster.host.errors import DAMAGED, UNHEALTHY, HostError
from edgeguard.cluster.host.haproxy_rules import BACKEND, MARK, NEVER_OPENED

LIMIT = 5.0
"""Seconds that HAProxy may take for one command, or for its start."""
CUT_SECONDS = 2.0
"""Seconds that connections may take to end after they were cut."""
_CLOSURE = re.compile(r"[!-:<-~]{1,128}")
_RELEASE = re.compile(r"[A-Za-z0-9._+-]{1,128}")
_OPEN = "open "
_POLL = 0.005
_LOOKS = 10  # at processes, of which a program may clear its own arguments for ever

# What HAProxy answers (its documentation: management, 9.1, 9.3 and 9.4)
_PROCESSES = r"^\d+ +master "
_WORKER = r"^(\d+) +worker "
_KEY = r"found="
_VALUE = r'key="gate", value="(.*)", type='
_COUNT = rf"^{BACKEND},BACKEND,\d*,\d*,(\d+),"
_INFORMED = r"^Build info:"  # the end of it
_DESCRIPTION = rf"^description: *{MARK}([0-9a-f]+)$"
_STREAM = rf"^(0x[0-9a-f]+):.* be={BACKEND} "
_ENDED = r"^Can't find the target PID"
_FOREIGN = r"^Unknown map|^No such proxy"
_PREPARE = "Run `edgeguard cluster prepare`, which writes it anew and reloads the gate."


def find_haproxy() -> str | None:
    """The path of the program; None where it is not installed."""
    return shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Gate:
    """The gate whose server's folder is `folder`. Every call may be repeated."""

    def __init__(self, folder: Path, *, limit: float = LIMIT) -> None:
        self.limit = limit
        self.folder = folder / "gate"
        self.configuration = self.folder / "haproxy.cfg"
        self.state = self.folder / "state"
        self.master = self.folder / "master"

    def put(self, configuration: str) -> bool:
        """Write the configuration, and a closed state where there is none. Returns whether the configuration is
        another one than before: it takes effect when HAProxy is reloaded."""
        files.private(self.folder)
        if not self.state.exists():
            self._write(f"closed {NEVER_OPENED}")
        if self._configured() == configuration:
            return False
        files.write_text(self.configuration, configuration)
        return True

    def forget(self) -> None:
        """Forget that it was ever opened: after the next `put` it is closed. A gate that runs is as it was."""
        self.state.unlink(missing_ok=True)

    def close(self, deploy: str, until: float) -> None:
        """Refuse. When this returns, no request that comes later reaches the application, whichever process it meets.

        A dead gate stays dead, and is closed when it is started.

        Raises:
            HostError: a process can't be told, or follows another configuration than ours.
        """
        if not _CLOSURE.fullmatch(deploy):
            raise HostError(f"{deploy!r} can't name a closure", "Use letters, digits, - and _.")
        closed = f"closed {deploy}; until={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(until))}"
        self._write(closed)
        if self._tell(closed):
            self.refuse_foreign()

    def open(self, release: str) -> None:
        """Let requests through to the application, which is of this release. Where this fails, the gate is as it was.

        Raises:
            HostError: the gate is dead, can't be told, or follows another configuration than ours.
        """
        if not _RELEASE.fullmatch(release):
            raise HostError(f"{release!r} can't name a release", "Use letters, digits, - and _.")
        self.refuse_foreign()
        if not self.alive():
            raise HostError(
                "the gate is not running", f"Start its systemd unit: `systemctl start {self._unit}`.", code=UNHEALTHY
            )
        before = self._stored()
        try:
            self._tell(_OPEN + release)
            self._write(_OPEN + release)
            self._tell(_OPEN + release)  # a reload in between has read the disk before
        except HostError:
            with suppress(HostError):  # the first error is the one to tell
                self._tell(before)
            raise

    def alive(self) -> bool:
        """Whether HAProxy runs."""
        return bool(self._workers())

    def opened(self) -> bool:
        """Whether any process lets requests through, whatever is on disk. Behind a dead gate nothing is open."""
        return any(self._told(worker).startswith(_OPEN) for worker in self._workers())

    def in_flight(self) -> int:
        """Requests that were let through and aren't answered yet, by whichever process. A WebSocket is one as long as
        it is open."""
        return sum(self._counted(worker) for worker in self._workers())

    def cut(self) -> int:
        """End the connections of the requests that are in flight; no answer is sent. Returns how many there were.

        Raises:
            HostError: they don't end, or a process that lets requests through brings new ones.
        """
        cut: set[tuple[int, str]] = set()
        deadline = time.monotonic() + CUT_SECONDS
        while workers := [worker for worker in self._workers() if self._counted(worker)]:
            for worker in workers:
                for stream in _all(_STREAM, self._of(worker, "show sess")):
                    self._of(worker, f"shutdown session {stream}")
                    cut.add((worker, stream))
            if time.monotonic() > deadline:
                raise HostError(
                    f"{self.in_flight()} connections of the gate don't end", "Restart the gate: they end with it."
                )
            time.sleep(_POLL)
        return len(cut)

    def refuse_foreign(self) -> None:
        """Raise HostError unless the configuration on disk is as edgeguard wrote it, and HAProxy runs with it."""
        text = self._configured()
        ours = None if text is None else haproxy_rules.digest(text)
        if ours is None:
            there = "was changed by somebody" if text is not None else "is missing"
            raise HostError(f"{self.configuration} {there}", _PREPARE, code=DAMAGED)
        for worker in self._workers()[:1]:
            if _all(_DESCRIPTION, self._of(worker, "show info", _INFORMED)) != [ours]:
                raise HostError(f"the gate runs with another configuration than {self.configuration}", _PREPARE)

    @property
    def _unit(self) -> str:
        """The name of its systemd unit, as `edgeguard cluster prepare` has given it."""
        prepared = files.read(self.folder.parent / "prepared.json") or {}
        return f"eg-{prepared.get('environment', 'ENVIRONMENT')}-gate"

    @property
    def _restart(self) -> str:
        return f"Run `systemctl restart {self._unit}` there: the gate comes back as the disk has it."

    # The disk

    def _configured(self) -> str | None:
        try:
            return self.configuration.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def _stored(self) -> str:
        """What is on disk; closed where that makes no sense."""
        with suppress(OSError):
            key, _, value = self.state.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
            if key == "gate" and "\n" not in value:
                return value
        return f"closed {NEVER_OPENED}"

    def _write(self, value: str) -> None:
        files.private(self.folder)
        files.write_text(self.state, f"gate {value}\n")

    # The processes

    def _workers(self) -> list[int]:
        """The processes that serve, the newest first, and the old ones of a reload after it; none of a dead gate."""
        return [int(pid) for pid in _all(_WORKER, self._ask("show proc", _PROCESSES))]

    def _tell(self, value: str) -> bool:
        """Write this into the map of every process, also after one that refused. Returns False where there is none: the
        gate is dead."""
        told: set[int] = set()
        refused: dict[int, HostError] = {}
        deadline = time.monotonic() + self.limit
        while missing := [worker for worker in self._workers() if worker not in told]:
            if time.monotonic() > deadline:
                raise HostError(
                    "the gate is being reloaded over and over", "Let nothing else reload it, and ask again."
                )
            for worker in missing:
                try:
                    self._set(worker, value)
                    if self._told(worker) != value:
                        continue  # it has ended, or the master dropped what it was asked
                except HostError as exc:
                    refused[worker] = exc
                told.add(worker)
        for refusal in refused.values():
            raise refusal
        return bool(told)

    def _set(self, worker: int, value: str) -> None:
        escaped = re.sub(r"([\\; ])", r"\\\1", value)
        if self._of(worker, f"set map {self.state} gate {escaped}") == "entry not found.":
            self._of(worker, f"add map {self.state} gate {escaped}")

    def _told(self, worker: int) -> str:
        """What a process has in its map; "" where it has nothing, or has ended."""
        return "".join(_all(_VALUE, self._of(worker, f"get map {self.state} gate", _KEY)))

    def _counted(self, worker: int) -> int:
        return sum(map(int, _all(_COUNT, self._of(worker, f"show stat {BACKEND} 2 -1", _COUNT))))

    # The socket

    def _of(self, worker: int, command: str, whole: str = "") -> str:
        """What a process answers; "" where it has ended. Raises HostError where it has not our rules."""
        said = self._ask(f"@!{worker} {command}", f"{_ENDED}|{_FOREIGN}|{whole}")
        if _all(_FOREIGN, said):
            raise HostError(f"process {worker} of the gate follows another configuration than ours", self._restart)
        return "" if _all(_ENDED, said) else said

    def _ask(self, command: str, whole: str) -> str:
        """What HAProxy's master answers; "" where no HAProxy runs.

        One that starts is waited for, and asked again: it drops what it is asked in between. An answer is one where
        `whole` is found in it.

        Raises:
            HostError: it does not answer so in time, or can't be spoken to.
        """
        deadline = time.monotonic() + self.limit
        said, why = "", "does not answer"
        while True:
            try:
                said = self._exchange(command)
                if re.search(whole, said, re.MULTILINE):
                    return said
                why = f"answers {said[:80]!r}" if said else why
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.runs():
                    return ""
                why = "is gone, though the gate runs"
            except ConnectionError:
                pass
            except socket.timeout as exc:
                raise HostError(f"the gate's socket {self.master} {why}", self._restart) from exc
            except OSError as exc:
                why = f"can't be used: {exc.strerror or exc}"
                remedy = "Let the gate and edgeguard run as the same user."
                raise HostError(f"the gate's socket {self.master} {why}", remedy) from exc
            if time.monotonic() > deadline:
                raise HostError(f"the gate's socket {self.master} {why}", self._restart)
            time.sleep(_POLL)

    def _exchange(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self.limit)
            connection.connect(str(self.master))
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65_536):
                received += piece
        return received.decode(errors="replace").strip()

    def runs(self) -> bool:
        """Whether a HAProxy runs that was started with our configuration, whether it listens yet or not.

        Its master executes itself once more while it starts. In that moment it has no arguments, and the process that
        is going to serve may be too young for the list: so a process without arguments has to be looked at again.
        """
        path = os.fsencode(self.configuration)
        for _ in range(_LOOKS):
            nameless = False
            for process in processes.living():
                with suppress(OSError):  # it has just ended
                    program, *arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
                    nameless = nameless or not program
                    if program.rpartition(b"/")[2] == b"haproxy" and path in arguments:
                        return True
            if not nameless:
                break
            time.sleep(_POLL)
        return False


def _all(pattern: str, said: str) -> list[str]:
    return re.findall(pattern, said, re.MULTILINE)
