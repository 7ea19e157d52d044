"""The world of the driver `local`: three servers and a gate on this machine, below the test's folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import processes
from edgeguard.cluster.local import LocalCluster
from edgeguard.cluster.local.daemon import Daemon
from edgeguard.testing import world
from edgeguard.testing.world import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class World(world.World):
    """The servers share one machine, one disk and one gate, so every optional method is a few lines."""

    def start(self) -> None:
        """Reserve ports for the servers and the gate. Everything else begins with the first deploy."""
        self._guard, self.first_port = reserved_ports(len(world.SERVERS) + 1)
        self.address = ("127.0.0.1", self.first_port + len(world.SERVERS))

    def settings(self) -> dict[str, Any]:
        """All is in the test's folder."""
        options = {"gate_port": self.address[1], "first_port": self.first_port}
        return {"root": self.root, "options": options}

    def end(self) -> None:
        """End hooks, gate and servers, whatever a test left of them."""
        LocalCluster("test", self.cluster_settings()).dismantle()
        for server in world.SERVERS:  # a test may have ended the supervisor of a web process
            processes.end(partial(processes.running, self.root / "servers" / server))
        self._guard.close()

    @property
    def root(self) -> Path:
        """The setting cluster.root."""
        return self.folder

    @property
    def scratch(self) -> str:
        """One folder for all servers."""
        made = self.folder / "scratch"
        made.mkdir(parents=True, exist_ok=True)
        return str(made)

    def shell(self, server: str, script: str) -> str:
        """Every server is this machine."""
        del server
        return subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, check=False).stdout

    def break_swap(self, server: str) -> Callable[[], None]:
        """Put a folder where the swap makes its link."""
        obstacle = self.root / "servers" / server / "current.next"
        (obstacle / "in the way").mkdir(parents=True)
        return lambda: shutil.rmtree(obstacle)

    def end_supervisor(self, server: str) -> None:
        """The application's web process lives on."""
        _kill(self.supervisor(server))

    def end_gate(self) -> None:
        """All connections through it are cut."""
        _kill(self.gate)

    @property
    def gate(self) -> Daemon:
        """The gate's process."""
        return Daemon("the gate", "edgeguard.cluster.local.gate", self.root / "gate")

    def supervisor(self, server: str) -> Daemon:
        """The process of a server's supervisor."""
        return Daemon(server, "edgeguard.cluster.local.supervisor", self.root / "servers" / server / "supervisor")


def reserved_ports(count: int) -> tuple[socket.socket, int]:
    """A listener, and the first of `count` free ports after its own. While it listens, no other world is given them:
    worlds of tests that run at the same time choose their ports before anything listens there."""
    for port in random.sample(range(12_000, 32_000, count + 1), 400):
        with suppress(OSError), ExitStack() as opened:
            guard = opened.enter_context(socket.create_server(("127.0.0.1", port)))
            for other in range(port + 1, port + 1 + count):
                socket.create_server(("127.0.0.1", other)).close()
            opened.pop_all()
            return guard, port + 1
    raise OSError("no free ports were found for a world")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _kill(daemon: Daemon) -> None:
    pid = daemon.pid()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    until(lambda: daemon.pid() is None, f"{daemon.name}'s {daemon.program} has ended")
