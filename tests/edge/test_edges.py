"""The suite for every class that implements Edge: both mechanisms, each on a stand-in of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.claim import SUPPORT_SLOTS, Claim
from edgeguard.edge.clock import edge_clock
from edgeguard.edge.mechanisms import MECHANISMS
from edgeguard.errors import UsageError
from edgeguard.settings import ClaimSettings
from edgeguard.site.asking import ask
from tests.edge.standin_edge import BASE, CEILING, TOKEN, StandinEdge, running_standin_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeguard.edge import Copy, Edge
    from edgeguard.settings import Mechanism

HARD = False
TTL = 10


@pytest.fixture(scope="module", params=sorted(MECHANISMS))
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    name: Mechanism = request.param
    return name


@pytest.fixture(scope="module")
def its_standin_edge(mechanism: Mechanism) -> Iterator[StandinEdge]:  # noqa: ARG001 (a stand-in for each)
    with running_standin_edge() as standin_edge:
        yield standin_edge


@pytest.fixture
def standin_edge(its_standin_edge: StandinEdge) -> StandinEdge:
    its_standin_edge.reset()
    return its_standin_edge


@pytest.fixture
def edge(standin_edge: StandinEdge, mechanism: Mechanism) -> Edge:
    """The edge, with its policy or setting in the service."""
    edge = MECHANISMS[mechanism](standin_edge.settings, TOKEN, ask)
    edge.install("the tests")
    return edge


def calls(standin_edge: StandinEdge) -> int:
    """The number of calls that the API has answered."""
    return len(standin_edge.control("GET", "/history"))


def visited(standin_edge: StandinEdge, cache: str = f"max-age={TTL}") -> str:
    """A page that the edge has a copy of."""
    path = standin_edge.page(cache=cache)
    assert [standin_edge.get(path).status for _ in range(2)] == [200, 200]
    return path


@contextmanager
def closed(standin_edge: StandinEdge) -> Iterator[None]:
    standin_edge.origin.closed = True
    try:
        yield
    finally:
        standin_edge.origin.closed = False


def copy_of(standin_edge: StandinEdge, edge: Edge, path: str) -> Copy:
    return edge.copy(ask(standin_edge.url + path, headers=edge.asking, timeout=10).headers)


# -- what is in the service ------------------------------------------------------------------------------------------


def test_installing_leaves_no_difference_and_no_conflict_and_writes_nothing_the_second_time(
    standin_edge: StandinEdge, edge: Edge
) -> None:
    found, active = edge.policy(), edge.active_version()
    again = edge.install("again")

    assert (found.revision, found.differences) == (edge.revision, ())
    assert (again.version, again.diff) == (found.version, "")
    assert (active.number, active.fit, active.conflicts()) == (standin_edge.active(), True, ())
    assert edge.in_words(found) != edge.in_words(edge.remove("the tests"))


def test_a_service_that_runs_no_vcl_is_not_fit(standin_edge: StandinEdge, edge: Edge) -> None:
    standin_edge.control("POST", "/plants", {"type": "wasm"})
    try:
        active = edge.active_version()
    finally:
        standin_edge.control("DELETE", "/plants")

    assert not active.fit
    assert [finding.name for finding in active.conflicts()] == ["compute-service"]


def test_remove_says_whether_it_leaves_something_behind(standin_edge: StandinEdge, edge: Edge) -> None:
    edge.remove("the tests", dictionary=True)
    path = visited(standin_edge)
    standin_edge.later(TTL + 1)
    with closed(standin_edge):
        served = standin_edge.get(path).status == 200

    assert served is bool(edge.left_by_remove)


def test_a_promise_that_would_not_be_kept_is_found(edge: Edge) -> None:
    def found(promised: int) -> bool:
        headers = {"cache-control": f"max-age=60, stale-if-error={promised}"}
        return edge.shortened("https://www.example.com/", headers) is not None

    assert found(edge.base + 1)
    assert not found(edge.base)
    assert not found(CEILING), "gates add that for the policy's sake"


def test_a_token_that_is_fit_has_no_finding(edge: Edge) -> None:
    assert edge.token_findings(now=edge_clock(edge)(), lasting=3600) == ()


# -- the grace -------------------------------------------------------------------------------------------------------


def test_without_a_claim_a_page_is_served_for_the_base_and_no_longer(standin_edge: StandinEdge, edge: Edge) -> None:
    path = visited(standin_edge)
    with closed(standin_edge):
        standin_edge.later(TTL + edge.base - 5)
        last = standin_edge.get(path).status
        standin_edge.later(10)
        after = standin_edge.get(path).status

    assert last == 200
    assert after >= 500


def test_a_claim_is_granted_or_refused_with_a_reason(standin_edge: StandinEdge, edge: Edge) -> None:
    if not edge.claims:
        with pytest.raises(UsageError, match=r"edge\.mechanism"):
            edge.require_claims()
        return
    slot, until = SUPPORT_SLOTS[0], standin_edge.now() + 600
    edge.require_claims()
    edge.write({slot: Claim(slot, until, BASE + 600, "abcd1234").value()})

    assert edge.status().grace == BASE + 600
    assert edge.items()[slot] == edge.status().slots[slot]
    edge.write({slot: None})
    assert edge.status().grace == edge.base


def test_the_installed_grant_is_told(standin_edge: StandinEdge, edge: Edge) -> None:
    granted = edge.active_version().granted()

    assert (granted.base, granted.ceiling) == (BASE, CEILING)
    assert granted.dictionary == (standin_edge.settings.dictionary if edge.claims else None)


# -- as anybody sees it ----------------------------------------------------------------------------------------------


def test_without_a_token_it_can_be_looked_at_and_no_more(
    standin_edge: StandinEdge, edge: Edge, mechanism: Mechanism
) -> None:
    visible = MECHANISMS[mechanism](standin_edge.settings, None, ask)
    path = visited(standin_edge)
    before = calls(standin_edge)

    assert (visible.claims, visible.base, visible.revision) == (edge.claims, edge.base, edge.revision)
    assert copy_of(standin_edge, visible, path).hit
    assert calls(standin_edge) == before
    with pytest.raises(AssertionError):
        visible.items()
    assert calls(standin_edge) == before


def test_an_answer_tells_of_the_copy(standin_edge: StandinEdge, edge: Edge) -> None:
    path = standin_edge.page(cache="max-age=100")
    missed, copy = (copy_of(standin_edge, edge, path) for _ in range(2))

    assert not missed.hit
    assert (copy.hit, copy.told, copy.stale) == (True, True, None)
    assert copy.ttl == pytest.approx(100, abs=5)
    assert (copy.stale_if_error or 0) >= edge.base


@pytest.mark.parametrize(
    ("cache", "refusal"),
    [("max-age=60", None), ("private", "private"), ("no-store, max-age=0", "no-store"), ("max-age=0", "no-ttl")],
)
def test_a_page_has_a_copy_unless_its_headers_refuse_one(
    standin_edge: StandinEdge, edge: Edge, cache: str, refusal: str | None
) -> None:
    path = standin_edge.page(cache=cache)
    answer = [ask(standin_edge.url + path, headers=edge.asking, timeout=10) for _ in range(2)][-1]
    said = edge.freshness(answer.headers).refusal

    assert (said[0] if said else None) == refusal
    assert edge.copy(answer.headers).hit is (refusal is None)
    assert edge.keeps(answer.status)


# -- purges ----------------------------------------------------------------------------------------------------------


def test_a_softly_purged_page_is_still_served_while_the_origin_is_closed(standin_edge: StandinEdge, edge: Edge) -> None:
    soft, hard = (standin_edge.page(cache="max-age=1000", more={"Surrogate-Key": key}) for key in ("one", "two"))
    for path in (soft, hard):
        standin_edge.get(path)
    edge.purge(["one"])
    edge.purge(["two"], soft=HARD)
    with closed(standin_edge):
        answers = [standin_edge.get(path).status for path in (soft, hard)]

    assert answers[0] == 200
    assert answers[1] >= 500


def test_the_slices_reach_every_page_or_there_are_none(standin_edge: StandinEdge, edge: Edge) -> None:
    paths = [standin_edge.page(cache="max-age=1000") for _ in range(10)]
    for path in paths:
        standin_edge.get(path)
    for keys in edge.slices:
        assert [list(batch) for batch in edge.batches(keys)] == [list(keys)], "a slice is one call"
        edge.purge(keys)
    for path in paths:
        standin_edge.get(path)

    assert {standin_edge.asked(path) for path in paths} == {2 if edge.slices else 1}


def test_keys_go_in_batches_each_once_and_one_that_is_no_key_stops_them_all(
    standin_edge: StandinEdge, edge: Edge
) -> None:
    keys = [f"key-{number}" for number in range(300)]
    batches = list(edge.batches([*keys, "key-0"]))
    before = calls(standin_edge)
    with pytest.raises(UsageError, match="two words"):
        edge.purge([*keys, "two words"])

    assert [key for batch in batches for key in batch] == keys
    assert len(batches) > 1
    assert calls(standin_edge) == before


# -- in words --------------------------------------------------------------------------------------------------------


def test_it_explains_the_calls_of_a_deploy(edge: Edge) -> None:
    said = {
        phase: edge.explain(phase, slot="deploy0", claim=ClaimSettings())
        for phase in ("preflight", "claim", "open", "purge", "release", "hook")
    }
    writes = [phase for phase, lines in said.items() if any("PATCH" in line for line in lines)]

    assert said["hook"] == ()
    assert said["claim"]
    assert len(said["purge"]) == 1
    assert writes == (["claim", "open", "release"] if edge.claims else [])
    assert TOKEN not in str(said)
