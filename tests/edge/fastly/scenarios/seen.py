"""What Fastly's documentation leaves open, and what visitors and the origin see of the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.claim import SLOTS
from edgeguard.edge.fastly import policy
from tests.edge.fastly.scenarios.telling import PASS, SHORT_PAGE, cached, ours, scenario
from tests.edge.stage import BASE

if TYPE_CHECKING:
    from tests.edge.stage import Stage


@scenario()
def a_conditional_fetch_before_miss_may_fail_too(stage: Stage) -> None:
    stage.believe(vcl_miss_before_conditional_fetch=False)
    for hold in (0, 100):
        path = cached(stage, age=15, more={"ETag": '"1"'})
        stage.claim(grace=5 * BASE, hold=hold)
        stage.origin.closed = True
        assert stage.get(path).status == 200, hold
        stage.origin.down()
        assert stage.get(path).status == 200, hold
        stage.origin.closed = False
        stage.origin.up()


@scenario()
def a_limit_known_at_the_lookup_is_enough(stage: Stage) -> None:
    stage.believe(limit_set_after_lookup_counts=False)
    path = cached(stage, age=10 + 2 * BASE)
    stage.origin.closed = True
    assert stage.get(path).status == SHORT_PAGE
    stage.claim(grace=5 * BASE)
    assert stage.get(path).status == 200


@scenario()
def who_asks_is_told_whether_there_was_a_copy(stage: Stage) -> None:
    """Beyond the grace there is none. A visitor is told nothing, nor is anything kept for who asks later."""
    path = stage.page()
    word, at = stage.get(path).headers.get("edgeguard-copy", "nothing 0").split()
    assert (word, abs(int(at) - stage.now()) < 5) == ("none", True)
    assert "edgeguard-copy" not in stage.get(path, Edgeguard_Show="1").headers
    for seconds, expected in ((15, "stale"), (100, "none")):
        stage.later(seconds)
        assert stage.get(path).headers["edgeguard-copy"].startswith(f"{expected} ")
    stage.later(15)
    assert "edgeguard-copy" not in stage.get(path, Edgeguard_Show="1").headers
    assert "edgeguard-copy" not in stage.get(path).headers


@scenario()
def only_who_asks_is_told_of_a_stale_answer(stage: Stage) -> None:
    for more in ({}, {"Edgeguard-Stale": "the origin's own word"}):
        path = cached(stage, age=15, more=more)
        stage.origin.closed = True
        assert stage.get(path).stale == "error"
        for show in ("", "1", "other"):
            page = stage.get(path, Edgeguard_Show=show)
            assert (page.status, page.stale) == (200, None)
        stage.origin.closed = False


@scenario()
def a_refusal_without_a_copy_is_told_as_it_is(stage: Stage) -> None:
    """And not as Fastly's "No stale object available"."""
    stage.origin.down()
    page = stage.get(stage.page())
    assert page.status == 503
    assert b"Connection refused" in page.body


@scenario(PASS)
def the_origin_sees_none_of_our_headers(stage: Stage) -> None:
    sent = {"Edgeguard_Asked": "x", "Edgeguard_Hold": "1", "Edgeguard_Grace": "1"}
    stage.get(stage.page(), **sent)
    stage.get(stage.page(), Cookie="a=b", **sent)
    assert (len(stage.origin.asked), ours(stage)) == (2, [])


@scenario()
def the_status_tells_what_this_node_sees(stage: Stage) -> None:
    value = stage.claim("deploy1", grace=5 * BASE, hold=100)
    seen = stage.edge.status()
    assert dict.fromkeys(SLOTS, "0:0") | {"deploy1": value} == seen.slots
    assert (seen.base, seen.grace, seen.hold) == (BASE, 5 * BASE, True)
    assert abs(seen.now - stage.now()) <= 1
    assert (seen.node[:6], seen.revision) == ("cache-", policy.revision(stage.settings))
    page = stage.get("/edgeguard-status")
    assert (page.status, page.headers.get("cache-control")) == (200, "no-store")
    assert page.headers.get("content-type", "").startswith("text/plain")
    assert stage.origin.asked == []


@scenario()
def the_status_is_at_its_path_only(stage: Stage) -> None:
    for path in ("/edgeguard-status/", "/edgeguard-statusx", "/a/edgeguard-status", "/"):
        assert stage.get(path).status == 404
    assert stage.get("/edgeguard-status?x=1").status == 200
