"""What the contract suite needs beside a driver: releases to deploy, a front door, and ways to break things."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeguard.cluster import Closure, Cluster, Generation
from edgeguard.cluster.host import manifest
from edgeguard.cluster.local import LocalCluster
from edgeguard.release.application import Application
from edgeguard.settings import ClusterSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SERVERS = ("web1", "web2", "web3")
APPLICATION = (Path(__file__).parent / "tiny_application.py").read_text(encoding="utf-8")
START = f"{sys.executable} -I -S application.py"
CLOSURE = Closure("d-closing", 4_000_000_000.0)


class World(Protocol):
    """A driver with real servers, and what a test may do to them. One for each driver that the suite is run on."""

    port: int

    @property
    def cluster(self) -> Cluster:
        """The driver that is tested."""

    def generation(
        self, name: str, *, start: str | None = None, hooks: Mapping[str, str] | None = None, **variables: str
    ) -> Generation:
        """A release with an image of its own, which says `name` to whoever asks."""

    def again(self, **settings: object) -> Cluster:
        """A second driver for the same servers, as another process or another machine would have it."""

    def block_swap(self, server: str) -> Callable[[], None]:
        """Put something in the way of the rename on this server; what is returned takes it away."""

    def end(self) -> None:
        """Leave no process behind."""


class LocalWorld:
    """The driver `local` below a temporary folder."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.root = root
        self.port = free_port()
        self._settings = {"start_timeout": 10, "drain_timeout": 5, "health_path": "/health", **settings}
        self.cluster: LocalCluster = self.again()

    def again(self, **settings: object) -> LocalCluster:
        options = {"gate_port": self.port}
        said: dict[str, Any] = {"root": self.root, "options": options, **self._settings, **settings}
        return LocalCluster("test", ClusterSettings(servers=SERVERS, **said))

    def generation(
        self, name: str, *, start: str | None = None, hooks: Mapping[str, str] | None = None, **variables: str
    ) -> Generation:
        make_image(self.root / "releases" / f"inputs-{name}", name, start=start, hooks=hooks)
        return self.again_generation(name, **variables)

    def again_generation(self, name: str, **variables: str) -> Generation:
        """A generation of an image that is there already."""
        folder = self.root / "releases" / f"inputs-{name}"
        digest = json.loads((folder / "release.json").read_text(encoding="utf-8"))["digest"]
        environment = {
            "PATH": f"{folder}/toolchain/bin:{os.environ['PATH']}",
            "PLATFORM_APP_DIR": f"{folder}/app",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        return Generation(name, digest, folder, environment)

    def block_swap(self, server: str) -> Callable[[], None]:
        obstacle = self.root / "servers" / server / "current.next"
        (obstacle / "in the way").mkdir(parents=True)
        return lambda: shutil.rmtree(obstacle)

    def end(self) -> None:
        self.cluster.dismantle()


def make_image(folder: Path, name: str, *, start: str | None = None, hooks: Mapping[str, str] | None = None) -> None:
    """A frozen image, as a build leaves it, of a small application that says `name`."""
    app = folder / "app"
    app.mkdir(parents=True, exist_ok=True)
    (app / "application.py").write_text(APPLICATION, encoding="utf-8")
    (app / "release").write_text(name, encoding="utf-8")
    (folder / "toolchain" / "bin").mkdir(parents=True)
    application = Application(
        name="tiny",
        type="python:3",
        start=start or f"exec {START}",
        hooks=hooks or {},
        flavor="none",
    )
    for part in ("app", "toolchain"):
        manifest.freeze(folder / part)
    content = manifest.take(folder, ("app", "toolchain"))
    digest = manifest.digest(content, ("app", "toolchain"))
    said = {"digest": digest, "inputs": folder.name, "ref": "main", "commit": "c", "tree": "t"}
    (folder / "manifest").write_text(content, encoding="utf-8")
    (folder / "release.json").write_text(json.dumps({**said, "application": asdict(application)}), encoding="utf-8")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ask(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, str], str]:
    """One request over a new connection: status, headers (names in lower case), body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text
    finally:
        connection.close()


def until(true: Callable[[], bool], what: str, limit: float = 10) -> None:
    """Poll until something is true."""
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.005)


def lock(world: World, epoch: int = 1) -> int:
    """Take the lock, as a deploy does."""
    world.cluster.write_record(epoch, {"version": 1}, expected=epoch - 1)
    return epoch


def deploy(world: World, epoch: int, generation: Generation, cluster: Cluster | None = None) -> None:
    """All that a deploy does to a cluster (the world's own, if no other is given), but the hook."""
    cluster = cluster or world.cluster
    cluster.stage(epoch, generation)
    cluster.stop_tasks(epoch)
    cluster.close(epoch, CLOSURE)
    cluster.drain(epoch, 5)
    cluster.swap(epoch, generation.name)
    cluster.check(generation)
    cluster.open(epoch, generation.name)
