"""Hooks: started once, watched by a process that outlives the caller, and known by how they ended."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import HookRuns, HookStarted, HookUnknown, NotClosed
from edgeguard.testing.acts import closed_on, closed_with, lock, never, opened, run_hook
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import HookResult
    from edgeguard.testing.world import World


def ended(world: World, generation: str = "one") -> HookResult:
    """How the deploy hook ended, asked of another driver object."""
    result = world.again().hook_result(generation, "deploy", cancelled=never)
    assert result is not None
    return result


def until_told(world: World) -> str:
    """A hook's script: it says that it has begun, and goes on once `go-on` is touched."""
    return f"touch {world.scratch}/begun; while [ ! -e {world.scratch}/go-on ]; do sleep 0.05; done"


def left_running(world: World, server: str = "web1") -> None:
    """Start the deploy hook, and stop waiting as soon as it runs."""
    with pytest.raises(HookRuns) as raised:
        world.cluster.run_hook(1, "deploy", server, limit=60, cancelled=lambda: world.exists("begun"))
    assert raised.value.server == server


# Where and when


def test_a_hook_runs_on_the_server_that_was_named_in_the_application_s_folder(world: World) -> None:
    closed_with(
        world, "echo $EDGEGUARD_SERVER $GREETING; cat release; echo; echo oops >&2", variables={"GREETING": "hello"}
    )
    result = run_hook(world, "web2")
    assert (result.server, result.code, result.output) == ("web2", 0, "web2 hello\none\noops")


def test_a_hook_that_is_not_defined_succeeds(world: World) -> None:
    lock(world)
    closed_on(world, world.generation("one"))
    result = run_hook(world)
    assert (result.server, result.code) == ("web1", 0)


def test_the_deploy_hook_does_not_start_while_the_gate_is_open(world: World) -> None:
    opened(world, deploy="true")
    with pytest.raises(NotClosed):
        run_hook(world)
    assert world.cluster.hook_result("one", "deploy", cancelled=never) is None


def test_the_post_deploy_hook_runs_while_the_gate_is_open(world: World) -> None:
    opened(world, post_deploy="echo warm")
    result = world.cluster.run_hook(1, "post_deploy", "web3", limit=20, cancelled=never)
    assert (result.server, result.code, result.output) == ("web3", 0, "warm")


# Once


def test_a_hook_never_starts_twice_on_whatever_server(world: World) -> None:
    closed_with(world, f"echo started >> {world.scratch}/starts.$EDGEGUARD_SERVER; exit 4")
    assert run_hook(world).code == 4
    for server in SERVERS:
        with pytest.raises(HookStarted) as raised:
            world.again().run_hook(1, "deploy", server, limit=20, cancelled=never)
        assert raised.value.server == "web1"  # where it was started
    assert world.noted("starts") == "started\n"


@pytest.mark.parametrize("server", ["web1", "web3"])
def test_a_person_may_say_again(world: World, server: str) -> None:
    """On whatever server. How it ended the second time is what counts then."""
    note = f"echo started >> {world.scratch}/starts.$EDGEGUARD_SERVER"
    closed_with(world, f"{note}; [ -e {world.scratch}/mended ]")
    assert run_hook(world).code == 1
    world.touch("mended")
    assert world.again().run_hook(1, "deploy", server, limit=20, cancelled=never, again=True).code == 0
    assert (ended(world).server, ended(world).code) == (server, 0)
    assert world.noted("starts") == "started\nstarted\n"


# While it runs


def test_a_caller_that_stops_waiting_leaves_the_hook_running(world: World) -> None:
    closed_with(world, f"{until_told(world)}; echo done")
    left_running(world)
    with pytest.raises(HookRuns) as raised:
        world.again().hook_result("one", "deploy", cancelled=lambda: True)
    assert raised.value.server == "web1"
    world.touch("go-on")
    assert (ended(world).code, ended(world).output) == (0, "done")


