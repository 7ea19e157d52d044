"""The record on every server, and the note that an act writes into it first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import HookStarted, NotClosed, NotStaged
from edgeguard.testing.acts import CLOSURE, closed_with, lock, never, on_all, opened, run_hook, states
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.testing.world import World


def phases(world: World) -> set[object]:
    """What the servers' records say under `phase`."""
    return {(record or {}).get("phase") for record in world.again().read_record().values()}


def test_a_server_without_a_record_has_none(world: World) -> None:
    assert world.cluster.read_record() == dict.fromkeys(SERVERS)


def test_a_record_is_read_as_it_was_written_with_its_epoch(world: World) -> None:
    lock(world)
    world.cluster.write_record(1, {"version": 1, "lock": {"holder": "ünï"}, "target": None})
    expected = {"version": 1, "epoch": 1, "lock": {"holder": "ünï"}, "target": None}
    assert world.again().read_record() == on_all(expected)


def test_a_record_survives_deploys(world: World) -> None:
    lock(world)
    world.cluster.write_record(1, {"version": 1, "kept": True})
    one = world.generation("one")
    world.cluster.stage(1, one)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, one.name)
    world.cluster.open(1, one.name)
    world.cluster.prune(1, [])
    assert world.again().read_record() == on_all({"version": 1, "kept": True, "epoch": 1})


def test_in_one_epoch_a_record_with_a_lower_serial_is_passed_over_without_an_error(world: World) -> None:
    lock(world)
    for serial in (3, 2, 1):
        world.cluster.write_record(1, {"serial": serial, "phase": f"written as {serial}"})
    assert phases(world) == {"written as 3"}
    world.cluster.write_record(1, {"serial": 4, "phase": "written as 4"})
    assert phases(world) == {"written as 4"}
    world.cluster.write_record(2, {"serial": 1, "phase": "a new epoch"}, expected=1)
    assert phases(world) == {"a new epoch"}


NOTING: dict[str, Callable[[World, dict[str, object]], object]] = {
    "close": lambda world, note: world.cluster.close(1, CLOSURE, note=note),
    "swap": lambda world, note: world.cluster.swap(1, "one", note=note),
    "run_hook": lambda world, note: world.cluster.run_hook(
        1, "post_deploy", "web2", limit=20, cancelled=never, note=note
    ),
    "open": lambda world, note: world.cluster.open(1, "one", note=note),
}


@pytest.mark.parametrize("act", NOTING)
def test_an_act_writes_its_note_on_every_server(world: World, act: str) -> None:
    opened(world)
    NOTING[act](world, {"serial": 1, "phase": act})
    assert world.cluster.read_record() == on_all({"epoch": 1, "serial": 1, "phase": act})


@pytest.mark.parametrize("act", NOTING)
def test_a_note_never_goes_back_and_its_act_is_done_all_the_same(world: World, act: str) -> None:
    opened(world)
    if act == "open":
        world.cluster.close(1, CLOSURE)
    world.cluster.write_record(1, {"serial": 5, "phase": "later"})
    NOTING[act](world, {"serial": 4, "phase": "earlier"})
    assert phases(world) == {"later"}
    assert {is_open for *_, is_open in states(world)} == {act != "close"}


def test_a_note_is_written_before_its_act(world: World) -> None:
    """Every server says so already when the hook's first line comes."""
    closed_with(world, "echo begun")
    note = {"serial": 1, "phase": "hook"}
    found: list[set[object]] = []
    world.cluster.run_hook(
        1, "deploy", "web2", limit=60, cancelled=never, note=note, output=lambda _: found.append(phases(world))
    )
    assert found == [{"hook"}]


def test_a_note_is_written_also_where_its_act_is_refused(world: World) -> None:
    """The caller wrote down what it will do, and learns from the error that it was not done."""
    closed_with(world, "true")
    run_hook(world)
    with pytest.raises(HookStarted):
        world.cluster.run_hook(1, "deploy", "web2", limit=20, cancelled=never, note={"serial": 1, "phase": "hook"})
    assert phases(world) == {"hook"}
    with pytest.raises(NotStaged):
        world.cluster.swap(1, "never-staged", note={"serial": 2, "phase": "swap"})
    assert phases(world) == {"swap"}
    world.cluster.open(1, "one")
    world.cluster.stage(1, world.generation("two"))
    with pytest.raises(NotClosed):
        world.cluster.swap(1, "two", note={"serial": 3, "phase": "swap while open"})
    assert phases(world) == {"swap while open"}
