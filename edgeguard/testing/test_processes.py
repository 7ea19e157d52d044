"""The application's processes: their environment, their deaths, and who starts them again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import ClusterError, UsageError
from edgeguard.testing.acts import CLOSURE, closed_on, closed_with, deploy, lock, opened, run_hook, states
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from edgeguard.cluster import ServerState
    from edgeguard.testing.world import World

CANARY = "canary-7d1f"
LONGEST_SOCKET = 103


@pytest.fixture
def caller_s_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets in the environment of whoever calls the driver, before the driver starts anything."""
    for name in ("FASTLY_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "EDGEGUARD_CANARY"):
        monkeypatch.setenv(name, CANARY)


def test_processes_get_the_generation_s_variables_as_they_are(world: World) -> None:
    """Also one that is as long as the kernel takes it: 128 KiB, with its name, `=`, and the zero behind it."""
    lock(world)
    longest = "x" * (131_072 - len("LONGEST=") - 1)
    deploy(world, 1, world.generation("one", variables={"GREETING": "a b\nc'\"$x", "LONGEST": longest}))
    assert world.ask_all("/env?GREETING") == dict.fromkeys(SERVERS, "a b\nc'\"$x")
    assert world.ask_all("/env?LONGEST") == dict.fromkeys(SERVERS, longest)


def test_processes_get_their_server_s_name_and_a_port(world: World) -> None:
    opened(world)
    assert world.ask_all("/env?EDGEGUARD_SERVER") == {server: server for server in SERVERS}
    assert all(port.isdigit() for port in world.ask_all("/env?PORT").values())


def test_a_process_that_listens_on_a_unix_socket_is_served_or_refused_while_it_is_staged(world: World) -> None:
    """Old and new processes never meet on one socket."""
    opened(world)
    two = world.generation("two", hooks={"deploy": "echo ${PORT-none} $SOCKET"}, socket=True)
    try:
        world.cluster.stage(1, two)
    except ClusterError:
        assert world.ask()[2] == "one"
        return
    closed_on(world, two)
    hook = run_hook(world)
    world.cluster.check(two)
    world.cluster.open(1, "two")
    before = world.ask_all("/env?SOCKET")
    assert hook.output == f"none {before['web1']}"
    assert set(world.ask_all("/env?PORT").values()) == {""}
    deploy(world, 1, world.generation("three", socket=True))
    after = world.ask_all("/env?SOCKET")
    assert len({*before.values(), *after.values()}) == 2 * len(SERVERS)
    assert max(len(socket.encode()) for socket in {*before.values(), *after.values()}) <= LONGEST_SOCKET
    deploy(world, 1, world.generation("one"))
    assert world.ask()[2] == "one"


def test_processes_run_as_the_user_whom_the_generation_names_or_are_refused_while_it_is_staged(world: World) -> None:
    opened(world)
    two = world.generation("two", hooks={"deploy": 'echo "$(id -un) $USER"'}, user=world.user)
    try:
        world.cluster.stage(1, two)
    except (ClusterError, UsageError):
        assert world.ask()[2] == "one"
        return
    closed_on(world, two)
    hook = run_hook(world)
    world.cluster.check(two)
    world.cluster.open(1, "two")
    assert hook.output == f"{world.user} {world.user}"
    assert world.ask_all("/env?USER") == dict.fromkeys(SERVERS, world.user)
    owners = {server: world.shell(server, f"stat -c %U /proc/{pid}") for server, pid in world.ask_all("/pid").items()}
    assert owners == dict.fromkeys(SERVERS, f"{world.user}\n")
    deploy(world, 1, world.generation("one"))
    assert world.ask()[2] == "one"


@pytest.mark.usefixtures("caller_s_secret")
def test_processes_inherit_nothing_of_the_caller_s_environment(world: World) -> None:
    opened(world)
    for environment in world.ask_all("/environ").values():
        assert CANARY not in environment


@pytest.mark.usefixtures("caller_s_secret")
def test_hooks_inherit_nothing_of_the_caller_s_environment(world: World) -> None:
    heard: list[str] = []
    closed_with(world, "env", variables={"GREETING": "hello"})
    world.cluster.run_hook(1, "deploy", "web1", limit=20, cancelled=lambda: False, output=heard.append)
    assert not [line for line in heard if CANARY in line]
    assert {"GREETING=hello", "EDGEGUARD_SERVER=web1"} <= set(heard)
    assert [line for line in heard if line.startswith("PORT=")]


def test_the_server_s_own_folders_are_there_before_anything_starts(world: World) -> None:
    folder = Path(world.scratch) / "mounts" / "uploads"
    lock(world)
    one = world.generation(
        "one", start=f"[ -d {folder} ] && {world.serve}", hooks={"deploy": f"[ -d {folder} ]"}, folders=[folder]
    )
    closed_on(world, one)
    world.cluster.check(one)
    assert run_hook(world).code == 0


def test_a_swap_ends_all_of_the_old_processes(world: World) -> None:
    """Also those in the background, and those that ignore SIGTERM."""
    lock(world)
    alive = f"{world.scratch}/alive"
    deaf = f"(trap '' TERM; while :; do touch {alive}; sleep 0.05; done) &"
    deploy(world, 1, world.generation("one", start=f"{deaf} {world.serve}"))
    until(lambda: world.exists("alive"), "the process in the background runs")
    pids = world.ask_all("/pid")
    closed_on(world, world.generation("two"))
    for server, pid in pids.items():
        assert world.shell(server, f"kill -0 {pid} 2>/dev/null && echo alive") == ""
        world.shell(server, f"rm -f {alive}")
    threading.Event().wait(0.5)
    assert not world.exists("alive")


# Deaths


def seen(world: World, server: str) -> ServerState:
    """This server, by another driver object."""
    return next(state for state in world.again().state() if state.name == server)


def test_a_dead_web_process_is_started_again_and_its_death_is_counted(world: World) -> None:
    one = opened(world)
    before = world.ask_all("/pid")
    assert [state.deaths for state in world.cluster.state()] == [0] * 3
    world.end_web_process("web2")
    until(lambda: seen(world, "web2").deaths == 1, "the death is counted")
    world.cluster.check(one)
    assert states(world) == [("one", one.release, one.release, True)] * 3
    assert {server for server, pid in world.ask_all("/pid").items() if pid != before[server]} == {"web2"}
    assert [state.deaths for state in world.cluster.state()] == [0, 1, 0]


def test_deaths_never_fall_while_the_generation_stays_current(world: World) -> None:
    """Staged, closed, swapped to and opened again, they are what they were."""
    one = opened(world)
    world.end_web_process("web2")
    until(lambda: seen(world, "web2").deaths == 1, "the death is counted")
    world.cluster.check(one)
    deploy(world, 1, one)
    assert [state.deaths for state in world.cluster.state()] == [0, 1, 0]


def test_deaths_outlive_the_supervisor_that_counted_them(world: World) -> None:
    one = opened(world)
    world.end_web_process("web2")
    until(lambda: seen(world, "web2").deaths == 1, "the death is counted")
    world.cluster.check(one)
    world.cluster.close(1, CLOSURE)
    world.end_supervisor("web2")
    assert seen(world, "web2").deaths == 1
    world.cluster.swap(1, "one")
    assert seen(world, "web2").deaths == 1


def test_deaths_begin_anew_with_the_next_generation(world: World) -> None:
    """And the ends that a swap brings about are no deaths."""
    one = opened(world)
    world.end_web_process("web2")
    until(lambda: seen(world, "web2").deaths == 1, "the death is counted")
    deploy(world, 1, world.generation("two"))
    assert [state.deaths for state in world.cluster.state()] == [0] * 3
    deploy(world, 1, one)
    assert [state.deaths for state in world.cluster.state()] == [0] * 3


def test_a_swap_starts_a_dead_web_process_of_the_current_generation(world: World) -> None:
    one = opened(world)
    pids = world.ask_all("/pid")
    world.cluster.close(1, CLOSURE)
    for server, pid in pids.items():
        world.shell(server, f"kill -9 {pid}")
    world.cluster.swap(1, "one")
    world.cluster.check(one)
    world.cluster.open(1, "one")
    assert not set(pids.values()) & set(world.ask_all("/pid").values())


def test_a_dead_supervisor_is_told_of_and_a_swap_starts_it(world: World) -> None:
    """A web process that dies then is started again."""
    one = opened(world)
    world.cluster.close(1, CLOSURE)
    world.end_supervisor("web2")
    assert [state.supervisor for state in world.cluster.state()] in ([True, False, True], [None] * 3)
    world.cluster.swap(1, "one")
    assert [state.supervisor for state in world.cluster.state()] in ([True] * 3, [None] * 3)
    world.cluster.check(one)
    world.cluster.open(1, "one")
    world.end_web_process("web2")
    until(lambda: seen(world, "web2").running == one.release, "the web process runs again")
    world.cluster.check(one)


def test_gate_and_supervisors_are_alive_where_a_driver_can_tell(world: World) -> None:
    opened(world)
    for state in world.cluster.state():
        assert state.gate in {True, None}
        assert state.supervisor in {True, None}
