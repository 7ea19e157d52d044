"""Background tasks: they run while the cluster is open, and nothing of them runs in between."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.logs import Logs
from edgeguard.cluster.tasks import RunsTasks, TaskState
from edgeguard.testing.acts import CLOSURE, deploy, lock
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from edgeguard.testing.world import World

A_MINUTE = 75
STUBBORN = "trap '' TERM; (setsid sh -c \"trap '' TERM; while :; do sleep 300; done\" &); while :; do sleep 300; done"
"""A script whose children ignore SIGTERM, one of them in a session of its own."""


@pytest.fixture
def tasked(world: World) -> World:
    """The world of a driver that runs background tasks."""
    if not isinstance(world.cluster, RunsTasks):
        pytest.skip(f"the driver {world.driver} runs no background tasks")
    return world


def tasks(world: World, name: str) -> list[TaskState]:
    """The states of the task of this name, one for each server."""
    assert isinstance(world.cluster, RunsTasks)
    return [state for state in world.cluster.tasks() if state.task.name == name]


def sleeping(world: World, seconds: int) -> int:
    """How many processes of the application sleep for so long, on all servers."""
    ours = f"for pid in $(pgrep -f '^sleep {seconds}'); do tr '\\0' '\\n' </proc/$pid/environ"
    return sum(
        len(world.shell(server, f"{ours} | grep -x EDGEGUARD_SERVER={server}; done").split()) for server in SERVERS
    )


def noting(world: World, what: str, then: str = "exec sleep 4711") -> str:
    """A script that writes a line into the file `told.SERVER`, and goes on."""
    return f"echo {what} >> {world.scratch}/told.$EDGEGUARD_SERVER; {then}"


def test_workers_run_on_every_server_from_the_opening_on_with_variables_of_their_own(tasked: World) -> None:
    one = tasked.generation(
        "one",
        workers={"queue": noting(tasked, "$GREETING $ROLE ${PORT-none}", "echo works; exec sleep 4711")},
        variables={"GREETING": "hi"},
    )
    lock(tasked)
    tasked.cluster.stage(1, one)
    tasked.cluster.close(1, CLOSURE)
    tasked.cluster.drain(1, 5)
    tasked.cluster.swap(1, "one")
    tasked.cluster.check(one)
    assert (tasked.noted("told"), [state.since for state in tasks(tasked, "queue")]) == ("", [None] * 3)
    tasked.cluster.open(1, "one")
    until(lambda: all(state.since is not None for state in tasks(tasked, "queue")), "the workers run")
    until(lambda: tasked.noted("told") == "hi queue none\n" * 3, "each worker has said so")
    assert [state.server for state in tasks(tasked, "queue")] == list(SERVERS)
    assert tasked.ask()[2] == "one"  # a server's release is that of its web process
    if isinstance(tasked.cluster, Logs):
        told = partial(tasked.cluster.logs, "web2", place=None, lines=1, ago=None)
        until(lambda: [line.text for line in told(task="worker-queue").lines] == ["works"], "its output is told")
        assert [line.text for line in told().lines] == ["listening"]


def test_stopped_tasks_leave_no_process_and_start_again_with_an_opening(tasked: World) -> None:
    one = tasked.generation("one", workers={"queue": STUBBORN, "mail": "exec sleep 4712"})
    lock(tasked)
    deploy(tasked, 1, one)
    until(lambda: sleeping(tasked, 300) == 2 * len(SERVERS), "the workers have their children")
    assert tasked.cluster.stop_tasks(1) == 2 * len(SERVERS)
    assert sleeping(tasked, 300) + sleeping(tasked, 4712) == 0
    assert [state.last and state.last.why for state in tasks(tasked, "mail")] == ["stopped"] * len(SERVERS)
    assert tasked.cluster.stop_tasks(1) == 0
    assert [state.open for state in tasked.cluster.state()] == [True] * 3
    tasked.cluster.open(1, "one")
    until(lambda: sleeping(tasked, 4712) == len(SERVERS), "the workers run again")


def test_a_worker_that_ends_is_started_again_and_leaves_nothing_behind(tasked: World) -> None:
    once = f"[ -e {tasked.scratch}/again.$EDGEGUARD_SERVER ] && exec sleep 4713"
    leaving = f"touch {tasked.scratch}/again.$EDGEGUARD_SERVER; (sleep 4714 &); exit 5"
    lock(tasked)
    deploy(tasked, 1, tasked.generation("one", workers={"queue": f"{once}; {leaving}"}))
    until(lambda: sleeping(tasked, 4713) == len(SERVERS), "the workers run again")
    until(lambda: sleeping(tasked, 4714) == 0, "what the first ones left is gone")
    found = tasks(tasked, "queue")
    assert [state.deaths for state in found] == [1] * 3
    assert [state.last.code for state in found if state.last] == [5] * 3


def test_a_swap_leaves_no_task_of_the_release_before(tasked: World) -> None:
    lock(tasked)
    deploy(tasked, 1, tasked.generation("one", workers={"queue": "exec sleep 4715"}))
    until(lambda: sleeping(tasked, 4715) == len(SERVERS), "the workers run")
    two = tasked.generation("two", workers={"other": "exec sleep 4716"})
    tasked.cluster.stage(1, two)
    tasked.cluster.close(1, CLOSURE)
    tasked.cluster.drain(1, 5)
    tasked.cluster.swap(1, "two")  # nobody has stopped the tasks before
    assert sleeping(tasked, 4715) + sleeping(tasked, 4716) == 0
    tasked.cluster.check(two)
    tasked.cluster.open(1, "two")
    until(lambda: sleeping(tasked, 4716) == len(SERVERS), "the new workers run")
    assert tasks(tasked, "queue") == []
    deploy(tasked, 1, tasked.generation("three"))
    assert sleeping(tasked, 4716) == 0


def test_a_cron_runs_at_its_minute_on_one_server_and_not_while_the_cluster_is_closed(tasked: World) -> None:
    lock(tasked)
    deploy(tasked, 1, tasked.generation("one", crons={"tick": noting(tasked, "tick", "exit 3")}))
    assert [state.next is not None for state in tasks(tasked, "tick")] == [True, False, False]
    until(lambda: tasked.noted("told") != "", "the cron has run", limit=A_MINUTE)
    until(lambda: any(state.last for state in tasks(tasked, "tick")), "its run is told")
    assert tasked.noted("told") == "tick\n"
    [state] = [state for state in tasks(tasked, "tick") if state.last]
    assert state.last is not None
    assert (state.server, state.last.code, state.last.why) == ("web1", 3, None)
    tasked.cluster.stop_tasks(1)
    assert [state.next for state in tasks(tasked, "tick")] == [None] * 3
