"""A program on a terminal: a pseudo-terminal, whose keyboard sends signals to the whole foreground group."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE = 60.0
_IN_FRONT = "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """Runs a program in the foreground of a terminal of its own. Its stdin and stderr are the terminal, its stdout is a
    pipe."""

    def __init__(self, *argv: str, environment: Mapping[str, str]) -> None:
        self._keyboard, theirs = pty.openpty()
        self.screen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _IN_FRONT, *argv],
            env=environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
            start_new_session=True,
        )
        os.close(theirs)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError):  # the last process that had the terminal is gone
            while piece := os.read(self._keyboard, 4096):
                self.screen += piece.decode(errors="replace").replace("\r\n", "\n")

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def type(self, text: str) -> None:
        """What is typed is echoed on the screen."""
        os.write(self._keyboard, text.encode())

    def resize(self, columns: int) -> None:
        termios.tcsetwinsize(self._keyboard, (24, columns))

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true, while the program runs."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, self.screen
            assert self.process.poll() is None, self.screen
            time.sleep(0.01)

    def shows(self, text: str) -> None:
        self.until(lambda: text in self.screen)

    def end(self) -> tuple[int, str]:
        """Wait for the program's end. Returns its exit code and its stdout."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        self._reading.join(PATIENCE)
        os.close(self._keyboard)
        return self.process.returncode, out
