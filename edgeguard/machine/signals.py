"""SIGINT, SIGTERM and SIGHUP as a request to stop. It is never lost, and takes effect at a safe point."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edgeguard.errors import Interrupted
from edgeguard.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNDER_WAY = "what began is being finished or taken back; kill -9 would leave it as it is at that moment"
"""What a second signal is told by a process that has nothing more to say."""
_POLL = 0.02


def heeded() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to stop. An ignored signal stays ignored: so nohup lets a program outlive its
    terminal."""
    return tuple(number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN it is not inherited, and a later `listening` still hears the signal."""


def leave_at_once(code: int, text: str = "") -> None:
    """Let the first signal end the process with this exit code, until a command handles the signals itself. `text` ends
    the sentence that says so. Nothing is cleaned up: a command whose acts must be taken back has a `Stop`."""

    def leave(number: int, _frame: FrameType | None) -> None:
        _write(f"interrupted by {signal.Signals(number).name}{text}")
        os._exit(code)  # an exception could end up in a half-done import, or be swallowed there

    for number in heeded():
        signal.signal(number, leave)


def hear_nothing() -> None:
    """Do nothing at the three signals from now on, also where they were ignored. Programs that are started hear them:
    a signal that is ignored would be ignored by them as well."""
    for number in _SIGNALS:
        signal.signal(number, _ignore)


def ignore_all() -> None:
    """Ignore the three signals from now on: the process has done its work, and is about to end with its code."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def pause(seconds: float) -> None:
    """Wait, and heed the `Stop` that listens, if one does: whatever waits by this ends soon after a signal.

    That holds for the main thread. What other threads do, such as the renewal of a claim, goes on meanwhile.

    Raises:
        Interrupted: a stop was asked for.
    """
    if _listening and threading.current_thread() is threading.main_thread():
        _listening[-1].sleep(seconds)
    else:
        time.sleep(seconds)


class Stop:
    """Whether somebody asked this process to stop. Waiting and checking go through it."""

    def __init__(self, *, last: bool = False) -> None:
        """`last`: this process ends when it stops listening. Its exit code is known then, and no signal changes it."""
        self._last = last
        self._asked = False  # no Event: its lock may be held by the very thread in which the signal's handler runs
        self._shielded = False
        self._heeded_from = 0.0  # by the monotonic clock
        self._signal = ""
        self.left_behind: Callable[[], str] = lambda: UNDER_WAY
        """Returns the message for a second signal: the state in which a killed process would leave everything now."""
        self._said_first = ""

    def asked(self) -> bool:
        """Whether the process should give up what it does. Never while shielded."""
        return self._asked and not self._shielded and time.monotonic() >= self._heeded_from

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self.asked():
            raise Interrupted(f"interrupted by {self._signal}", "Run it again when it suits.")

    def sleep(self, seconds: float) -> None:
        """Wait. Raises Interrupted soon after a stop is asked for."""
        until = time.monotonic() + seconds
        while not self.asked() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL))
        self.check()

    @contextmanager
    def saying_first(self, text: str) -> Iterator[None]:
        """On a terminal, let the first SIGINT in the block only say `text`, and the next one count.

        A SIGINT without a terminal, SIGTERM and SIGHUP count at once: nobody reads, or it was meant.
        """
        self._said_first = text
        try:
            yield
        finally:
            self._said_first = ""

    def shield(self) -> None:
        """Ignore requests to stop from now on: an unwinding, or the steps after a commit, must be finished."""
        self._shielded = True

    def respite(self, seconds: float) -> None:
        """Ignore requests to stop, earlier and new ones, for so long: what has begun is taken back meanwhile."""
        self._heeded_from = time.monotonic() + seconds

    def unshield(self) -> None:
        """Heed signals again. Earlier ones are forgotten."""
        self._asked = self._shielded = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs. Only the main thread can; in another thread this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old = {number: signal.signal(number, self._heard) for number in heeded()}
        _listening.append(self)
        try:
            yield
        finally:
            _listening.remove(self)
            for number, action in old.items():
                signal.signal(number, _ignore if self._last else action)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self._said_first and number == signal.SIGINT and not self._asked and os.isatty(2):
            _write(self._said_first)
            self._said_first = ""
            return
        if self._asked:
            _write(self.left_behind())
            return
        self._signal = signal.Signals(number).name
        self._asked = True


_listening: list[Stop] = []
"""Those that handle this process's signals now; the last one does."""


def _write(text: str) -> None:
    """Write a sentence to stderr, unless that would wait for a reader. This is no print, since the signal may have
    interrupted one."""
    with suppress(OSError):  # the terminal may be gone; then SIGHUP may come twice
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"edgeguard: {visible(text)}\n".encode())
