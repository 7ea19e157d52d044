"""Do something that may block for ever, and give up in time.

A socket's own time-out begins anew with every byte, and the lookup of a name has none. So the act runs in a thread, and
the caller waits for it: for a bounded time, and no longer than a signal allows.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from edgeguard.machine.signals import pause

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")

_POLL = 0.02


class Line:
    """The socket that an act waits at, if it has one. Cutting it ends the wait."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._cut = False

    def is_at(self, found: socket.socket | None) -> None:
        """The act goes on at this socket."""
        self._socket = found
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """End what is under way at the socket. Harmless if it has ended."""
        self._cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Act(threading.Thread, Generic[_Result]):
    """An act in a thread. `results` has its result, or `error` is why there is none, once the thread has ended."""

    def __init__(self, act: Callable[[Line], _Result]) -> None:
        super().__init__(daemon=True)  # an act that no cut reaches (the lookup of a name) ends with the process
        self._act = act
        self.line = Line()
        self.results: list[_Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.results.append(self._act(self.line))
        except BaseException as exc:  # noqa: BLE001 (`in_time` raises it)
            self.error = exc


def in_time(act: Callable[[Line], _Result], seconds: float, *, sleep: Callable[[float], None] = pause) -> _Result:
    """Do `act`, which tells its Line the socket that it waits at. `sleep(0)` is called again and again meanwhile, by
    default to heed signals.

    Raises:
        TimeoutError: it has not ended within `seconds`. The line is cut then.
        Anything that `act` raises, or `sleep` (an interruption). The line is cut then, too.
    """
    thread = _Act(act)
    until = time.monotonic() + seconds
    thread.start()
    try:
        while thread.is_alive():
            if (left := until - time.monotonic()) <= 0:
                raise TimeoutError(f"timed out after {seconds:g} s")
            thread.join(min(left, _POLL))
            sleep(0)
    finally:
        thread.line.cut()
    if thread.error is not None:
        raise thread.error
    return thread.results[0]
