"""The gate: closed, drained, open."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import Closure
from edgeguard.errors import NotClosed
from edgeguard.testing.acts import CLOSURE, closed_on, opened
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from edgeguard.testing.world import World


def test_closed_answers_say_so(world: World) -> None:
    opened(world)
    world.cluster.close(1, Closure("d-42", 1_800_000_000))
    for method in ("GET", "HEAD", "POST", "DELETE"):
        status, headers, text = world.ask("/any?thing", method=method, body=b"x" if method == "POST" else None)
        assert status == 500
        assert headers["retry-after"] == "30"
        assert headers["cache-control"] == "no-store"
        assert headers["edgeguard-closed"] == "d-42; until=2027-01-15T08:00:00Z"
        assert not {"edgeguard-release", "x-release", "x-server"} & headers.keys()
        assert "one" not in text


def test_closed_status_and_retry_after_are_settings(world: World) -> None:
    opened(world)
    world.again(closed_status=503, retry_after=7).close(1, CLOSURE)
    status, headers, _ = world.ask()
    assert (status, headers["retry-after"]) == (503, "7")


def test_the_edge_s_check_path_is_answered_with_200_while_closed(world: World) -> None:
    one = opened(world)
    cluster = world.again(edge_check_path="/edge-check")
    cluster.close(1, CLOSURE)
    assert world.ask("/edge-check/more")[0] == 500
    status, headers, _ = world.ask("/edge-check?x")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert "edgeguard-closed" in headers  # so that nobody takes it for the site's own answer
    cluster.open(1, one.name)
    status, headers, text = world.ask()
    assert (status, text) == (200, "one")
    assert "edgeguard-closed" not in headers


def test_a_closure_can_be_said_anew(world: World) -> None:
    """The newest close is the one in force."""
    opened(world)
    world.cluster.close(1, CLOSURE)
    world.cluster.close(1, Closure("d-43", 1_800_000_000))
    assert world.ask()[1].get("edgeguard-closed") == "d-43; until=2027-01-15T08:00:00Z"


def test_no_request_is_let_through_after_the_close_and_none_is_refused_after_the_opening(world: World) -> None:
    """Eight kept-alive connections ask without a pause while the cluster closes and opens. No answer is lost."""
    one = opened(world)
    asked: list[tuple[float, float, int]] = []
    stop = threading.Event()

    def hammer() -> None:
        connection = http.client.HTTPConnection(*world.address, timeout=20)
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
        try:
            for _ in range(20):
                closing = time.monotonic()
                world.cluster.close(1, CLOSURE)
                closed = time.monotonic()
                assert world.cluster.drain(1, 5) == 0
                opening = time.monotonic()
                world.cluster.open(1, one.name)
                closures.append((closing, closed, opening, time.monotonic()))
                time.sleep(0.01)
        finally:
            stop.set()
        for future in hammers:
            future.result()
    assert {status for _, _, status in asked} == {200, 500}
    for began, ended, status in asked:
        inside = any(closed < began and ended < opening for _, closed, opening, _ in closures)
        outside = all(ended < closing or began > opened for closing, _, _, opened in closures)
        assert not (inside and status == 200)
        assert not (outside and status == 500)


def test_drain_waits_for_what_was_let_through_and_the_old_release_answers_it(world: World) -> None:
    opened(world)
    two = world.generation("two")
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(world.ask, f"/wait?{world.scratch}/slow")
        try:
            until(lambda: world.exists("slow.begun"), "the request was let through")
            world.cluster.close(1, CLOSURE)
            drained = threads.submit(world.cluster.drain, 1, 15)
            time.sleep(0.2)
            assert not drained.done()
        finally:
            world.touch("slow.go")
        assert drained.result() == 0
        assert slow.result()[::2] == (200, "one")
    closed_on(world, two)


def test_drain_cuts_what_is_not_answered_at_its_limit_and_counts_it(world: World) -> None:
    opened(world)
    with ThreadPoolExecutor(2) as threads:
        slow = [threads.submit(world.ask, f"/wait?{world.scratch}/{number}") for number in range(2)]
        until(lambda: world.exists("0.begun") and world.exists("1.begun"), "the requests were let through")
        world.cluster.close(1, CLOSURE)
        assert world.cluster.drain(1, 0.1) == 2
        for future in slow:
            with pytest.raises((OSError, http.client.HTTPException)):
                future.result()
    assert world.cluster.drain(1, 0.1) == 0
    assert world.ask()[0] == 500


def test_an_open_gate_is_not_drained(world: World) -> None:
    opened(world)
    with pytest.raises(NotClosed):
        world.cluster.drain(1, 1)
    assert world.ask_all("/") == dict.fromkeys(SERVERS, "one")


def test_a_gate_that_died_is_told_of_and_closes_and_opens_again(world: World) -> None:
    one = opened(world)
    world.end_gate()
    assert {state.gate for state in world.cluster.state()} <= {False, None}
    assert [state.open for state in world.cluster.state()] == [False] * 3
    world.cluster.close(1, CLOSURE)
    assert world.ask()[0] == 500
    assert {state.gate for state in world.cluster.state()} <= {True, None}
    world.cluster.open(1, one.name)
    assert world.ask_all("/") == dict.fromkeys(SERVERS, "one")
