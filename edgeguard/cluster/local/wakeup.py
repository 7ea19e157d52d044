"""How a daemon with one thread sleeps until a signal comes."""

from __future__ import annotations

import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Wakeup:
    """SIGHUP (there is a new order), SIGCHLD and SIGTERM end a sleep; they interrupt nothing else."""

    def __init__(self) -> None:
        self.asked_to_end = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def listen(self) -> None:
        """Handle signals from now on."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda _number, _frame: None)
        signal.signal(signal.SIGTERM, self._end)

    def sleep(self, seconds: float) -> None:
        """Sleep for so long at most; not at all if a signal has come since the last sleep."""
        select.select([self._reader], [], [], seconds)
        with suppress(BlockingIOError):
            self._reader.recv(4096)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_end = True