def test_nothing_is_staged_swapped_or_opened_while_a_deploy_hook_runs(world: World) -> None:
    """Its image must not be taken away, and visitors must not see a half-done migration. The command that started it
    may be long gone."""
    closed_with(world, until_told(world))
    left_running(world)
    cluster, two = world.again(), world.generation("two")
    acts: list[Callable[[], object]] = [
        lambda: cluster.stage(1, two),
        lambda: cluster.swap(1, None),
        lambda: cluster.open(1, "one"),
        lambda: cluster.run_hook(1, "deploy", "web2", limit=5, cancelled=never, again=True),
    ]
    try:
        for act in acts:
            with pytest.raises(HookRuns) as raised:
                act()
            assert raised.value.server == "web1"
    finally:
        world.touch("go-on")
    assert ended(world).code == 0
    cluster.stage(1, two)
    cluster.open(1, "one")


_CALLER = """
import sys
from edgeguard.cluster import load
from edgeguard.settings import ClusterSettings
cluster = load(sys.argv[1])("test", ClusterSettings.model_validate_json(sys.argv[2]))
cluster.run_hook(1, "deploy", "web2", limit=60, cancelled=lambda: False)
"""


def test_a_hook_outlives_a_caller_that_is_killed(world: World) -> None:
    closed_with(world, f"{until_told(world)}; exit 5")
    settings = world.cluster_settings().model_dump_json()
    with subprocess.Popen([sys.executable, "-c", _CALLER, world.driver, settings]) as caller:
        until(lambda: world.exists("begun") or caller.poll() is not None, "the hook runs")
        caller.kill()
    with pytest.raises(HookRuns):
        world.cluster.hook_result("one", "deploy", cancelled=lambda: True)
    world.touch("go-on")
    assert (ended(world).server, ended(world).code) == ("web2", 5)


# Its output


def test_each_line_of_a_hook_s_output_comes_while_it_runs(world: World) -> None:
    """The hook goes on only when its first line was heard."""
    closed_with(world, f"echo first; {until_told(world)}; echo last >&2")
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        world.touch("go-on")

    result = world.cluster.run_hook(1, "deploy", "web1", limit=20, cancelled=never, output=hear)
    assert result.code == 0
    assert heard == ["first", "last"]


def test_another_driver_object_hears_the_output_of_a_hook_that_runs_from_its_first_line(world: World) -> None:
    closed_with(world, f"echo first; {until_told(world)}; echo last")
    left_running(world)
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        world.touch("go-on")

    result = world.again().hook_result("one", "deploy", cancelled=never, output=hear)
    assert result is not None
    assert result.code == 0
    assert heard == ["first", "last"]


def test_a_result_has_the_last_lines_of_the_output(world: World) -> None:
    closed_with(world, "for line in $(seq 100); do echo $line; done")
    assert run_hook(world).output.splitlines() == [str(line) for line in range(81, 101)]


def test_a_result_s_output_is_bounded_and_its_end(world: World) -> None:
    closed_with(world, "for line in $(seq 20); do head -c 1000 /dev/zero | tr '\\0' x; echo; done; echo end")
    output = run_hook(world).output
    assert len(output) <= 4000
    assert output.endswith("\nend")


def test_the_log_of_a_hook_has_more_than_its_result(world: World) -> None:
    closed_with(world, "for line in $(seq 100); do echo $line; done")
    result = run_hook(world, "web2")
    if result.log is None:
        pytest.skip("this driver keeps no log of hooks (HookResult.log)")
    assert world.shell("web2", f"cat {result.log}").splitlines() == [str(line) for line in range(1, 101)]


def test_a_hook_may_write_100_megabytes(world: World) -> None:
    """It is neither held up nor ended by what nobody keeps."""
    closed_with(world, "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end; exit 6")
    result = run_hook(world)
    assert result.code == 6
    assert len(result.output) <= 4000
    assert result.output.endswith("end")


def test_a_hook_may_close_its_output(world: World) -> None:
    closed_with(world, "echo begun; exec >&- 2>&-; sleep 0.3; exit 3")
    assert (run_hook(world).code, ended(world).output) == (3, "begun")


# Its end


def test_how_a_hook_ended_can_be_asked_later(world: World) -> None:
    closed_with(world, "echo migrated; exit 3")
    assert world.cluster.hook_result("one", "deploy", cancelled=never) is None
    assert world.cluster.hook_result("one", "post_deploy", cancelled=never) is None
    run_hook(world, "web2")
    assert (ended(world).server, ended(world).code, ended(world).output) == ("web2", 3, "migrated")


