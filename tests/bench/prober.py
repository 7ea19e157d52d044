"""Asks one address so many times a second, and tells how long which status was seen: a program, and what it prints.

`python prober.py ADDRESS PORT RATE` asks until its standard input ends. It asks at fixed moments, and catches up where
an answer came late, so the rate holds for the closed gate, too. It needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
_SERVED, _NOTHING = 200, 0


@dataclass(frozen=True)
class Window:
    """The time between the first request that was refused and the last one, in milliseconds: over all servers, and on
    the one with the longest. `gap` is the longest pause between two requests to one server, `broken` counts requests
    that got no whole answer."""

    all: float
    one: float
    gap: float
    broken: int


@contextmanager
def probing(commands: Sequence[Sequence[str]]) -> Iterator[list[Window]]:
    """Probe while the block runs; each command runs this file. Afterwards the list has the window."""
    found: list[Window] = []
    probers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for argv in commands]
    try:
        time.sleep(0.5)
        yield found
        time.sleep(0.2)
    finally:
        said = [prober.communicate()[0] for prober in probers]
    found.append(_window([json.loads(each) for each in said]))


def _window(probed: Sequence[dict[str, Any]]) -> Window:
    refused = [[run for run in each["runs"] if run[0] not in (_SERVED, _NOTHING)] for each in probed]
    spans = [(runs[0][1], runs[-1][2]) for runs in refused if runs]
    if len(spans) < len(probed):
        sys.exit("a server was never closed, as its visitors saw it")
    return Window(
        all=1000 * (max(last for _, last in spans) - min(first for first, _ in spans)),
        one=1000 * max(last - first for first, last in spans),
        gap=1000 * max(each["gap"] for each in probed),
        broken=sum(run[3] for each in probed for run in each["runs"] if run[0] == _NOTHING),
    )


class Visitor:
    """Asks over one connection as long as it is kept open."""

    def __init__(self, address: str, port: int) -> None:
        self._place = address, port
        self._connection: socket.socket | None = None

    def ask(self) -> int:
        """The answer's status; 0 where none came."""
        try:
            return self._ask()
        except OSError:
            self._close()
            return _NOTHING

    def _ask(self) -> int:
        if self._connection is None:
            self._connection = socket.create_connection(self._place, 2)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sendall(_REQUEST)
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._more()
        head, _, body = said.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        if b"connection: close" in head.lower():
            self._close()
        return int(head.split()[1])

    def _more(self) -> bytes:
        assert self._connection is not None
        if said := self._connection.recv(65_536):
            return said
        raise OSError("the answer is cut")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main(address: str, port: int, rate: float) -> None:
    """Ask until standard input ends, then print what was seen: runs of one status, each with the moments at which its
    first and its last request were sent, and their number."""
    os.nice(-10)  # a prober that waits for the processor measures nothing
    visitor = Visitor(address, port)
    runs: list[list[float]] = []
    gap, before, due = 0.0, time.monotonic(), time.monotonic()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
        due += 1 / rate
        now = time.monotonic()
        gap, before = max(gap, now - before), now
        status = visitor.ask()
        if not runs or runs[-1][0] != status:
            runs.append([status, now, now, 0])
        runs[-1][2] = now
        runs[-1][3] += 1
    print(json.dumps({"runs": runs, "gap": gap}))  # noqa: T201 (a program that prints)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
