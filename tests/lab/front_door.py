"""Where visitors reach a lab from this machine: a port of 127.0.0.1, whose connections go to the hosts in turns.

It is an HAProxy in the lab's network that listens on a socket of this machine, and knows nothing of HTTP: what the
hosts' own gates answer is what visitors get.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
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

frontend visitors
    bind fd@{descriptor}
    default_backend hosts

backend hosts
    balance roundrobin
"""


def start(folder: Path, keeper: int, hosts: Sequence[str]) -> int:
    """Start it for a lab. Returns its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        lines = [f"    server {host} {network.address(network.VISITORS, at)}:80\n" for at, host in enumerate(hosts, 1)]
        configuration = folder / "front-door.cfg"
        configuration.write_text(_CONFIGURATION.format(descriptor=listener.fileno()) + "".join(lines), encoding="utf-8")
        argv: list[str | Path] = ["nsenter", "--target", str(keeper), "--net", "--", "haproxy", "-db", "-f"]
        pid = background.start([*argv, configuration], folder / "front-door.log", descriptors=[listener.fileno()])
        (folder / "front-door.pid").write_text(str(pid), encoding="ascii")
        return int(listener.getsockname()[1])


def end(folder: Path) -> None:
    """End it."""
    with suppress(OSError, ValueError):
        pid = int((folder / "front-door.pid").read_text(encoding="ascii"))
        if str(folder / "front-door.cfg").encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
