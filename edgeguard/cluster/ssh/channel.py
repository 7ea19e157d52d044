"""One `ssh` process whose other end is the host program: started, read and written within limits, and ended."""

from __future__ import annotations

import hashlib
import os
import secrets
import select
import signal
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from edgeguard.cluster import archive
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.ssh import bootstrap, command, trouble
from edgeguard.machine import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from edgeguard.cluster.ssh.command import Target

OPENING = 30.0
"""Seconds from the start of ssh to the host program's first word."""
ENDING = 2.0
"""Seconds for ssh to end by itself."""
_PRINTED = 65_536  # bytes that login scripts may print
_ERRORS = 4096  # bytes that are kept of what ssh says
_PIECE = 65_536
_GLANCE = 20  # ms


class Ended(Exception):
    """The process's output has ended."""


class Channel:
    """An `ssh` process. One thread reads; `send` may be called from one other at a time."""

    def __init__(self, target: Target, argv: list[str]) -> None:
        self._target = target
        self._process = command.started(argv)
        self._to, self._out, self._errors = (
            pipe.fileno() for pipe in (self._process.stdin, self._process.stdout, self._process.stderr) if pipe
        )
        for descriptor in (self._to, self._out, self._errors):
            os.set_blocking(descriptor, False)
        self._open = {self._out, self._errors}
        self._said = b""
        self._printed = b""
        self.begun = False  # the host program has said its first word

    def read(self, seconds: float | None = None) -> bytes | None:
        """Some of its output; b"" at the output's end, None if nothing comes for so many seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._out in self._open:
            ready = select.poll()
            for descriptor in self._open:
                ready.register(descriptor, select.POLLIN)
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            found = {descriptor for descriptor, _ in ready.poll(left)}
            if self._errors in found:
                self._hear()
            if self._out in found:
                said = os.read(self._out, _PIECE)
                if not said:
                    self._open.discard(self._out)
                return said
            if not found:
                return None
        return b""

    def send(self, content: bytes, deadline: float) -> None:
        """Write all of it.

        Raises:
            Ended: the process does not read any more.
            TimeoutError: it did not take it by the deadline (of the monotonic clock).
        """
        if self._process.stdin is None or self._process.stdin.closed:
            raise Ended
        rest = memoryview(content)
        ready = select.poll()
        ready.register(self._to, select.POLLOUT)
        while rest:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                raise TimeoutError
            try:
                rest = rest[os.write(self._to, rest[:_PIECE]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise Ended from None

    def no_more(self) -> None:
        """Tell the other end that nothing else is sent."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def kill(self) -> None:
        """End the process now; whoever reads learns of its end."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> int | None:
        """Wait a little for the process's own end, and end it. Returns its exit code, None if it had to be ended.

        May be repeated. Only the reader calls it."""
        deadline = time.monotonic() + ENDING
        while self._process.poll() is None and time.monotonic() < deadline:
            ready = select.poll()
            if self._errors in self._open:
                ready.register(self._errors, select.POLLIN)
            if ready.poll(_GLANCE):
                self._hear()
        code = self._process.returncode
        process.end_session(self._process)
        while self._errors in self._open and self._hear():
            pass
        return code

    def close(self) -> int | None:
        """As `end`; nothing of the process is left."""
        code = self.end()
        self._open.clear()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def why(self, code: int | None) -> HostError:
        """Why the process has ended, by what ssh said."""
        if self.begun:
            return trouble.cut(self._target, code, self._said)
        return trouble.of(self._target, code, self._said, self._printed)

    def errors(self) -> str:
        """The end of what ssh and the host said on their stderr."""
        return self._said.decode(errors="replace")

    def printed(self, content: bytes) -> None:
        """Keep what the host printed before the host program's first word; it may say why there is none."""
        self._printed = content[-_ERRORS:]

    def _hear(self) -> bool:
        """Keep the end of what ssh says. False: it says nothing now."""
        try:
            said = os.read(self._errors, _PIECE)
        except BlockingIOError:
            return False
        if not said:
            self._open.discard(self._errors)
        self._said = (self._said + said)[-_ERRORS:]
        return bool(said)


@cache
def _archive() -> tuple[bytes, str]:
    made = archive.content()
    return made, hashlib.sha256(made).hexdigest()


def opened(
    target: Target, root: Path, argv: Sequence[str], *, may_install: bool, seconds: float
) -> tuple[Channel, bytes]:
    """A channel to the host program that runs with these arguments, and the first bytes of its output, if any came.

    Raises:
        HostError: there is none, for whatever reason; nothing is left.
    """
    made, digest = _archive()
    path = root / "host" / f"{digest}.pyz"
    nonce = secrets.token_hex(16)
    source = bootstrap.source(nonce, path, digest, len(made), argv, may_install=may_install)
    channel = Channel(target, command.argv(target, command.words(target, source)))
    deadline = time.monotonic() + seconds
    heard = bytearray()
    try:
        for said in _lines(channel, heard, nonce.encode(), deadline):
            if said != "send":
                break
            channel.send(made, deadline)
    except Ended:
        raise channel.why(channel.close()) from None
    except BaseException as exc:
        channel.kill()
        channel.close()
        if isinstance(exc, TimeoutError):
            raise trouble.hangs(target, seconds, channel.errors()) from None
        raise
    if said == "ready":
        channel.begun = True
        return channel, bytes(heard)
    channel.close()
    raise bootstrap.refusal(said, path)


def _lines(channel: Channel, heard: bytearray, nonce: bytes, deadline: float) -> Iterator[str]:
    """The words behind each nonce. What is printed before them is dropped, `heard` has what comes after them."""
    while True:
        begin = heard.find(nonce)
        end = heard.find(b"\n", begin) if begin >= 0 else -1
        if end >= 0:
            said = bytes(heard[begin + len(nonce) + 1 : end])
            del heard[: end + 1]
            yield said.decode(errors="replace")
            continue
        if len(heard) > _PRINTED:
            raise HostError(
                f"its login scripts print more than {_PRINTED} bytes",
                "Let them print nothing where there is no terminal (`[ -t 1 ] || return`).",
            )
        more = channel.read(max(0.0, deadline - time.monotonic()))
        if more is None:
            raise TimeoutError
        if not more:
            channel.printed(bytes(heard))
            raise Ended
        heard += more
