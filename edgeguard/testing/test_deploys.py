"""A deploy: stage, swap, check, open, prune, and what can be seen meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import User
from edgeguard.errors import ClusterError, Interrupted, NotClosed, NotStaged, Unhealthy
from edgeguard.testing.acts import CLOSURE, closed_on, deploy, lock, opened, run_hook, states
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.testing.world import World

PHASES = ("stage", "stop-tasks", "close", "drain", "swap", "hook", "check", "open")


def test_before_the_first_deploy_all_is_closed_and_nothing_runs(world: World) -> None:
    assert [state.name for state in world.cluster.state()] == list(SERVERS)
    assert states(world) == [(None, None, None, False)] * 3
    assert [state.deaths for state in world.cluster.state()] == [0] * 3


def test_staging_changes_nothing_that_visitors_see(world: World) -> None:
    opened(world)
    before, pids = states(world), world.ask_all("/pid")
    world.cluster.stage(1, world.generation("two"))
    assert states(world) == before
    assert world.ask_all("/pid") == pids
    assert set(world.ask_all("/").values()) == {"one"}


def test_a_deploy_replaces_the_release_on_all_servers(world: World) -> None:
    one = opened(world)
    assert states(world) == [("one", one.release, one.release, True)] * 3
    two = world.generation("two")
    deploy(world, 1, two)
    assert states(world) == [("two", two.release, two.release, True)] * 3
    assert world.cluster.check(two) == world.cluster.state()
    assert world.ask_all("/") == dict.fromkeys(SERVERS, "two")


def test_other_driver_objects_see_the_same(world: World) -> None:
    """A driver keeps nothing to itself: a crash of the caller would lose it."""
    opened(world)
    assert world.again().state() == world.cluster.state()


def test_every_call_but_the_hook_may_be_repeated(world: World) -> None:
    one = opened(world)
    two = world.generation("two")
    cluster = world.cluster
    calls: list[Callable[[], object]] = [
        lambda: cluster.stage(1, two),
        lambda: cluster.stop_tasks(1),
        lambda: cluster.close(1, CLOSURE),
        lambda: cluster.drain(1, 5),
        lambda: cluster.swap(1, two.name),
        lambda: cluster.check(two),
        lambda: cluster.open(1, two.name),
        lambda: cluster.prune(1, [one.name]),
    ]
    for call in calls:
        first = (call(), states(world))
        assert (call(), states(world)) == first
    assert states(world) == [(two.name, two.release, two.release, True)] * 3


def test_a_generation_is_found_with_all_but_its_variables_where_every_server_has_it(world: World) -> None:
    lock(world)
    users = (User("ada", ("ssh-ed25519 AAAA ada", "ssh-ed25519 BBBB"), "admin"), User("bob", (), "contributor"))
    one = world.generation(
        "one", hooks={"deploy": "true", "post_deploy": "exit 1"}, users=users, variables={"SECRET": "sesame"}
    )
    assert world.cluster.generation("one") is None
    world.cluster.stage(1, one)
    assert world.again().generation("one") == replace(one, variables={})


def test_a_generation_is_not_found_where_a_server_lacks_it(world: World) -> None:
    lock(world)
    world.cluster.without(["web3"]).stage(1, world.generation("one"))
    assert world.cluster.generation("one") is None
    assert world.cluster.without(["web3"]).generation("one") is not None


# Swap


def test_a_swap_leaves_a_server_alone_that_runs_the_generation_already(world: World) -> None:
    """Open or closed: its process keeps its pid."""
    one = opened(world)
    before = world.ask_all("/pid")
    world.cluster.swap(1, one.name)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, one.name)
    world.cluster.open(1, one.name)
    assert world.ask_all("/pid") == before


def test_a_swap_to_nothing_leaves_nothing(world: World) -> None:
    """As it was before a first deploy."""
    opened(world)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, None)
    world.cluster.swap(1, None)
    assert states(world) == [(None, None, None, False)] * 3


def test_a_swap_to_what_was_never_staged_is_refused_and_changes_nothing(world: World) -> None:
    one = opened(world)
    world.cluster.close(1, CLOSURE)
    with pytest.raises(NotStaged) as raised:
        world.cluster.swap(1, "never-staged")
    assert raised.value.server in SERVERS
    assert states(world) == [("one", one.release, one.release, False)] * 3


def test_a_swap_is_refused_while_the_gate_is_open(world: World) -> None:
    opened(world)
    world.cluster.stage(1, world.generation("two"))
    for generation in ("two", None):
        with pytest.raises(NotClosed):
            world.cluster.swap(1, generation)
    assert world.ask_all("/") == dict.fromkeys(SERVERS, "one")


def test_a_swap_that_fails_on_one_server_is_finished_on_the_others_and_can_be_undone(world: World) -> None:
    one = opened(world)
    two = world.generation("two")
    world.cluster.stage(1, two)
    world.cluster.close(1, CLOSURE)
    mend = world.break_swap("web2")
    with pytest.raises(ClusterError) as raised:
        world.cluster.swap(1, two.name)
    assert raised.value.server == "web2"
    assert [state.generation for state in world.cluster.state()] == ["two", "one", "two"]
    with pytest.raises(Unhealthy) as unhealthy:
        world.cluster.open(1, two.name)
    assert unhealthy.value.server == "web2"
    world.cluster.swap(1, one.name)
    world.cluster.check(one)
    world.cluster.open(1, one.name)
    assert states(world) == [("one", one.release, one.release, True)] * 3
    mend()
    deploy(world, 1, two)


# Check


def test_check_names_the_server_that_is_not_healthy_and_shows_what_it_wrote(world: World) -> None:
    opened(world)
    fails = "if [ $EDGEGUARD_SERVER = web2 ]; then echo no database >&2; exit 7; fi; "
    two = world.generation("two", start=fails + world.serve)
    closed_on(world, two)
    with pytest.raises(Unhealthy) as raised:
        world.cluster.check(two)
    assert raised.value.server == "web2"
    assert "no database" in raised.value.message


def test_check_gives_up_on_a_command_that_keeps_dying_before_the_time_out(world: World) -> None:
    """A start that died three times will not be healthy later, and the cluster is closed meanwhile."""
    lock(world)
    dying = world.generation("dying", start="exit 3")
    closed_on(world, dying)
    began = time.monotonic()
    with pytest.raises(Unhealthy):
        world.again(start_timeout=600).check(dying)
    assert time.monotonic() - began < 300


def test_check_wants_a_200_and_says_what_came(world: World) -> None:
    one = opened(world)
    with pytest.raises(Unhealthy, match="404") as raised:
        world.again(start_timeout=1, health_path="/status?404").check(one)
    assert raised.value.server in SERVERS
    with pytest.raises(Unhealthy):
        world.again(start_timeout=0.3, health_path="/slow?2").check(one)


def test_check_gives_up_when_it_is_cancelled(world: World) -> None:
    one = opened(world)
    with pytest.raises(Interrupted):
        world.again(start_timeout=600, health_path="/status?404").check(one, cancelled=lambda: True)


def test_check_wants_this_generation_and_no_other(world: World) -> None:
    opened(world)
    two = world.generation("two")
    world.cluster.stage(1, two)
    with pytest.raises(Unhealthy) as raised:
        world.cluster.check(two)
    assert raised.value.server in SERVERS


# Open


def test_all_servers_open_or_none(world: World) -> None:
    one = opened(world)
    world.cluster.close(1, CLOSURE)
    world.cluster.stage(1, world.generation("two"))
    with pytest.raises(Unhealthy):
        world.cluster.open(1, "two")
    world.cluster.without(["web1", "web2"]).swap(1, "two")
    for generation in (one.name, "two"):
        with pytest.raises(Unhealthy) as raised:
            world.cluster.open(1, generation)
        assert raised.value.server in SERVERS
    world.cluster.swap(1, None)
    with pytest.raises(Unhealthy):
        world.cluster.open(1, one.name)
    assert [state.open for state in world.cluster.state()] == [False] * 3
    assert world.ask()[0] == 500


# After a deploy, and for people


def test_prune_keeps_what_is_current_or_named(world: World) -> None:
    generations = {name: world.generation(name) for name in ("one", "two", "three", "four")}
    lock(world)
    for generation in generations.values():
        world.cluster.stage(1, generation)
    closed_on(world, generations["two"])
    world.cluster.prune(1, ["three"])
    for name in ("one", "four"):
        assert world.cluster.generation(name) is None
        with pytest.raises(NotStaged):
            world.cluster.swap(1, name)
    for name in ("three", "two"):
        world.cluster.swap(1, name)
        world.cluster.check(generations[name])


def test_a_copy_of_a_generation_runs_with_the_variables_that_the_servers_kept(world: World) -> None:
    """A release that is gone back to: it has a new name, its hooks can run, and nobody has to know the values."""
    one = world.generation("one", hooks={"deploy": "true"}, variables={"GREETING": "a 'b'"})
    lock(world)
    closed_on(world, one)
    run_hook(world)
    two = world.generation("two", variables={"GREETING": "of two"})
    world.cluster.swap(1, None)
    deploy(world, 1, two)
    found = world.cluster.generation("one")
    assert found is not None
    again = replace(found, name="again", copy_of="one")
    with pytest.raises(NotStaged):
        world.cluster.stage(1, replace(again, copy_of="never-staged"))
    for _ in range(2):
        world.cluster.stage(1, again)
    closed_on(world, again)
    assert run_hook(world).code == 0
    world.cluster.check(again)
    world.cluster.open(1, again.name)
    world.cluster.prune(1, [again.name])
    assert world.cluster.generation(again.name) == replace(again, copy_of=None)
    assert set(world.ask_all("/env?GREETING").values()) == {"a 'b'"}


def test_prune_removes_the_images_that_no_generation_uses(world: World) -> None:
    generations = {name: world.generation(name) for name in ("one", "two")}
    lock(world)
    for generation in generations.values():
        world.cluster.stage(1, generation)
    closed_on(world, generations["two"])
    world.cluster.prune(1, [])
    for server in SERVERS:
        assert world.shell(server, f"[ -e {generations['one'].image} ] && echo there") == ""
        assert world.shell(server, f"[ -e {generations['two'].image} ] && echo there") == "there\n"


def test_every_phase_is_explained(world: World) -> None:
    one = world.generation("one", variables={"GREETING": "hello"})
    for phase in PHASES:
        assert all(isinstance(line, str) for line in world.cluster.explain(phase, one))
        assert list(world.cluster.explain(phase, one)) != []


def test_values_of_variables_stay_out_of_what_is_said(world: World) -> None:
    lock(world)
    secret = world.generation("one", start="exit 1", hooks={"deploy": "exit 1"}, variables={"PASSWORD": "sesame"})
    closed_on(world, secret)
    said = [repr(secret), *(line for phase in PHASES for line in world.cluster.explain(phase, secret))]
    with pytest.raises(Unhealthy) as raised:
        world.again(start_timeout=5).check(secret)
    said += [str(raised.value), raised.value.remedy]
    said += [repr(world.cluster.generation("one")), repr(world.cluster.state()), repr(run_hook(world))]
    assert "sesame" not in "".join(said)
