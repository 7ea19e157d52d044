"""Applications that listen on a unix socket, on the driver `local`: long paths, sockets that were left, and swaps."""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import sockets
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.local.rules import Rules
from edgeguard.testing.acts import CLOSURE, closed_on, deploy, lock
from edgeguard.testing.local import World
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeguard.cluster import Generation


@pytest.fixture(params=["short", "long"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Servers whose folders have short names, and servers whose folders' names are too long for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="eg-") as short:
        folder = Path(short) if request.param == "short" else tmp_path / ("long" * 25)
        with World("local", folder) as world:
            yield world
        assert not [place for place in places(world, "one", "two") if place.parent.exists()]


def places(world: World, *names: str) -> list[Path]:
    return [sockets.path(world.root / "servers" / server, name) for server in SERVERS for name in names]


def serving(world: World, name: str = "one") -> Generation:
    generation = world.generation(name, socket=True)
    deploy(world, lock(world), generation)
    return generation


def test_the_socket_is_private_and_its_path_fits(world: World) -> None:
    serving(world)
    for place in places(world, "one"):
        assert place.is_socket()
        assert len(os.fsencode(place)) <= sockets.LONGEST
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert set(world.ask_all("/env?SOCKET").values()) == set(map(str, places(world, "one")))


def test_a_killed_process_is_started_again_over_the_socket_that_it_left(world: World) -> None:
    one = serving(world)
    before = world.ask_all("/pid")
    world.end_web_process("web2")
    until(lambda: world.cluster.state()[1].deaths == 1, "web2's death is counted")
    world.cluster.check(one)
    assert world.ask_all("/pid")["web2"] != before["web2"]


def test_a_supervisor_s_death_leaves_a_socket_that_the_next_one_takes(world: World) -> None:
    one = serving(world)
    for server in SERVERS:
        pid = int(world.ask_all("/pid")[server])
        world.end_supervisor(server)
        os.kill(pid, signal.SIGKILL)
        world.cluster.close(1, CLOSURE)
        world.cluster.swap(1, "one")
        world.cluster.check(one)
        world.cluster.open(1, "one")
    assert [state.deaths for state in world.cluster.state()] == [0] * 3  # nothing was in the next one's way


def test_nobody_who_asks_the_old_socket_reaches_the_new_process(world: World) -> None:
    """The old socket is gone with its process, also where that one did not remove it."""
    serving(world)
    two = world.generation("two", socket=True)
    closed_on(world, two)
    world.cluster.check(two)
    for old in places(world, "one"):
        with socket.socket(socket.AF_UNIX) as asking, pytest.raises(FileNotFoundError):
            asking.connect(str(old))
    assert all(new.is_socket() for new in places(world, "two"))


def test_an_idle_connection_to_a_socket_is_used_again(world: World) -> None:
    """As one to a port is; and the gate lets go of it when it closes."""
    serving(world)
    for _ in range(3 * len(SERVERS)):
        assert world.ask()[2] == "one"
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, None)
    assert world.ask()[0] == Rules().status


def test_a_folder_that_is_somebody_else_s_is_refused(tmp_path: Path) -> None:
    server = tmp_path / ("long" * 25)
    (server / "generations" / "one").mkdir(parents=True)
    place = sockets.path(server, "one")
    place.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(HostError, match="somebody else"):
            sockets.make_way(server, "one")
    finally:
        place.parent.unlink()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == stat.S_IMODE(tmp_path.lstat().st_mode)
