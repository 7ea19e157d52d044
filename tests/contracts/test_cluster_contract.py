"""What every driver keeps. A driver of your own: add its world to WORLDS."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import Closure, Cluster
from edgeguard.errors import ClusterError, Fenced, HookRuns, Interrupted
from tests.contracts.world import CLOSURE, SERVERS, START, LocalWorld, ask, deploy, lock, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgeguard.cluster import Generation
    from tests.contracts.world import World


WORLDS = {"local": LocalWorld}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Servers that nothing was deployed to, through each driver in turn."""
    world: World = WORLDS[request.param](tmp_path)
    try:
        yield world
    finally:
        world.end()


def never() -> bool:
    return False


def opened(world: World, **hooks: str) -> Generation:
    """A world whose servers serve the release `one`, under epoch 1."""
    lock(world)
    one = world.generation("one", hooks=hooks)
    deploy(world, 1, one)
    return one


def closed_on(world: World, generation: Generation) -> None:
    """Close and drain, and make a generation current."""
    world.cluster.stage(1, generation)
    world.cluster.close(1, CLOSURE)
    world.cluster.drain(1, 5)
    world.cluster.swap(1, generation.name)


def say(world: World) -> list[tuple[str | None, str | None, str | None, bool]]:
    return [(state.generation, state.release, state.running, state.open) for state in world.cluster.state()]


# The record


def test_a_server_without_a_record_has_none(world: World) -> None:
    assert world.cluster.read_record() == dict.fromkeys(SERVERS)


def test_record_is_read_as_it_was_written(world: World) -> None:
    lock(world)
    world.cluster.write_record(1, {"version": 1, "lock": {"holder": "ünï"}, "target": None})
    expected = {"version": 1, "epoch": 1, "lock": {"holder": "ünï"}, "target": None}
    assert world.again().read_record() == dict.fromkeys(SERVERS, expected)


def test_record_of_another_epoch_is_refused_and_stays(world: World) -> None:
    lock(world, 1)
    lock(world, 2)
    for expected in (None, 0, 1, 3):
        with pytest.raises(Fenced, match="web1"):
            world.cluster.write_record(1, {"version": 1, "late": True}, expected=expected)
    assert {2} == {(record or {})["epoch"] for record in world.cluster.read_record().values()}


def test_who_takes_the_lock_takes_a_server_along_that_lags_behind(world: World) -> None:
    world.cluster.write_record(5, {"version": 1}, expected=4)
    assert {5} == {(record or {})["epoch"] for record in world.cluster.read_record().values()}


def test_of_many_who_take_the_lock_at_once_one_wins(world: World) -> None:
    lock(world)
    barrier = threading.Barrier(8)

    def take(holder: int) -> bool:
        barrier.wait()
        try:
            world.again().write_record(2, {"holder": holder}, expected=1)
        except Fenced:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(take, range(8)))
    assert won.count(True) == 1
    holders = {(record or {})["holder"] for record in world.cluster.read_record().values()}
    assert {won.index(True)} == holders


# A deploy


def test_before_the_first_deploy_all_is_closed_and_nothing_runs(world: World) -> None:
    assert say(world) == [(None, None, None, False)] * 3
    assert list(SERVERS) == [state.name for state in world.cluster.state()]


def test_staging_changes_nothing_that_visitors_see(world: World) -> None:
    opened(world)
    before = say(world)
    world.cluster.stage(1, world.generation("two"))
    assert before == say(world)
    assert ask(world.port)[2] == "one"


def test_a_deploy_replaces_the_release_on_all_servers(world: World) -> None:
    one = opened(world)
    assert [("one", one.release, one.release, True)] * 3 == say(world)
    two = world.generation("two")
    deploy(world, 1, two)
    assert [("two", two.release, two.release, True)] * 3 == say(world)
    answers = [ask(world.port) for _ in range(6)]
    assert {(200, "two")} == {(status, text) for status, _, text in answers}
    assert set(SERVERS) == {headers["x-server"] for _, headers, _ in answers}


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
        first = (call(), say(world))
        assert first == (call(), say(world))
    assert [(two.name, two.release, two.release, True)] * 3 == say(world)


def test_a_server_that_runs_the_generation_already_is_left_alone(world: World) -> None:
    one = opened(world)
    before = {ask(world.port, "/pid")[2] for _ in range(3)}
    world.cluster.swap(1, one.name)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, one.name)
    world.cluster.open(1, one.name)
    assert before == {ask(world.port, "/pid")[2] for _ in range(3)}


