"""A person's command with the application's environment: `python ARCHIVE run FOLDER`, while its caller is there.

The caller speaks in messages (frames.py) over standard input and output. The command has the variables, HOME, folder
and user of the generation that is current. It is ended, with all that it has started, when its caller is gone or
silent, and when another generation becomes current: two releases don't run beside each other.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import environment, fence, frames, generations, processes, session, strict_json, takes
from edgeguard.cluster.host.errors import NOT_STAGED, UNKNOWN_ACT, HostError

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes as shells have them; for a signal its number is added."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HELD = 4 * frames.PIECE
"""Bytes of output that wait for the caller, at most."""
_PIPES = 32
"""Pieces in a full pipe, at most (Linux: fs.pipe-max-size)."""


def main(folder: Path) -> None:
    """Run what the caller asks for, to its end."""
    caller = _Caller()
    try:
        session.refuse_other_user(folder)
        command = _Command(folder, caller)
    except HostError as exc:
        caller.say(b"f", _json(code=exc.code, message=exc.message, remedy=exc.remedy))
    else:
        command.serve()
    caller.flush()


class _Caller:
    """Whoever is at the other end of standard input and output."""

    def __init__(self) -> None:
        self._frames = frames.Frames()
        self._out = bytearray()
        self._heard = time.monotonic()
        self._gone = False
        self.waiting: list[tuple[bytes, bytes]] = []
        """Messages that are not heeded yet."""
        for descriptor in (0, 1):
            os.set_blocking(descriptor, False)

    @property
    def gone(self) -> bool:
        """Whether nobody is there any more."""
        return self._gone or time.monotonic() - self._heard > frames.SILENCE

    @property
    def full(self) -> bool:
        """Whether it has to take some output first."""
        return len(self._out) > _HELD

    def interest(self, look: select.poll) -> None:
        """Let it be waited for."""
        if not self._gone:
            look.register(0, select.POLLIN)
            if self._out:
                look.register(1, select.POLLOUT)

    def say(self, kind: bytes, content: bytes = b"") -> None:
        """Send a message, soon."""
        self._out += frames.packed(kind, content)

    def turn(self) -> None:
        """Hear and send what is possible now."""
        try:
            with suppress(BlockingIOError):
                said = os.read(0, frames.PIECE)
                self._gone = self._gone or not said
                self._heard = time.monotonic()
                self.waiting += self._frames.take(said)
            with suppress(BlockingIOError):
                while self._out:
                    del self._out[: os.write(1, self._out[: frames.PIECE])]
        except (OSError, ValueError):
            self._gone = True

    def first(self) -> dict[str, Any]:
        """What is asked for. Raises HostError (UNKNOWN_ACT) where that is nonsense, or nobody asks."""
        while not self.waiting and not self.gone:
            select.select([0], [], [], 1)
            self.turn()
        kind, content = self.waiting.pop(0) if self.waiting else (b"", b"{}")
        try:
            said = strict_json.read(content, most=frames.LONGEST)
        except strict_json.Fault:
            said = None
        if kind != b"r" or not isinstance(said, dict) or not _is_request(said):
            raise HostError("this is no request; are both of the same version?", code=UNKNOWN_ACT)
        return said

    def flush(self) -> None:
        """Send the rest, if somebody takes it."""
        while self._out and not self.gone:
            select.select([], [1], [], 1)
            self.turn()


class _Command:
    """A command that runs."""

    def __init__(self, folder: Path, caller: _Caller) -> None:
        """Start it. Raises HostError where nothing was deployed, or this user can't start it."""
        self._folder = folder
        self._caller = caller
        self._told = False  # to end
        self._wake = os.pipe()
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._leave)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._input = bytearray()
        self._input_ends = False
        asked = caller.first()
        _current(folder)  # before anything is made there
        with fence.locked(folder):  # no swap comes between the look and the start
            self._generation = _current(folder)
            self._mark = f"{folder / 'generations' / self._generation}/{secrets.token_hex(8)}"
            self._start(asked)

    def _start(self, asked: dict[str, Any]) -> None:
        runs = generations.read(self._folder, self._generation).runs
        account = accounts.to_become(runs.user)
        variables = environment.of_web(self._folder, self._generation, asked["server"], asked["port"])
        stdin, out, errors = (os.pipe() for _ in range(3))
        theirs, self._ours = (stdin[0], out[1], errors[1]), [stdin[1], out[0], errors[0]]
        if account is not None:
            for descriptor in theirs:
                os.fchown(descriptor, account.user, account.group)  # so that it can open /dev/stdin and the others
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                asked["command"],
                cwd=runs.folder,
                env={**variables, processes.RUN: self._mark},
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                start_new_session=True,
                umask=0o022,
                **(account.identity if account else {}),
            )
        except (OSError, ValueError) as exc:
            if getattr(exc, "filename", None) == str(runs.folder):
                raise HostError(f"{runs.folder} can't be entered: {exc}", "Deploy again.") from exc
            self._code = NOT_FOUND if isinstance(exc, FileNotFoundError) else NOT_EXECUTABLE
            self._caller.say(b"E", f"{asked['command'][0]}: {getattr(exc, 'strerror', None) or exc}\n".encode())
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        for descriptor in self._ours:
            os.set_blocking(descriptor, False)

    def serve(self) -> None:
        """Be between the command and its caller until it ends; then end what it has left, and say how it ended."""
        process = self._process
        self._caller.say(b"b")
        while process is not None and process.poll() is None and not self._caller.gone and not self._told:
            self._turn(1.0)
        if process is not None:
            processes.end(self._left, partial(self._turn, 0.0))
            self._code = process.wait()
        for _ in range(_PIPES):  # not to its end: a process that has hidden itself may write for ever
            if not self._output():
                break
        if self._caller.gone:
            return
        ended = {"code": self._code if self._code >= 0 else SIGNALLED - self._code}
        if self._code in (-signal.SIGTERM, -signal.SIGKILL):
            with fence.locked(self._folder):  # a swap ends it first
                ended["swapped"] = generations.current(self._folder) != self._generation
        self._caller.say(b"x", _json(**ended))

    def _left(self) -> list[int]:
        process = self._process
        if not processes.VISIBLE:
            return processes.group(process.pid) if process else []
        alive = [process.pid] if process and process.poll() is None else []
        return list({*alive, *processes.belonging(self._mark, processes.RUN)})

    def _turn(self, seconds: float) -> None:
        """Wait for anything to happen, at most so long, and pass it on."""
        look = select.poll()
        look.register(self._wake[0], select.POLLIN)
        self._caller.interest(look)
        for descriptor in self._ours[1:]:
            if descriptor >= 0 and not self._caller.full:
                look.register(descriptor, select.POLLIN)
        if self._ours[0] >= 0 and self._input:
            look.register(self._ours[0], select.POLLOUT)
        look.poll(seconds * 1000)
        with suppress(BlockingIOError):
            os.read(self._wake[0], frames.PIECE)
        self._caller.turn()
        for kind, content in self._caller.waiting:
            self._heed(kind, content)
        self._caller.waiting.clear()
        self._give()
        if not self._caller.full:
            self._output()

    def _heed(self, kind: bytes, content: bytes) -> None:
        if kind == b"i":
            self._input += content
        elif kind == b"e":
            self._input_ends = True
        elif kind == b"s" and content.isdigit() and int(content) in _SIGNALS and self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, int(content))

    def _give(self) -> None:
        """Give the command what it takes of its input. One that reads no more has all of it taken."""
        try:
            while self._input and self._ours[0] >= 0:
                taken = os.write(self._ours[0], self._input[: frames.PIECE])
                del self._input[:taken]
                self._caller.say(b"t", str(taken).encode())
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._input_ends = True
        if self._input_ends and self._ours[0] >= 0:
            os.close(self._ours[0])
            self._ours[0] = -1
        if self._ours[0] < 0 and self._input:
            self._caller.say(b"t", str(len(self._input)).encode())
            self._input.clear()

    def _output(self) -> bool:
        """Take what there is of the command's output. False: nothing is there now."""
        some = False
        for place, kind in ((1, b"o"), (2, b"E")):
            with suppress(BlockingIOError):
                said = os.read(self._ours[place], frames.PIECE) if self._ours[place] >= 0 else b""
                if said:
                    self._caller.say(kind, said)
                    some = True
                elif self._ours[place] >= 0:
                    os.close(self._ours[place])
                    self._ours[place] = -1
        return some

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True


def _current(folder: Path) -> str:
    name = generations.current(folder)
    if name is None:
        raise HostError("nothing was deployed there yet", "Deploy first.", code=NOT_STAGED)
    return name


def _is_request(said: dict[str, Any]) -> bool:
    command = said.get("command")
    words = isinstance(command, list) and bool(command) and all(map(takes.text, command))
    return words and takes.text(said.get("server")) and takes.whole(said.get("port"))


def _json(**said: object) -> bytes:
    return json.dumps(said).encode()
