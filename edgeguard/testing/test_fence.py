"""Whoever lost the lock can change nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import Fenced
from edgeguard.testing.acts import CLOSURE, lock, never, on_all, opened, states
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import Cluster, Generation
    from edgeguard.testing.world import World


def epochs(world: World) -> list[object]:
    return [(record or {}).get("epoch") for record in world.cluster.read_record().values()]


def test_a_record_of_another_epoch_is_refused_by_the_first_server_and_the_newer_one_stays(world: World) -> None:
    lock(world, 1)
    lock(world, 2)
    for expected in (None, 0, 1):
        with pytest.raises(Fenced) as raised:
            world.cluster.write_record(1, {"version": 1, "late": True}, expected=expected)
        assert raised.value.server == "web1"
    with pytest.raises(Fenced):
        world.cluster.write_record(3, {"version": 1})  # the lock is taken with `expected`, never without
    assert world.cluster.read_record() == on_all({"version": 1, "epoch": 2})


def test_a_new_holder_takes_along_the_servers_that_lag_behind(world: World) -> None:
    """A holder that took the lock died after the first server."""
    lock(world)
    world.cluster.without(["web2", "web3"]).write_record(2, {"version": 1}, expected=1)
    assert epochs(world) == [2, 1, 1]
    world.cluster.write_record(3, {"version": 1}, expected=2)
    assert epochs(world) == [3, 3, 3]


def test_of_many_who_take_the_lock_at_once_one_wins(world: World) -> None:
    lock(world)
    barrier = threading.Barrier(8)

    def take(holder: int) -> bool:
        cluster = world.again()
        barrier.wait()
        try:
            cluster.write_record(2, {"holder": holder}, expected=1)
        except Fenced:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(take, range(8)))
    assert won.count(True) == 1
    assert {(record or {})["holder"] for record in world.cluster.read_record().values()} == {won.index(True)}


ACTS: dict[str, Callable[[Cluster, Generation], object]] = {
    "stage": lambda cluster, two: cluster.stage(1, two),
    "stop_tasks": lambda cluster, _: cluster.stop_tasks(1),
    "close": lambda cluster, _: cluster.close(1, CLOSURE),
    "drain": lambda cluster, _: cluster.drain(1, 1),
    "swap": lambda cluster, two: cluster.swap(1, two.name),
    "swap to nothing": lambda cluster, _: cluster.swap(1, None),
    "run_hook": lambda cluster, _: cluster.run_hook(1, "deploy", "web1", limit=5, cancelled=never),
    "open": lambda cluster, _: cluster.open(1, "one"),
    "prune": lambda cluster, _: cluster.prune(1, []),
    "write_record": lambda cluster, _: cluster.write_record(1, {}),
}


@pytest.mark.parametrize("act", ACTS)
def test_an_old_holder_of_the_lock_is_refused_whatever_it_does(world: World, act: str) -> None:
    opened(world, deploy="true")
    two = world.generation("two")
    world.cluster.stage(1, two)
    lock(world, 2)
    before = states(world)
    with pytest.raises(Fenced) as raised:
        ACTS[act](world.cluster, two)
    assert raised.value.server in SERVERS
    assert states(world) == before
    assert world.cluster.hook_result("one", "deploy", cancelled=never) is None
    assert world.cluster.generation("two") is not None


def test_an_old_holder_does_not_open_what_a_newer_one_has_closed(world: World) -> None:
    opened(world)
    lock(world, 2)
    world.cluster.close(2, CLOSURE)
    for act in ("open", "close", "run_hook", "swap to nothing"):
        with pytest.raises(Fenced):
            ACTS[act](world.cluster, world.generation("two"))
    assert world.ask()[0] == 500


@pytest.mark.parametrize("act", ["close", "swap", "open"])
def test_an_old_holder_writes_no_note(world: World, act: str) -> None:
    opened(world)
    lock(world, 2)
    note = {"serial": 9, "late": True}
    acts: dict[str, Callable[[], None]] = {
        "close": lambda: world.cluster.close(1, CLOSURE, note=note),
        "swap": lambda: world.cluster.swap(1, "one", note=note),
        "open": lambda: world.cluster.open(1, "one", note=note),
    }
    with pytest.raises(Fenced):
        acts[act]()
    assert world.cluster.read_record() == on_all({"version": 1, "epoch": 2})