def test_processes_get_the_variables_and_their_server_s_name(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one", GREETING="a b\nc'\"$x"))
    assert ask(world.port, "/env?GREETING")[2] == "a b\nc'\"$x"
    assert set(SERVERS) == {ask(world.port, "/env?EDGEGUARD_SERVER")[2] for _ in range(3)}
    assert len({ask(world.port, "/env?PORT")[2] for _ in range(3)}) == 3


def test_processes_get_nothing_of_the_deploy_s_own_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTLY_API_TOKEN", "sesame")
    opened(world)
    assert ask(world.port, "/env?FASTLY_API_TOKEN")[2] == ""


def test_the_record_survives_deploys_and_other_drivers_see_the_same(world: World) -> None:
    opened(world)
    assert say(world) == [
        (state.generation, state.release, state.running, state.open) for state in world.again().state()
    ]


# An old holder of the lock

OLD_CALLS: dict[str, Callable[[Cluster, Generation], object]] = {
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


def test_an_old_holder_can_change_nothing(world: World, tmp_path: Path) -> None:
    opened(world, deploy=f"touch {tmp_path}/hook")
    two = world.generation("two")
    world.cluster.stage(1, two)
    lock(world, 2)
    before = say(world)
    for name, call in OLD_CALLS.items():
        with pytest.raises(Fenced):
            call(world.cluster, two)
        assert before == say(world), name
    world.cluster.close(2, CLOSURE)
    with pytest.raises(Fenced):
        world.cluster.open(1, "one")
    assert ask(world.port)[0] == 500
    assert not (tmp_path / "hook").exists()


# Closed


def test_closed_answers_say_so(world: World) -> None:
    opened(world)
    world.cluster.close(1, Closure("d-42", 1_800_000_000))
    for method in ("GET", "HEAD", "POST", "DELETE"):
        status, headers, text = ask(world.port, "/any?thing", method=method, body=b"x" if method == "POST" else None)
        assert status == 500
        assert headers["retry-after"] == "30"
        assert headers["cache-control"] == "no-store"
        assert headers["edgeguard-closed"] == "d-42; until=2027-01-15T08:00:00Z"
        assert "edgeguard-release" not in headers
        assert (method == "HEAD") == (text == "")


def test_closed_status_and_the_edge_s_check_path_are_configurable(world: World) -> None:
    one = opened(world)
    cluster = world.again(closed_status=503, edge_check_path="/edge-check")
    cluster.close(1, CLOSURE)
    assert ask(world.port)[0] == 503
    assert ask(world.port, "/edge-check/more")[0] == 503
    status, headers, _ = ask(world.port, "/edge-check?x")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert "edgeguard-closed" in headers  # so that nobody takes it for the site's own answer
    cluster.open(1, one.name)
    assert ask(world.port)[2] == "one"


def test_no_answer_of_the_servers_begins_after_the_close(world: World) -> None:
    """Eight kept-alive connections ask without a pause while the cluster closes and opens: what was asked after close
    had returned is refused, what was asked after open had returned is let through, and nothing is ever dropped."""
    one = opened(world)
    asked: list[tuple[float, float, int]] = []
    stop = threading.Event()

    def hammer() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=10)
        mine = []
        while not stop.is_set():
            began = time.monotonic()
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            mine.append((began, time.monotonic(), answer.status))
        connection.close()
        asked.extend(mine)

    closures: list[tuple[float, float, float, float]] = []
    with ThreadPoolExecutor(8) as threads:
        hammers = [threads.submit(hammer) for _ in range(8)]
        for _ in range(20):
            closing = time.monotonic()
            world.cluster.close(1, CLOSURE)
            closed = time.monotonic()
            assert world.cluster.drain(1, 5) == 0
            opening = time.monotonic()
            world.cluster.open(1, one.name)
            closures.append((closing, closed, opening, time.monotonic()))
            time.sleep(0.01)
        stop.set()
        for future in hammers:
            future.result()
    assert {200, 500} == {status for _, _, status in asked}
    for began, ended, status in asked:
        inside = any(closed < began and ended < opening for _, closed, opening, _ in closures)
        outside = all(ended < closing or began > opened for closing, _, _, opened in closures)
        assert not (inside and status == 200)
        assert not (outside and status == 500)


def test_drain_waits_for_what_was_let_through_and_the_old_release_answers_it(world: World, tmp_path: Path) -> None:
    opened(world)
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(ask, world.port, f"/slow?0.4&{tmp_path}/slow")
        until((tmp_path / "slow.begun").exists, "the request was let through")
        world.cluster.close(1, CLOSURE)
        assert not (tmp_path / "slow.done").exists()
        assert world.cluster.drain(1, 5) == 0
        assert (tmp_path / "slow.done").exists()
        assert (slow.result()[0], slow.result()[2]) == (200, "one")
    closed_on(world, world.generation("two"))


def test_drain_cuts_what_is_not_answered_at_its_limit(world: World, tmp_path: Path) -> None:
    opened(world)
    with ThreadPoolExecutor(2) as threads:
        slow = [threads.submit(ask, world.port, f"/slow?60&{tmp_path}/{number}") for number in range(2)]
        until(lambda: len(list(tmp_path.glob("?.begun"))) == 2, "the requests were let through")
        world.cluster.close(1, CLOSURE)
        assert world.cluster.drain(1, 0.1) == 2
        for future in slow:
            with pytest.raises((OSError, http.client.HTTPException)):
                future.result()
    assert world.cluster.drain(1, 0.1) == 0
    assert ask(world.port)[0] == 500


def test_an_open_cluster_is_neither_drained_nor_swapped(world: World) -> None:
    opened(world)
    world.cluster.stage(1, world.generation("two"))
    with pytest.raises(ClusterError, match="open"):
        world.cluster.drain(1, 1)
    with pytest.raises(ClusterError, match="open"):
        world.cluster.swap(1, "two")
    assert ask(world.port)[2] == "one"


# Swap, check, open


def test_swap_to_nothing(world: World) -> None:
    opened(world)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, None)
    world.cluster.swap(1, None)
    assert say(world) == [(None, None, None, False)] * 3


