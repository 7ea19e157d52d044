"""Scenarios behind a shield, and in clusters of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.edge.fastly.scenarios.telling import SHORT_PAGE, cached, scenario, stranger
from tests.edge.standin_edge import BASE, CEILING, CLOSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.edge.standin_edge import StandinEdge


def at_the_shield(
    standin_edge: StandinEdge, age: int, cache: str = "max-age=10", more: Mapping[str, str] | None = None
) -> str:
    """A page of that age. The shield and the first edge node have a copy of it."""
    standin_edge.nodes(shield=True)
    return cached(standin_edge, age, cache, more)


@scenario()
def a_shield_serves_stale_for_a_node_without_a_copy(standin_edge: StandinEdge) -> None:
    path = at_the_shield(standin_edge, age=15)
    standin_edge.origin.closed = True
    page = standin_edge.get_at_second_node(path, Fastly_Debug="1")
    assert (page.status, page.stale) == (200, "error")
    _, _, ttl, grace_here, _ = page.headers["fastly-debug-ttl"].split(")")[0].split()
    assert (ttl[:2] in {"0.", "1."}, grace_here) == (True, "60.000")
    assert "edgeguard-stale" not in standin_edge.get_at_second_node(path, Edgeguard_Show="").headers
    standin_edge.claim(grace=5 * BASE, hold=100)
    standin_edge.later(5)
    assert standin_edge.get_at_second_node(path).stale == "hold"
    assert standin_edge.asked(path) == 2


@scenario()
def a_shields_hold_is_told_as_such(standin_edge: StandinEdge) -> None:
    path = at_the_shield(standin_edge, age=15)
    standin_edge.claim(grace=5 * BASE, hold=100)
    assert (standin_edge.get_at_second_node(path).stale, standin_edge.asked(path)) == ("hold", 1)


@scenario()
def what_the_shield_served_stale_is_asked_for_again_at_once(standin_edge: StandinEdge) -> None:
    """After a soft purge, too, when its Age is low; with a service's default TTL; and with a validator."""
    for own, age, cache, more in (
        (False, 3615, "", {}),
        (False, 1, "max-age=100", {"ETag": '"1"'}),
        (True, 15, "max-age=10", {}),
        (True, 3615, "", {}),
        (True, 1, "max-age=100", {}),
        (True, 1, "max-age=100", {"ETag": '"1"'}),
        (True, 1, "max-age=100", {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    ):
        path = at_the_shield(standin_edge, age, cache, {"Surrogate-Key": "page", **more})
        if own:
            standin_edge.get_at_second_node(path)
        standin_edge.edge.purge(["page"])
        standin_edge.origin.closed = True
        standin_edge.later(2)
        assert standin_edge.get_at_second_node(path).stale == "error", (age, cache, more)
        standin_edge.origin.closed = False
        standin_edge.later(2)
        asked = standin_edge.asked(path)
        assert (standin_edge.get_at_second_node(path).stale, standin_edge.asked(path)) == (None, asked + 1), (
            age,
            cache,
            more,
        )


@scenario()
def what_the_shield_served_stale_is_not_kept_for_long(standin_edge: StandinEdge) -> None:
    path = at_the_shield(standin_edge, age=15, cache="max-age=10, stale-while-revalidate=1000")
    standin_edge.origin.closed = True
    assert standin_edge.get_at_second_node(path).stale == "error"
    standin_edge.later(BASE + 10)
    assert standin_edge.get_at_second_node(path).status == SHORT_PAGE


@scenario()
def a_shield_revalidates_nothing_in_the_background(standin_edge: StandinEdge) -> None:
    path = at_the_shield(standin_edge, age=15, cache="max-age=10, stale-while-revalidate=1000, stale-if-error=0")
    standin_edge.origin.closed = True
    assert standin_edge.get_at_second_node(path).status == SHORT_PAGE


@scenario()
def a_shields_304_leaves_a_page_its_ceiling(standin_edge: StandinEdge) -> None:
    path = at_the_shield(standin_edge, age=15, more={"ETag": '"1"'})
    assert standin_edge.get(path).status == 200
    told = standin_edge.get(path, Fastly_Debug="1").headers["fastly-debug-ttl"]
    assert told.split(")")[0].split()[3] == f"{CEILING}.000"


@scenario()
def an_edge_node_has_its_own_copy_when_the_shield_has_none(standin_edge: StandinEdge) -> None:
    path = cached(standin_edge, age=15)  # by the first node, from the origin itself
    standin_edge.nodes(shield=True)
    standin_edge.origin.closed = True
    assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, "error")
    page = standin_edge.get(standin_edge.page())
    assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, CLOSED["Edgeguard-Closed"])
    standin_edge.origin.down()
    assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, "error")


