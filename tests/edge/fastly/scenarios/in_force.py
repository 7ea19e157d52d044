"""Scenarios about the grace in force, and about hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.claim import DAY, FREE, SLOTS, Claim
from tests.edge.fastly.scenarios.telling import SHORT_PAGE, cached, ours, scenario, stranger
from tests.edge.standin_edge import BASE, CEILING, TOKEN

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@scenario(stranger("miss", 'if (req.http.Fail) { error 503 "in words that nobody knows"; }', priority=10_000))
def whatever_fails_after_our_miss_leads_to_stale(standin_edge: StandinEdge) -> None:
    """A snippet after our last line in miss plays Fastly, whose words for a failure may change."""
    path = cached(standin_edge, age=15)
    assert (standin_edge.get(path, Fail="1").stale, standin_edge.get(path).stale) == ("error", None)


@scenario()
def every_kind_of_5xx_leads_to_stale(standin_edge: StandinEdge) -> None:
    for status in (500, 502, 503, 504, 599):
        path = cached(standin_edge, age=15)
        standin_edge.origin.pages[path] = (status, {})
        assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, "error"), status


@scenario()
def a_claim_in_any_slot_raises_the_grace(standin_edge: StandinEdge) -> None:
    for slot in SLOTS:
        path = cached(standin_edge, age=10 + 4 * BASE)
        standin_edge.origin.closed = True
        standin_edge.claim(slot, grace=5 * BASE)
        assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, "error"), slot
        assert standin_edge.edge.status().grace == 5 * BASE
        standin_edge.origin.closed = False


@scenario()
def a_claim_that_would_last_too_long_counts_for_nothing(standin_edge: StandinEdge) -> None:
    for slot in ("deploy0", "support1"):
        path = cached(standin_edge, age=10 + 2 * BASE)
        standin_edge.origin.closed = True
        standin_edge.claim(slot, grace=10 * BASE, last=CEILING + DAY + 60, hold=100)
        assert standin_edge.get(path).status == SHORT_PAGE
        assert not standin_edge.edge.status().hold
        standin_edge.claim(slot, grace=10 * BASE, last=CEILING + DAY - 60)
        assert standin_edge.get(path).status == 200
        standin_edge.origin.closed = False


@scenario()
def no_claim_gets_more_than_the_ceiling(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=10 + CEILING + 5)
    standin_edge.origin.closed = True
    standin_edge.claim(grace=9_999_999)
    assert standin_edge.edge.status().grace == CEILING
    assert standin_edge.get(path).status == SHORT_PAGE


@scenario()
def garbage_is_shown_as_it_is_and_counts_for_nothing(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=10 + 2 * BASE)
    standin_edge.origin.closed = True
    until = standin_edge.now() + 500
    a_supports = f"{until}:300:abcd"
    good = Claim("deploy0", until, 5 * BASE, "abcd1234", until).value()
    for value in (
        "",
        "garbage = %20 hold=1 \u00e4\u0000"[:-1],
        f"{until}000:300:0000000000:abcd",
        f"{until}:300:0000000000:abcd;",
        a_supports,
        f"x{good}",
        f"{good}\n",
        f"{good} ",
        f"-{good}",
        f"{until}:300:-000000001:abcd",
        f"{until}:30000000:0000000000:abcd",
    ):
        standin_edge.write({"deploy0": value})
        seen = standin_edge.edge.status()
        assert (value, BASE, False) == (seen.slots["deploy0"], seen.grace, seen.hold), value
        assert standin_edge.get(path).status == SHORT_PAGE, value
        standin_edge.write({"support1": value if value != a_supports else FREE})
        assert standin_edge.edge.status().grace == BASE, value
    standin_edge.write({"deploy0": good})
    assert standin_edge.get(path).status == 200


@scenario()
def on_hold_a_visitor_cannot_make_the_edge_ask(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.claim(grace=5 * BASE, hold=100)
    page = standin_edge.get(path, Edgeguard_Asked="again", Edgeguard_Hold="0", Edgeguard_Grace="0")
    assert (page.status, page.stale, standin_edge.asked(path)) == (200, "hold", 1)


@scenario()
def a_visitor_cannot_hold(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    page = standin_edge.get(path, Edgeguard_Hold="1", Edgeguard_Grace="9999", Edgeguard_Asked="miss")
    assert (page.status, page.stale, standin_edge.asked(path)) == (200, None, 2)


@scenario()
def on_hold_a_page_nobody_has_is_fetched(standin_edge: StandinEdge) -> None:
    path = standin_edge.page()
    standin_edge.claim(grace=5 * BASE, hold=100)
    page = standin_edge.get(path)
    assert (page.status, page.stale, page.headers.get("fastly-restarts")) == (200, None, None)


@scenario()
def on_hold_a_page_beyond_the_grace_is_fetched(standin_edge: StandinEdge) -> None:
    """Also if stale.exists is true, but the stale copy can't be delivered."""
    for obeys in (True, False):
        standin_edge.believe(stale_exists_obeys_limit=obeys)
        path = cached(standin_edge, age=10 + 10 * BASE)
        standin_edge.claim(grace=5 * BASE, hold=100)
        assert (standin_edge.get(path).status, standin_edge.get(path).body[:6]) == (200, b"answer"), obeys
        assert standin_edge.asked(path) == 2
        assert ours(standin_edge) == []


@scenario()
def on_hold_nothing_is_revalidated_in_the_background(standin_edge: StandinEdge) -> None:
    """A page that refuses stale-if-error shows it: the origin is asked, despite the page's stale-while-revalidate."""
    path = cached(standin_edge, age=15, cache="max-age=10, stale-while-revalidate=1000, stale-if-error=0")
    standin_edge.claim(grace=5 * BASE, hold=100)
    assert (standin_edge.get(path).stale, standin_edge.asked(path)) == (None, 2)


@scenario()
def a_strangers_purge_takes_no_copy_away_while_a_claim_is_in_force(standin_edge: StandinEdge) -> None:
    """By its URL anybody may purge a page, as Fastly has it, and who has a token always."""
    for claimed, hold, token, purged in (
        (0, 0, "", True),
        (5 * BASE, 0, "", False),
        (BASE, 100, "", False),
        (5 * BASE, 0, "another token", False),
        (5 * BASE, 0, TOKEN, True),
    ):
        path = cached(standin_edge, age=1)
        if claimed:
            standin_edge.claim(grace=claimed, hold=hold)
        answer = standin_edge.ask("PURGE", path, {"Fastly-Key": token} if token else {})
        assert answer.status == (200 if purged else 401)
        assert (standin_edge.get(path).status, standin_edge.asked(path)) == (200, 1 + purged)
        standin_edge.write({})