def test_swap_to_what_was_never_staged(world: World) -> None:
    one = opened(world)
    world.cluster.close(1, CLOSURE)
    with pytest.raises(ClusterError, match="web"):
        world.cluster.swap(1, "never-staged")
    assert [("one", one.release, one.release, False)] * 3 == say(world)


def test_a_swap_that_fails_on_one_server_is_finished_on_the_others_and_can_be_undone(world: World) -> None:
    one = opened(world)
    two = world.generation("two")
    world.cluster.stage(1, two)
    world.cluster.close(1, CLOSURE)
    clear = world.block_swap("web2")
    with pytest.raises(ClusterError, match="web2"):
        world.cluster.swap(1, two.name)
    assert [state.generation for state in world.cluster.state()] == ["two", "one", "two"]
    with pytest.raises(ClusterError, match="web2"):
        world.cluster.open(1, two.name)
    world.cluster.swap(1, one.name)
    world.cluster.check(one)
    world.cluster.open(1, one.name)
    assert [("one", one.release, one.release, True)] * 3 == say(world)
    clear()
    deploy(world, 1, two)


def test_check_names_the_server_that_is_not_healthy_and_what_it_said(world: World) -> None:
    opened(world)
    two = world.generation(
        "two", start="if [ $EDGEGUARD_SERVER = web2 ]; then echo no database >&2; exit 7; fi; exec " + START
    )
    closed_on(world, two)
    with pytest.raises(ClusterError, match=r"(?s)web2.*code 7.*no database"):
        world.cluster.check(two)


def test_check_gives_up_on_a_command_that_keeps_dying_before_the_time_out(world: World) -> None:
    lock(world)
    dying = world.generation("dying", start="exit 3")
    closed_on(world, dying)
    began = time.monotonic()
    with pytest.raises(ClusterError, match="code 3"):
        world.again(start_timeout=60).check(dying)
    assert time.monotonic() - began < 30


def test_check_wants_a_200(world: World) -> None:
    one = opened(world)
    with pytest.raises(ClusterError, match=r"web1.*404"):
        world.again(start_timeout=1, health_path="/status?404").check(one)
    with pytest.raises(ClusterError, match=r"web1.*no answer"):
        world.again(start_timeout=0.3, health_path="/slow?2").check(one)


def test_check_gives_up_when_it_is_told_to(world: World) -> None:
    one = opened(world)
    with pytest.raises(Interrupted, match=r"web\d.*404"):
        world.again(start_timeout=600, health_path="/status?404").check(one, cancelled=lambda: True)


