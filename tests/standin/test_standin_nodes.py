"""More than one node: a second one that visitors meet, a shield behind them, and clusters."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin, SwitchableOrigin

FIRST, SECOND, SHIELD = "cache-standin1-LO", "cache-standin2-LO", "cache-shield1-LO"
DEBUG = {"Fastly-Debug": "1"}
_paths = (f"/nodes/{number}" for number in itertools.count())


@pytest.fixture
def path() -> str:
    return next(_paths)


@pytest.fixture(autouse=True)
def one_node(standin: Standin) -> Iterator[None]:
    yield
    standin.set("nodes", edges=1, shield=False, clustered=False, lag=0)
    standin.install()


def visit(standin: Standin, path: str, node: str = FIRST, **headers: str) -> httpx.Response:
    """By a node of choice: new connections take turns."""
    while True:
        with httpx.Client(base_url=standin.edge_url, trust_env=False) as visitor:
            if visitor.get("/which").headers["X-Served-By"].endswith(node):
                return visitor.get(path, headers=headers)


def test_nodes_take_turns_and_each_has_a_cache_of_its_own(
    standin: Standin, origin: SwitchableOrigin, path: str
) -> None:
    standin.set("nodes", edges=2)
    seen = [visit(standin, path, node).headers["X-Cache"] for node in (FIRST, SECOND, FIRST, SECOND)]
    assert seen == ["MISS", "MISS", "HIT", "HIT"]
    assert len([where for _, where, *_ in origin.asked if where == path]) == 2


def test_a_connection_stays_with_its_node(standin: Standin) -> None:
    standin.set("nodes", edges=2)
    with httpx.Client(base_url=standin.edge_url, trust_env=False) as visitor:
        assert len({visitor.get("/").headers["X-Served-By"] for _ in range(4)}) == 1


def test_a_purge_reaches_every_node(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(cache_control="max-age=100", surrogate_key="page")
    standin.set("nodes", edges=2, shield=True)
    for purge in ("/purge/page", "/purge_all"):
        for node in (FIRST, SECOND):
            visit(standin, path, node)
        standin.ok("POST", purge)
        assert [visit(standin, path, node).headers["X-Cache"] for node in (FIRST, SECOND)] == [
            "MISS, MISS",
            "HIT, MISS",
        ]


def test_the_last_node_lags_behind_the_others(standin: Standin) -> None:
    dictionary = standin.install(dictionary="policy", recv='error 601 table.lookup(policy, "k", "not yet");')
    standin.set("nodes", edges=2, lag=0.4)
    began = time.monotonic()
    standin.ok("PUT", f"/dictionary/{dictionary}/item/k", data={"item_value": "seen"})
    first = visit(standin, "/", FIRST).reason_phrase
    second = visit(standin, "/", SECOND).reason_phrase
    assert first == "seen"
    assert second == "not yet" or time.monotonic() - began > 0.4
    while visit(standin, "/", SECOND).reason_phrase != "seen":
        assert time.monotonic() - began < 10
    assert time.monotonic() - began >= 0.4


def test_a_shield_runs_the_same_code_and_asks_the_origin_for_all(
    standin: Standin, origin: SwitchableOrigin, path: str
) -> None:
    standin.install(
        recv="set req.http.Visits = fastly.ff.visits_this_service;",
        deliver='set resp.http.Visits = if(resp.http.Visits, resp.http.Visits, "") req.http.Visits;',
    )
    standin.set("nodes", edges=2, shield=True)
    origin.answers(cache_control="max-age=100", surrogate_key="k")
    answers = [visit(standin, path, node, **DEBUG) for node in (FIRST, SECOND)]
    assert [answer.headers["X-Cache"] for answer in answers] == ["MISS, MISS", "HIT, MISS"]
    assert [answer.headers["X-Served-By"] for answer in answers] == [f"{SHIELD}, {FIRST}", f"{SHIELD}, {SECOND}"]
    assert [answer.headers["Visits"] for answer in answers] == ["10", "10"]
    assert answers[0].headers["Surrogate-Key"] == "k"
    [asked] = [headers for _, where, headers, _ in origin.asked if where == path]
    assert "fastly-ff" not in asked
    by_edge, by_shield = answers[1].headers["Fastly-Debug-TTL"].split(") (")
    assert (by_edge.split()[:2], by_shield.split()[:2]) == (["(M", SECOND], ["H", SHIELD])


def test_a_shields_age_counts(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(cache_control="max-age=100")
    standin.set("nodes", edges=2, shield=True)
    visit(standin, path, FIRST)
    standin.set("clock", skew=60)
    answer = visit(standin, path, SECOND, **DEBUG)
    assert 60 <= int(answer.headers["Age"]) <= 65
    assert 35 <= float(answer.headers["Fastly-Debug-TTL"].split()[2]) <= 40


def test_a_visitor_is_no_node(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(cache_control="max-age=100", surrogate_key="k")
    assert "Surrogate-Key" not in visit(standin, path, **{"Fastly-FF": "forged"}).headers


def test_what_a_neighbour_sets_does_not_come_back(standin: Standin, path: str) -> None:
    """And a hop to it counts as a visit, as Fastly's documentation says of that variable."""
    standin.install(
        recv='set req.http.Set-In = "recv";',
        miss='set req.http.Set-In = "miss";',
        fetch="set beresp.http.Visits = fastly.ff.visits_this_service;",
        deliver="set resp.http.Set-In = req.http.Set-In; set resp.http.Here = fastly.ff.visits_this_service;",
    )
    standin.set("nodes", clustered=True)
    pages = [f"{path}/{number}" for number in range(2)]
    answers = [standin.edge.get(page, headers=DEBUG) for page in pages]
    seen = [(answer.headers["Set-In"], answer.headers["Visits"], answer.headers["Here"]) for answer in answers]
    assert sorted(seen) == [("miss", "0", "0"), ("recv", "1", "0")]
    times = [standin.edge.get(pages[0], headers=DEBUG).headers["Fastly-Debug-TTL"].split()[2:4] for _ in range(2)]
    assert (["-", "-"] in times, len({tuple(one) for one in times})) == (True, 2)


@pytest.mark.parametrize("content", [{"edges": 0}, {"edges": 3}, {"shield": "yes"}, {"lag": -1}, {"nodes": 1}])
def test_what_there_is_not_is_refused(standin: Standin, content: dict[str, object]) -> None:
    before = standin.control.get("/nodes").json()
    assert standin.control.post("/nodes", json=content).status_code == 400
    assert (
        standin.control.get("/nodes").json()
        == before
        == {
            "edges": 1,
            "shield": False,
            "clustered": False,
            "lag": 0,
        }
    )
