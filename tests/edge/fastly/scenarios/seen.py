"""Scenarios about questions that Fastly's documentation leaves open, and about the policy's traces in answers and in
requests to the origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.claim import SLOTS
from edgeguard.edge.fastly import policy
from tests.edge.fastly.scenarios.telling import PASS, SHORT_PAGE, cached, ours, scenario
from tests.edge.standin_edge import BASE

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@scenario()
def a_conditional_fetch_before_miss_may_fail_too(standin_edge: StandinEdge) -> None:
    standin_edge.believe(vcl_miss_before_conditional_fetch=False)
    for hold in (0, 100):
        path = cached(standin_edge, age=15, more={"ETag": '"1"'})
        standin_edge.claim(grace=5 * BASE, hold=hold)
        standin_edge.origin.closed = True
        assert standin_edge.get(path).status == 200, hold
        standin_edge.origin.down()
        assert standin_edge.get(path).status == 200, hold
        standin_edge.origin.closed = False
        standin_edge.origin.up()


@scenario()
def a_limit_known_at_the_lookup_is_enough(standin_edge: StandinEdge) -> None:
    standin_edge.believe(limit_set_after_lookup_counts=False)
    path = cached(standin_edge, age=10 + 2 * BASE)
    standin_edge.origin.closed = True
    assert standin_edge.get(path).status == SHORT_PAGE
    standin_edge.claim(grace=5 * BASE)
    assert standin_edge.get(path).status == 200


@scenario()
def who_asks_is_told_whether_there_was_a_copy(standin_edge: StandinEdge) -> None:
    """Beyond the grace there is no copy. Other visitors get no such header, neither now nor later from the cache."""
    path = standin_edge.page()
    word, at = standin_edge.get(path).headers.get("edgeguard-copy", "nothing 0").split()
    assert (word, abs(int(at) - standin_edge.now()) < 5) == ("none", True)
    assert "edgeguard-copy" not in standin_edge.get(path, Edgeguard_Show="1").headers
    for seconds, expected in ((15, "stale"), (100, "none")):
        standin_edge.later(seconds)
        assert standin_edge.get(path).headers["edgeguard-copy"].startswith(f"{expected} ")
    standin_edge.later(15)
    assert "edgeguard-copy" not in standin_edge.get(path, Edgeguard_Show="1").headers
    assert "edgeguard-copy" not in standin_edge.get(path).headers


@scenario()
def only_who_asks_is_told_of_a_stale_answer(standin_edge: StandinEdge) -> None:
    for more in ({}, {"Edgeguard-Stale": "the origin's own word"}):
        path = cached(standin_edge, age=15, more=more)
        standin_edge.origin.closed = True
        assert standin_edge.get(path).stale == "error"
        for show in ("", "1", "other"):
            page = standin_edge.get(path, Edgeguard_Show=show)
            assert (page.status, page.stale) == (200, None)
        standin_edge.origin.closed = False


@scenario()
def a_refusal_without_a_copy_is_told_as_it_is(standin_edge: StandinEdge) -> None:
    """Not as Fastly's "No stale object available"."""
    standin_edge.origin.down()
    page = standin_edge.get(standin_edge.page())
    assert page.status == 503
    assert b"Connection refused" in page.body


@scenario(PASS)
def the_origin_sees_none_of_our_headers(standin_edge: StandinEdge) -> None:
    sent = {"Edgeguard_Asked": "x", "Edgeguard_Hold": "1", "Edgeguard_Grace": "1"}
    standin_edge.get(standin_edge.page(), **sent)
    standin_edge.get(standin_edge.page(), Cookie="a=b", **sent)
    assert (len(standin_edge.origin.asked), ours(standin_edge)) == (2, [])


@scenario()
def the_status_tells_what_this_node_sees(standin_edge: StandinEdge) -> None:
    value = standin_edge.claim("deploy1", grace=5 * BASE, hold=100)
    seen = standin_edge.edge.status()
    assert dict.fromkeys(SLOTS, "0:0") | {"deploy1": value} == seen.slots
    assert (seen.base, seen.grace, seen.hold) == (BASE, 5 * BASE, True)
    assert abs(seen.now - standin_edge.now()) <= 1
    assert (seen.node[:6], seen.revision) == ("cache-", policy.revision(standin_edge.settings))
    page = standin_edge.get("/edgeguard-status")
    assert (page.status, page.headers.get("cache-control")) == (200, "no-store")
    assert page.headers.get("content-type", "").startswith("text/plain")
    assert standin_edge.origin.asked == []


@scenario()
def the_status_is_at_its_path_only(standin_edge: StandinEdge) -> None:
    for path in ("/edgeguard-status/", "/edgeguard-statusx", "/a/edgeguard-status", "/"):
        assert standin_edge.get(path).status == 404
    assert standin_edge.get("/edgeguard-status?x=1").status == 200