def test_check_wants_this_generation(world: World) -> None:
    opened(world)
    two = world.generation("two")
    world.cluster.stage(1, two)
    with pytest.raises(ClusterError, match="two"):
        world.cluster.check(two)


def test_check_notices_a_change_of_the_image(world: World) -> None:
    one = opened(world)
    file = one.image / "app" / "release"
    file.chmod(0o644)
    with pytest.raises(ClusterError, match="app/release") as raised:
        world.cluster.check(one)
    assert "emove" not in raised.value.remedy  # what serves is never in the way
    assert any("app/release" in said for said in world.cluster.differences(one))


def test_what_was_changed_since_it_was_opened_can_be_put_back_if_it_is_healthy(world: World) -> None:
    one = opened(world)
    assert list(world.cluster.differences(one)) == []
    file = one.image / "app" / "release"
    file.chmod(0o644)
    file.write_text("patched", encoding="utf-8")
    closed_on(world, world.generation("two"))
    world.cluster.swap(1, one.name)
    with pytest.raises(ClusterError, match=r"web1.*404"):
        world.again(start_timeout=1, health_path="/status?404").check(one, whole=False)
    world.cluster.check(one, whole=False)
    world.cluster.open(1, one.name)
    assert ask(world.port)[::2] == (200, "patched")


def test_all_servers_open_or_none(world: World) -> None:
    one = opened(world)
    world.cluster.close(1, CLOSURE)
    with pytest.raises(ClusterError):
        world.cluster.open(1, "two")
    world.cluster.swap(1, None)
    with pytest.raises(ClusterError):
        world.cluster.open(1, one.name)
    assert [state.open for state in world.cluster.state()] == [False] * 3
    assert ask(world.port)[0] == 500


def test_a_dead_application_is_started_again(world: World) -> None:
    one = opened(world)
    for _ in SERVERS:
        with pytest.raises((OSError, http.client.HTTPException)):
            raise_unless_200(ask(world.port, "/exit"))
    world.cluster.check(one)
    assert {(200, "one")} == {(status, text) for status, _, text in (ask(world.port) for _ in range(6))}


def raise_unless_200(answer: tuple[int, dict[str, str], str]) -> None:
    if answer[0] != 200:
        raise http.client.HTTPException(answer[0])


def test_no_visitor_notices_one_dead_server_of_three(world: World, tmp_path: Path) -> None:
    """While a server is down its turn goes to the next one."""
    lock(world)
    flag = tmp_path / "gone"
    start = f"[ -e {flag} ] && exit 1; exec {START}"
    deploy(world, 1, world.generation("one", start=start))
    flag.touch()
    with pytest.raises((OSError, http.client.HTTPException)):
        raise_unless_200(ask(world.port, "/exit"))
    assert [ask(world.port)[0] for _ in range(30)] == [200] * 30


# Hooks


def test_the_deploy_hook_runs_on_the_server_that_was_named(world: World) -> None:
    lock(world)
    script = "echo $EDGEGUARD_SERVER $GREETING; cat release; echo oops >&2"
    closed_on(world, world.generation("one", hooks={"deploy": script}, GREETING="hello"))
    result = world.cluster.run_hook(1, "deploy", "web2", limit=10, cancelled=never)
    assert (result.server, result.code, result.output) == ("web2", 0, "web2 hello\noneoops")


def test_the_deploy_hook_never_starts_twice_for_one_generation(world: World, tmp_path: Path) -> None:
    lock(world)
    closed_on(world, world.generation("one", hooks={"deploy": f"echo >> {tmp_path}/starts; exit 4"}))
    assert world.cluster.run_hook(1, "deploy", "web1", limit=10, cancelled=never).code == 4
    for server in SERVERS:
        with pytest.raises(ClusterError, match="web1"):
            world.again().run_hook(1, "deploy", server, limit=10, cancelled=never)
    assert (tmp_path / "starts").read_text(encoding="utf-8") == "\n"


def test_the_deploy_hook_does_not_start_while_a_server_is_open(world: World, tmp_path: Path) -> None:
    opened(world, deploy=f"touch {tmp_path}/hook")
    with pytest.raises(ClusterError, match="open"):
        world.cluster.run_hook(1, "deploy", "web1", limit=10, cancelled=never)
    assert not (tmp_path / "hook").exists()


