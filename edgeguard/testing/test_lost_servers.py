"""Servers that a person said to go on without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import Fenced, Unhealthy
from edgeguard.testing.acts import CLOSURE, deploy, opened
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.testing.world import World


def skip_unless_one_gate(world: World) -> None:
    if not world.cluster.one_gate:
        pytest.skip("each host has a gate of its own (one_gate), so a person keeps visitors from a lost server")


def test_without_leaves_a_server_out_and_asks_nobody(world: World) -> None:
    fewer = world.cluster.without(["web3"])
    assert (fewer.servers, fewer.left_out) == (("web1", "web2"), ("web3",))
    assert (world.cluster.servers, world.cluster.left_out) == (SERVERS, ())
    fewest = fewer.without(["web1"])
    assert (fewest.servers, fewest.left_out) == (("web2",), ("web1", "web3"))


def test_a_server_that_is_left_out_is_neither_asked_nor_changed(world: World) -> None:
    opened(world)
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    two = world.generation("two")
    deploy(world, 2, two, fewer)
    assert [state.name for state in fewer.state()] == ["web1", "web2"]
    assert [state.generation for state in world.cluster.state()] == ["two", "two", "one"]
    assert (world.cluster.read_record()["web3"] or {})["epoch"] == 1
    assert fewer.read_record().keys() == {"web1", "web2"}
    assert fewer.generation("two") is not None
    assert world.cluster.generation("two") is None


def test_a_server_that_is_left_out_gets_no_request(world: World) -> None:
    """It still runs what it ran."""
    skip_unless_one_gate(world)
    one = opened(world)
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    fewer.close(2, CLOSURE)
    assert world.ask()[0] == 500
    deploy(world, 2, world.generation("two"), fewer)
    assert [(state.running, state.open) for state in world.cluster.state()][2] == (one.release, False)
    assert {world.ask()[2] for _ in range(12)} == {"two"}


def test_a_server_that_was_left_out_comes_back_with_the_release_of_all(world: World) -> None:
    opened(world)
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    deploy(world, 2, world.generation("two"), fewer)
    world.cluster.write_record(3, {"version": 1}, expected=2)
    with pytest.raises(Unhealthy) as raised:
        world.cluster.open(3, "two")
    assert raised.value.server == "web3"
    deploy(world, 3, world.generation("three"))
    assert [(state.generation, state.open) for state in world.cluster.state()] == [("three", True)] * 3


def test_a_server_that_was_left_out_can_be_changed_while_the_others_are_open(world: World) -> None:
    skip_unless_one_gate(world)
    opened(world)
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    deploy(world, 2, world.generation("two"), fewer)
    world.cluster.write_record(3, {"version": 1}, expected=2)
    world.cluster.without(fewer.servers).swap(3, None)
    assert [state.generation for state in world.cluster.state()] == ["two", "two", None]
    assert {world.ask()[2] for _ in range(6)} == {"two"}


def test_an_old_holder_changes_no_server_that_visitors_reach(world: World) -> None:
    """A holder that lost the lock to one who left a server out may still reach that server, but not the gate."""
    skip_unless_one_gate(world)
    one = opened(world)
    old = world.again()
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    deploy(world, 2, world.generation("two"), fewer)
    acts: list[Callable[[], None]] = [
        lambda: old.close(1, CLOSURE),
        lambda: old.open(1, one.name),
        lambda: old.swap(1, None),
    ]
    for act in acts:
        with pytest.raises(Fenced):
            act()
    assert {world.ask()[2] for _ in range(12)} == {"two"}
