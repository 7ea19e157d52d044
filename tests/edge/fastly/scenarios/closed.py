"""Scenarios with a closed gate and no copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.edge.fastly.scenarios.telling import SHORT_PAGE, cached, scenario, stranger
from tests.edge.standin_edge import BASE, CLOSED

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@scenario()
def a_closed_gate_without_a_copy_becomes_a_short_page(standin_edge: StandinEdge) -> None:
    path = standin_edge.page()
    standin_edge.origin.closed = True
    page = standin_edge.get(path)
    assert (page.status, page.headers.get("content-type")) == (SHORT_PAGE, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!doctype html>")
    assert {name: page.headers.get(name.lower()) for name in CLOSED} == CLOSED
    standin_edge.origin.closed = False
    assert standin_edge.get(path).status == 200


@scenario()
def the_short_page_waits_for_no_longer_than_the_gate_says(standin_edge: StandinEdge) -> None:
    standin_edge.origin.pages[path := standin_edge.page()] = (500, {"Edgeguard-Closed": "d1"})
    for empty in (True, False):
        standin_edge.believe(not_set_is_empty_when_assigned=empty)
        page = standin_edge.get(path)
        assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, "d1")
        assert "retry-after" not in page.headers


@scenario()
def a_5xx_of_an_open_site_stays_what_it_is(standin_edge: StandinEdge) -> None:
    page = standin_edge.get(
        standin_edge.page(500), Edgeguard_Closed="forged", Edgeguard_Retry="1", Edgeguard_Asked="stale"
    )
    assert (page.status, page.body[:6]) == (500, b"answer")


@scenario()
def a_visitor_cannot_name_the_time_to_retry(standin_edge: StandinEdge) -> None:
    standin_edge.origin.pages[path := standin_edge.page()] = (500, {"Edgeguard-Closed": "d1"})
    assert "retry-after" not in standin_edge.get(path, Edgeguard_Retry="1").headers


@scenario()
def the_short_page_is_there_too_if_stale_was_promised_in_vain(standin_edge: StandinEdge) -> None:
    for is_error in (True, False):
        standin_edge.believe(stale_exists_obeys_limit=False, deliver_stale_with_nothing_is_error=is_error)
        for hold in (0, 100):
            path = cached(standin_edge, age=10 + 10 * BASE)
            standin_edge.claim(grace=5 * BASE, hold=hold)
            standin_edge.origin.closed = True
            page = standin_edge.get(path)
            assert page.headers.get("edgeguard-closed") == CLOSED["Edgeguard-Closed"], (is_error, hold)
            if is_error:
                assert page.headers.get("retry-after") == CLOSED["Retry-After"], hold
            standin_edge.origin.closed = False


@scenario(stranger("recv", 'if (req.http.Teapot) { error 662 "teapot"; }'))
def a_strangers_662_is_not_our_short_page(standin_edge: StandinEdge) -> None:
    assert standin_edge.get("/", Teapot="1").status == 662