def test_the_post_deploy_hook_runs_while_open(world: World) -> None:
    opened(world, post_deploy="echo warm")
    result = world.cluster.run_hook(1, "post_deploy", "web3", limit=10, cancelled=never)
    assert (result.code, result.output) == (0, "warm")


@pytest.mark.parametrize("server", SERVERS)
def test_a_person_may_say_again(world: World, tmp_path: Path, server: str) -> None:
    """On whatever server: what counts then is how it ended the second time."""
    lock(world)
    closed_on(world, world.generation("one", hooks={"deploy": f"echo >> {tmp_path}/starts; [ -e {tmp_path}/mended ]"}))
    assert world.cluster.run_hook(1, "deploy", "web1", limit=10, cancelled=never).code == 1
    (tmp_path / "mended").touch()
    assert world.again().run_hook(1, "deploy", server, limit=10, cancelled=never, again=True).code == 0
    result = world.cluster.hook_result("one", "deploy", cancelled=never)
    assert result is not None
    assert (result.server, result.code) == (server, 0)
    assert (tmp_path / "starts").read_text(encoding="utf-8") == "\n\n"


def test_how_a_hook_ended_can_be_asked_later(world: World) -> None:
    lock(world)
    closed_on(world, world.generation("one", hooks={"deploy": "echo migrated; exit 3"}))
    assert world.cluster.hook_result("one", "deploy", cancelled=never) is None
    world.cluster.run_hook(1, "deploy", "web2", limit=10, cancelled=never)
    result = world.again().hook_result("one", "deploy", cancelled=never)
    assert result is not None
    assert (result.server, result.code, result.output) == ("web2", 3, "migrated")


def test_who_stops_waiting_leaves_the_hook_running(world: World, tmp_path: Path) -> None:
    lock(world)
    go_on = tmp_path / "go-on"
    script = f"touch {tmp_path}/started; while [ ! -e {go_on} ]; do sleep 0.05; done; echo done"
    closed_on(world, world.generation("one", hooks={"deploy": script}))
    with pytest.raises(HookRuns, match="web1"):
        world.cluster.run_hook(1, "deploy", "web1", limit=30, cancelled=(tmp_path / "started").exists)
    for refused in (
        lambda: world.again().swap(1, "one" if world.cluster.state()[0].generation != "one" else None),
        lambda: world.again().open(1, "one"),
        lambda: world.again().run_hook(1, "deploy", "web2", limit=5, cancelled=never, again=True),
    ):
        with pytest.raises(ClusterError, match="still runs"):
            refused()
    with pytest.raises(HookRuns):
        world.again().hook_result("one", "deploy", cancelled=lambda: True)
    go_on.touch()
    result = world.again().hook_result("one", "deploy", cancelled=never)
    assert result is not None
    assert (result.code, result.output) == (0, "done")


def test_a_generation_is_found_where_every_server_has_it(world: World) -> None:
    lock(world)
    one = world.generation("one", SECRET="sesame")
    assert world.cluster.generation("one") is None
    world.cluster.stage(1, one)
    found = world.again().generation("one")
    assert found is not None
    assert (found.name, found.release, found.image) == (one.name, one.release, one.image)


def test_a_hook_that_is_not_defined_succeeds(world: World) -> None:
    lock(world)
    closed_on(world, world.generation("one"))
    result = world.cluster.run_hook(1, "deploy", "web1", limit=10, cancelled=never)
    assert (result.server, result.code) == ("web1", 0)


def test_a_hook_is_ended_at_its_limit_with_everything_that_it_started(world: World, tmp_path: Path) -> None:
    lock(world)
    deaf = f"(trap '' TERM; while :; do touch {tmp_path}/alive; sleep 0.05; done)"
    closed_on(world, world.generation("one", hooks={"deploy": f"{deaf} & echo begun; touch {tmp_path}/alive; wait"}))
    result = world.cluster.run_hook(1, "deploy", "web1", limit=0.5, cancelled=never)
    assert (result.code, result.output) == (None, "begun")
    (tmp_path / "alive").unlink()
    time.sleep(0.2)
    assert not (tmp_path / "alive").exists()


