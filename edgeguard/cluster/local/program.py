"""The host program as a process of this machine, with pipes to it and from it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files
from edgeguard.cluster.host.errors import HostError
from edgeguard.machine import process

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 1 << 16
_ENDING = 5.0
_SHOWN = 2000  # bytes


class Program:
    """A channel as edgeguard.cluster.foreground knows it. The program ends when its input does."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            argv,
            env={name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a signal to the terminal's group is edgeguard's to hear
        )
        self._to, self._from, self._errors = self._process.stdin, self._process.stdout, self._process.stderr
        self._said = ""

    def read(self) -> bytes:
        """Some of what it says; b"" at the end."""
        return os.read(self._from.fileno(), _PIECE) if self._from else b""

    def send(self, content: bytes, deadline: float) -> None:
        """Send all of it. It takes whatever comes, so nothing is waited for. Raises OSError or ValueError."""
        del deadline
        rest = memoryview(content)
        while rest and self._to is not None:
            rest = rest[os.write(self._to.fileno(), rest) :]

    def kill(self) -> None:
        """Let it end the command, and itself."""
        self._process.terminate()

    def close(self) -> int | None:
        """Its input ends, so it ends; nothing of it is left. May be repeated."""
        if self._to is not None:
            self._to.close()
        try:
            self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            process.end_session(self._process)
        if self._errors is not None and not self._errors.closed:
            self._said = files.end_of(self._errors.read(_PIECE), _SHOWN)
        for pipe in (self._from, self._errors):
            if pipe is not None:
                pipe.close()
        return self._process.returncode

    def why(self, code: int | None) -> HostError:
        """It was killed, or has a bug."""
        said = files.quoted("it wrote", self._said)
        return HostError(f"edgeguard's host program has ended (exit code {code}){said}", "Try again.")