def test_a_hook_s_end_is_known_after_another_generation_was_made_current(world: World) -> None:
    """A rollback swaps, and then asks whether the hook ran."""
    closed_with(world, "exit 3")
    run_hook(world)
    closed_on(world, world.generation("two"))
    assert ended(world).code == 3


def test_a_hook_is_ended_at_its_limit_with_all_of_its_session(world: World) -> None:
    """Also what ignores SIGTERM."""
    alive = f"{world.scratch}/alive"
    deaf = f"(trap '' TERM; while :; do touch {alive}; sleep 0.05; done)"
    closed_with(world, f"{deaf} & echo begun; touch {alive}; wait")
    result = run_hook(world, limit=0.5)
    assert result.code is None
    assert result.output.splitlines()[:1] == ["begun"]  # a shell may tell of the kill after that
    assert stopped(world, alive)
    assert ended(world).code is None


def test_a_hook_at_its_limit_gets_sigterm_first(world: World) -> None:
    closed_with(world, "trap 'echo told; exit 0' TERM; echo begun; while :; do sleep 0.05; done")
    assert run_hook(world, limit=0.5).output.splitlines()[-1] == "told"  # a shell may say before that sleep was ended


def test_a_hook_ends_with_its_main_process_and_takes_its_session_along(world: World) -> None:
    alive = f"{world.scratch}/alive"
    closed_with(world, f"(while :; do touch {alive}; sleep 0.05; done) & exit 2")
    assert run_hook(world).code == 2
    assert stopped(world, alive)


def test_a_daemon_that_a_hook_leaves_behind_does_not_hold_the_hook(world: World) -> None:
    """Though it has the hook's output open. It left the hook's session, so it isn't the hook any more."""
    daemon = f"setsid sh -c 'echo $$ > {world.scratch}/pid.new; mv {world.scratch}/pid.new {world.scratch}/pid;"
    closed_with(world, f"{daemon} exec sleep 300' & while [ ! -e {world.scratch}/pid ]; do sleep 0.05; done; exit 2")
    result = run_hook(world, "web2", limit=60)
    pid = world.shell("web2", f"cat {world.scratch}/pid").strip()
    try:
        assert result.code == 2
        assert result.strays in ((), (int(pid),))  # a driver may be unable to tell
        assert world.shell("web2", f"kill -0 {pid} && echo alive") == "alive\n"
        world.cluster.open(1, "one")
    finally:
        world.shell("web2", f"kill -9 {pid}")


def test_a_hook_that_forks_into_sessions_of_its_own_is_waited_for(world: World) -> None:
    """Its main process waits for them, and so does the result."""
    closed_with(world, "setsid sh -c 'sleep 0.3; echo inner' & wait; setsid -w sh -c 'echo last; exit 5' || exit $?")
    result = run_hook(world)
    assert (result.code, result.output) == (5, "inner\nlast")


def test_a_hook_that_kills_the_process_above_it_has_no_known_end(world: World) -> None:
    """A restart of its server does the same. Only a person may say what follows."""
    closed_with(world, f"[ -e {world.scratch}/mended ] && exit 0; kill -9 $PPID || exit 77; exec sleep 0.3")
    unknown: HookUnknown | None = None
    try:
        if run_hook(world).code == 77:
            pytest.skip("hooks of this driver may not signal the process that watches them")
    except HookUnknown as exc:
        unknown = exc
    assert unknown is not None
    assert unknown.server == "web1"
    with pytest.raises(HookUnknown) as raised:
        ended(world)
    assert raised.value.server == "web1"
    with pytest.raises(HookStarted):
        run_hook(world, "web2")
    world.touch("mended")
    assert world.cluster.run_hook(1, "deploy", "web2", limit=20, cancelled=never, again=True).code == 0
    assert ended(world).server == "web2"


def stopped(world: World, alive: str) -> bool:
    """Whether nobody touches this file any more."""
    for server in SERVERS:
        world.shell(server, f"rm -f {alive}")
    threading.Event().wait(0.5)
    return not any(world.shell(server, f"[ -e {alive} ] && echo there") for server in SERVERS)