def test_values_of_variables_stay_out_of_what_is_said(world: World) -> None:
    lock(world)
    secret = world.generation("one", start="exit 1", hooks={"deploy": "exit 1"}, PASSWORD="sesame")
    closed_on(world, secret)
    said = [repr(secret), *world.cluster.explain("swap", secret), *world.cluster.explain("stage", secret)]
    with pytest.raises(ClusterError) as raised:
        world.again(start_timeout=5).check(secret)
    said += [str(raised.value), raised.value.remedy]
    said.append(repr(world.cluster.run_hook(1, "deploy", "web1", limit=5, cancelled=never)))
    assert "sesame" not in "".join(said)


# After a deploy


def test_prune_keeps_what_is_current_or_named(world: World) -> None:
    generations = {name: world.generation(name) for name in ("one", "two", "three", "four")}
    lock(world)
    for generation in generations.values():
        world.cluster.stage(1, generation)
    closed_on(world, generations["two"])
    world.cluster.prune(1, ["three"])
    for name in ("one", "four"):
        assert not generations[name].image.exists()
        with pytest.raises(ClusterError):
            world.cluster.swap(1, name)
    world.cluster.swap(1, "three")
    world.cluster.check(generations["three"])
    world.cluster.swap(1, "two")
    world.cluster.check(generations["two"])


def test_every_phase_is_explained(world: World) -> None:
    one = world.generation("one", GREETING="hello")
    for phase in ("stage", "stop-tasks", "close", "drain", "swap", "hook", "check", "open"):
        assert world.cluster.explain(phase, one)
    assert list(world.cluster.explain("purge", one)) == []


def test_nothing_is_staged_while_a_deploy_hook_still_runs(world: World, tmp_path: Path) -> None:
    """The command that started it may be long gone: what a hook does then is still going on."""
    lock(world)
    go_on = tmp_path / "go-on"
    script = f"echo >> {tmp_path}/started; while [ ! -e {go_on} ]; do sleep 0.05; done"
    closed_on(world, world.generation("one", hooks={"deploy": script}))
    with ThreadPoolExecutor(1) as pool:
        hook = pool.submit(world.cluster.run_hook, 1, "deploy", "web1", limit=30, cancelled=never)
        try:
            until((tmp_path / "started").exists, "the hook starts")
            with pytest.raises(ClusterError, match="hook of one still runs"):
                world.again().stage(1, world.generation("two"))
        finally:
            go_on.touch()
        assert hook.result().code == 0
    world.again().stage(1, world.generation("three"))


def test_a_server_that_is_left_out_is_neither_asked_nor_changed_nor_opened(world: World, tmp_path: Path) -> None:
    """And it gets no request, though it still runs what it ran."""
    one = opened(world)
    fewer = world.cluster.without(["web3"])
    assert (fewer.servers, fewer.left_out) == (("web1", "web2"), ("web3",))
    assert world.cluster.left_out == ()
    fewer.write_record(2, {"version": 1}, expected=1)
    two = world.generation("two", hooks={"deploy": f"echo >> {tmp_path}/ran"})
    deploy(world, 2, two, fewer)
    assert [(state.name, state.generation, state.open) for state in world.cluster.state()] == [
        *(("web1", "two", True), ("web2", "two", True), ("web3", "one", False)),
    ]
    assert {ask(world.port)[2] for _ in range(12)} == {"two"}
    assert (world.cluster.read_record()["web3"] or {})["epoch"] == 1
    assert fewer.read_record().keys() == {"web1", "web2"}
    assert fewer.generation("two") is not None
    assert world.cluster.generation("two") is None
    assert one.release != two.release


def test_a_server_that_was_left_out_comes_back_with_the_release_of_all(world: World) -> None:
    opened(world)
    fewer = world.cluster.without(["web3"])
    fewer.write_record(2, {"version": 1}, expected=1)
    deploy(world, 2, world.generation("two"), fewer)
    world.cluster.write_record(3, {"version": 1}, expected=2)
    with pytest.raises(ClusterError, match="web3 does not run two"):
        world.cluster.open(3, "two")
    world.cluster.without(fewer.servers).swap(3, None)  # while the others are open
    deploy(world, 3, world.generation("three"))
    assert [(state.generation, state.open) for state in world.cluster.state()] == [("three", True)] * 3


def test_an_old_holder_changes_no_server_that_visitors_reach(world: World) -> None:
    """Who lost the lock to one who left a server out may still reach that server; the gate does not."""
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
    assert {ask(world.port)[2] for _ in range(12)} == {"two"}
