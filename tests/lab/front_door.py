"""Where visitors reach a lab from this machine: a port of 127.0.0.1, whose connections go to the hosts in turns; and a
port for each host, whose connections go to that one.

It is an HAProxy in the lab's network that listens on sockets of this machine, and knows nothing of HTTP: what the
hosts' own gates answer is what visitors get.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import background, network

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFIGURATION = """\
global
    maxconn 2000

defaults
    mode tcp
    timeout connect 1s
    timeout client 10m
    timeout server 10m
    retries 3
    option redispatch 1
"""
_DOOR = """
listen {name}
    bind fd@{descriptor}
    balance roundrobin
"""
ALL = "all"


def start(folder: Path, keeper: int, hosts: Sequence[str]) -> dict[str, int]:
    """Start it for a lab. Returns its ports: of each host by its name, and ALL."""
    servers = {
        host: f"    server {host} {network.address(network.VISITORS, number)}:80\n"
        for number, host in enumerate(hosts, 1)
    }
    configuration = folder / "front-door.cfg"
    with ExitStack() as stack:
        doors = {
            name: stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000)) for name in (ALL, *hosts)
        }
        told = [
            _DOOR.format(name=name, descriptor=door.fileno()) + servers.get(name, "".join(servers.values()))
            for name, door in doors.items()
        ]
        configuration.write_text(_CONFIGURATION + "".join(told), encoding="utf-8")
        argv: list[str | Path] = ["nsenter", "--target", str(keeper), "--net", "--", "haproxy", "-db", "-f"]
        descriptors = [door.fileno() for door in doors.values()]
        pid = background.start([*argv, configuration], folder / "front-door.log", descriptors=descriptors)
        (folder / "front-door.pid").write_text(str(pid), encoding="ascii")
        return {name: int(door.getsockname()[1]) for name, door in doors.items()}


def end(folder: Path) -> None:
    """End it."""
    with suppress(OSError, ValueError):
        pid = int((folder / "front-door.pid").read_text(encoding="ascii"))
        if str(folder / "front-door.cfg").encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