NO_RESTART = stranger("fetch", "if (beresp.status == 500 || beresp.status == 503) { return(deliver); }", 10_000)
"""A service without Fastly's own restart on a 500 or 503. That asks the origin itself, and so hides what a node did."""


@scenario(stranger("recv", "if (req.http.Cookie && fastly.ff.visits_this_service == 0) { return(pass); }"), NO_RESTART)
def a_shield_makes_no_page_of_its_own(standin_edge: StandinEdge) -> None:
    standin_edge.nodes(shield=True)
    standin_edge.origin.closed = True
    assert standin_edge.get(standin_edge.page(), Cookie="session=1").status == 500


@scenario()
def an_edge_nodes_own_copy_survives_what_the_shield_served_stale(standin_edge: StandinEdge) -> None:
    """What the shield serves stale lasts for a minute, the node's own copy for the grace."""
    for clustered in (False, True):
        path = at_the_shield(standin_edge, age=15)
        standin_edge.nodes(shield=True, clustered=clustered)
        standin_edge.claim(grace=5 * BASE)
        standin_edge.origin.closed = True
        assert [standin_edge.get(path).stale for _ in range(2)] == ["error", "error"]
        standin_edge.nodes(clustered=clustered)  # the shield is gone
        standin_edge.later(2 * BASE)
        assert [standin_edge.get(path).stale for _ in range(2)] == ["error", "error"]
        standin_edge.origin.closed = False


@scenario()
def the_status_is_that_of_the_node_that_visitors_meet(standin_edge: StandinEdge) -> None:
    standin_edge.nodes(shield=True, edges=2)
    assert {standin_edge.edge.status().node for _ in range(4)} == {"cache-standin1-LO", "cache-standin2-LO"}


@scenario()
def a_neighbours_stale_answer_is_told_as_such(standin_edge: StandinEdge) -> None:
    standin_edge.believe(stale_told_after_cluster_hop=False)
    standin_edge.nodes(clustered=True)
    path = cached(standin_edge, age=15)
    standin_edge.origin.closed = True
    assert [standin_edge.get(path).stale for _ in range(2)] == ["error", "error"]


@scenario()
def behind_a_shield_nobody_gets_an_error_whichever_way_the_open_questions_turn_out(standin_edge: StandinEdge) -> None:
    for belief, usual in standin_edge.control("GET", "/switches").items():
        standin_edge.believe(**{belief: not usual})
        for clustered, more in ((False, {}), (True, {"ETag": '"1"'})):
            standin_edge.nodes(shield=True, clustered=clustered)
            path = cached(standin_edge, age=10 + 2 * BASE, more=more)
            for hold in (0, 100):
                standin_edge.claim(grace=5 * BASE, hold=hold)
                standin_edge.origin.closed = True
                assert [standin_edge.get_at_second_node(path).status for _ in range(2)] == [200, 200], (belief, hold)
                standin_edge.later(2)
                standin_edge.origin.down()
                assert [standin_edge.get_at_second_node(path).status for _ in range(2)] == [200, 200], (belief, hold)
                standin_edge.origin.up()
            standin_edge.origin.closed = False
        standin_edge.believe(**{belief: usual})


@scenario()
def a_cluster_of_nodes_makes_no_difference(standin_edge: StandinEdge) -> None:
    """Every second answer is made by a neighbour of the node that visitors meet."""
    for shield, hold, said in ((False, 0, "error"), (False, 100, "hold"), (True, 0, "error"), (True, 100, "hold")):
        standin_edge.nodes(clustered=True, shield=shield)
        path, cold = cached(standin_edge, age=15), standin_edge.page()
        standin_edge.claim(grace=5 * BASE, hold=hold)
        standin_edge.origin.closed = True
        for _ in range(2):
            assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, said)
            page = standin_edge.get(cold)
            assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, CLOSED["Edgeguard-Closed"])
        standin_edge.origin.down()
        for _ in range(2):
            assert (standin_edge.get(path).status, standin_edge.get(path).stale) == (200, said)
        standin_edge.origin.closed = False
        standin_edge.origin.up()


@scenario(NO_RESTART)
def a_cluster_of_nodes_makes_no_difference_without_a_restart(standin_edge: StandinEdge) -> None:
    a_cluster_of_nodes_makes_no_difference(standin_edge)


@scenario()
def on_hold_a_page_beyond_the_grace_is_fetched_also_by_a_neighbour(standin_edge: StandinEdge) -> None:
    """The variables that the neighbour has set on the request do not come back with its error."""
    for obeys in (True, False):
        standin_edge.believe(stale_exists_obeys_limit=obeys)
        for shield in (False, True):
            standin_edge.nodes(clustered=True, shield=shield)
            paths = [cached(standin_edge, age=10 + 3 * BASE) for _ in range(4)]
            standin_edge.claim(grace=BASE + 1, hold=100)
            assert [standin_edge.get(path).status for path in paths] == [200] * 4, (obeys, shield)
