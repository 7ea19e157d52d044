"""Scenarios beside other people's snippets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.edge.fastly.scenarios.telling import PASS, cached, ours, scenario, stranger
from tests.edge.standin_edge import BASE

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@scenario(PASS)
def a_passed_request_never_gets_an_anonymous_page(standin_edge: StandinEdge) -> None:
    for belief in (True, False):
        standin_edge.believe(error_before_lookup_sees_stale=belief)
        path = cached(standin_edge, age=15)
        standin_edge.claim(grace=5 * BASE, hold=100)
        standin_edge.origin.closed = True
        assert standin_edge.get(path, Cookie="session=1").status == 500
        standin_edge.origin.down()
        assert standin_edge.get(path, Cookie="session=1", Edgeguard_Asked="miss").status == 503
        standin_edge.origin.closed = False
        standin_edge.origin.up()


@scenario(stranger("miss", "if (req.http.Cookie) { return(pass); }", priority=10_000))
def a_request_passed_in_miss_never_gets_an_anonymous_page(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.origin.closed = True
    assert (standin_edge.get(path, Cookie="session=1").status, ours(standin_edge)) == (500, [])
    standin_edge.origin.down()
    assert standin_edge.get(path, Cookie="session=1").status == 503


@scenario(
    stranger(
        "recv",
        'if (req.http.Maintenance == "now") { error 503 "Maintenance mode"; }'
        'if (req.http.Maintenance == "ours") { error 503 "Our connection timed out"; }'
        'if (req.http.Maintenance == "late") { error 503 "Connection timed out for today"; }'
        'if (req.http.Maintenance == "all") { error 403 "Connection refused"; }',
    ),
)
def a_strangers_error_stays_what_it_is(standin_edge: StandinEdge) -> None:
    for belief in (False, True):
        standin_edge.believe(error_before_lookup_sees_stale=belief)
        path = cached(standin_edge, age=15)
        standin_edge.claim(grace=5 * BASE, hold=100)
        for asked in ("no", "miss", "held", "answered", "again"):
            for maintenance in ("now", "ours", "late"):
                page = standin_edge.get(path, Maintenance=maintenance, Edgeguard_Asked=asked)
                assert (page.status, page.stale) == (503, None), (belief, maintenance, asked)
        assert standin_edge.get(path, Maintenance="all").status == 403


@scenario(stranger("miss", 'if (req.http.Maintenance) { error 503 "Maintenance mode"; }'))
def an_error_of_a_strangers_miss_stays_what_it_is(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.claim(grace=5 * BASE)
    page = standin_edge.get(path, Maintenance="1")
    assert (page.status, page.stale) == (503, None)


@scenario(stranger("fetch", 'if (beresp.http.Broken) { error 503 "Broken"; }'))
def an_error_of_a_strangers_fetch_stays_what_it_is(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.claim(grace=5 * BASE)
    standin_edge.origin.pages[path] = (200, {"Broken": "1"})
    page = standin_edge.get(path)
    assert (page.status, page.stale) == (503, None)


@scenario(stranger("fetch", 'if (beresp.http.Broken) { error 503 "between bytes timeout"; }'))
def an_answer_that_breaks_off_leads_to_stale(standin_edge: StandinEdge) -> None:
    """The scenario uses Fastly's words for a break after fetch, which can't be played in another way."""
    path = cached(standin_edge, age=15)
    standin_edge.origin.pages[path] = (200, {"Broken": "1"})
    assert standin_edge.get(path).stale == "error"


@scenario(
    stranger("recv", 'if (req.restarts > 0) { error 503 "Maintenance mode"; }'),
    stranger("fetch", "if (beresp.status == 404) { restart; }"),
)
def a_strangers_error_stays_what_it_is_after_a_restart(standin_edge: StandinEdge) -> None:
    standin_edge.believe(error_before_lookup_sees_stale=True)
    path = cached(standin_edge, age=15)
    standin_edge.origin.pages[path] = (404, {})
    assert (standin_edge.get(path).status, standin_edge.asked(path)) == (503, 2)


@scenario(stranger("fetch", 'if (beresp.http.Teapot) { error 650 "teapot"; }'))
def an_error_beyond_the_5xx_stays_what_it_is(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.origin.pages[path] = (200, {"Teapot": "1"})
    assert standin_edge.get(path).status == 650
    standin_edge.origin.pages[path] = (650, {})
    assert standin_edge.get(path).status == 650


@scenario(stranger("recv", 'if (req.http.Teapot) { error 661 "teapot"; }'))
def a_strangers_661_is_not_our_status(standin_edge: StandinEdge) -> None:
    assert standin_edge.get("/", Teapot="1").status == 661


@scenario(stranger("recv", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_miss(standin_edge: StandinEdge) -> None:
    """A stranger's limit plays the node that fetches: it may not have the variables that recv set on another node."""
    standin_edge.believe(stale_exists_obeys_limit=False)
    path = cached(standin_edge, age=15)
    standin_edge.claim(grace=5 * BASE, hold=100)
    assert (standin_edge.get(path).stale, standin_edge.asked(path)) == ("hold", 1)


@scenario(stranger("miss", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_fetch(standin_edge: StandinEdge) -> None:
    standin_edge.believe(stale_exists_obeys_limit=False, deliver_stale_with_nothing_is_error=False)
    path = cached(standin_edge, age=15)
    standin_edge.origin.closed = True
    assert standin_edge.get(path).stale == "error"


@scenario(stranger("miss", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_error(standin_edge: StandinEdge) -> None:
    standin_edge.believe(stale_exists_obeys_limit=False)
    path = cached(standin_edge, age=15)
    standin_edge.origin.down()
    assert standin_edge.get(path).stale == "error"


@scenario(stranger("fetch", "if (beresp.status >= 500 && req.restarts == 0) { restart; }"))
def stale_comes_before_a_strangers_restart(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)
    standin_edge.origin.closed = True
    assert standin_edge.get(path).stale == "error"
    assert standin_edge.asked(path) == 2


@scenario(stranger("recv", "if (req.http.Cookie && req.restarts == 0) { restart; }"))
def a_stale_answer_is_told_by_who_served_it(standin_edge: StandinEdge) -> None:
    """On hold, a request that a stranger restarted waits for the origin: it is served by fetch. So is one whose
    conditional fetch comes before miss."""
    for shield in (False, True):
        standin_edge.nodes(shield=shield)
        path = cached(standin_edge, age=15)
        standin_edge.claim(grace=5 * BASE, hold=100)
        standin_edge.origin.closed = True
        assert standin_edge.get(path).stale == "hold"
        assert (standin_edge.get(path, Cookie="a=b").stale, standin_edge.asked(path)) == ("error", 2)
        standin_edge.origin.closed = False
    standin_edge.nodes()
    standin_edge.believe(vcl_miss_before_conditional_fetch=False)
    path = cached(standin_edge, age=15, more={"ETag": '"1"'})
    standin_edge.claim(grace=5 * BASE, hold=100)
    standin_edge.origin.closed = True
    assert (standin_edge.get(path).stale, standin_edge.asked(path)) == ("error", 2)
