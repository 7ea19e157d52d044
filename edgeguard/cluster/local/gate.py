"""The gate in front of the servers: `python -m edgeguard.cluster.local.gate <folder>`.

Its desired state is {"listen": port, "open", "servers": {name: address}, "release", "deploy", "until", "status",
"retry_after", "check_path", "cut"}, where an address is a port or the path of a unix socket. Its actual state is
{"open", "in_flight", "cut"}. While the gate is closed, `in_flight` is the number of unanswered requests at the close,
and 0 when the last of them is answered; `cut` is how many were cut. Without desired.json the gate is closed, and
listens nowhere.

The gate's answers, those of a closed gate too, are in doorway.py and answers.py. One thread decides in one place, when
a request's head is complete, whether to let it through. So no request passes once "closed" is published. A WebSocket,
or another upgrade, is in flight while it is open, and is cut at the drain's end.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from edgeguard.cluster.local.daemon import DaemonProcess
from edgeguard.cluster.local.doorway import Doorway
from edgeguard.cluster.local.http1 import HEAD_LIMIT
from edgeguard.cluster.local.rules import Rules

_TRIM_SECONDS = 5.0


class Gate:
    """Follows the desired state, and publishes the actual one."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._changed = asyncio.Event()
        self._ending = False
        self._doorway = Doorway(Rules(), self._answered)
        self._server: asyncio.Server | None = None
        self._listening = 0
        self._error: dict[str, str] = {}
        self._cut = 0
        self._number = 0

    async def run(self) -> None:
        """Serve until SIGTERM."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        loop.add_signal_handler(signal.SIGTERM, self._end)
        self._trim_log()
        while not self._ending:
            await self._follow()
            await self._changed.wait()
            self._changed.clear()
        if self._server is not None:
            self._server.close()
        self._doorway.cut(everything=True)

    def _trim_log(self) -> None:
        self._daemon.trim_log()
        asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim_log)

    def _end(self) -> None:
        self._ending = True
        self._changed.set()

    async def _follow(self) -> None:
        desired = self._daemon.desired()
        self._doorway.rules = Rules.of(desired)
        if not self._doorway.rules.open:
            self._doorway.forget_connections()
            if desired.get("cut"):
                self._cut += self._doorway.cut()
        else:
            self._cut = 0
        await self._listen(desired.get("listen", 0))
        self._number = desired["number"]
        self._publish()

    async def _listen(self, port: int) -> None:
        if port == self._listening:
            return
        try:
            listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
        except OSError as exc:
            why = "is in use by another program" if exc.errno == errno.EADDRINUSE else f"can't be used: {exc.strerror}"
            self._error = {
                "error": f"port {port} {why}",
                "remedy": "End that program, or let options.gate_port name another.",
            }
            return
        self._error = {}
        if self._server is not None:
            self._server.close()
        self._server = await asyncio.start_server(self._doorway.serve, sock=listener, limit=HEAD_LIMIT)
        self._listening = port

    def _answered(self) -> None:
        """Publish, while closed, that the last of the requests that were let through is answered."""
        if not self._doorway.rules.open:
            self._publish()

    def _publish(self) -> None:
        actual: dict[str, Any] = {
            "number": self._number,
            "open": self._doorway.rules.open,
            "in_flight": self._doorway.in_flight,
            "cut": self._cut,
            **self._error,
        }
        self._daemon.publish(actual)


def main() -> None:
    """Run the gate until SIGTERM. This ends at once if the folder has a gate already."""
    daemon = DaemonProcess(Path(sys.argv[1]))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the loop runs; it reads the desired state when it starts
    if not daemon.take():
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_run(daemon))


async def _run(daemon: DaemonProcess) -> None:
    await Gate(daemon).run()


if __name__ == "__main__":
    main()
