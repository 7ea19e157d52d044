"""Scenarios about stored pages: which of them get the ceiling, and which surrogate keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly import policy
from edgeguard.standin.vcl_variables import OUTER
from tests.edge.fastly.scenarios.telling import PASS, cached, scenario, served_stale, stranger
from tests.edge.standin_edge import BASE, CEILING

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@scenario()
def pages_and_redirects_get_the_ceiling(standin_edge: StandinEdge) -> None:
    for status in (200, 203, 300, 301, 302, 410):
        assert served_stale(standin_edge, CEILING // 2, grace=CEILING, status=status), status


@scenario()
def a_page_that_says_nothing_gets_the_ceiling(standin_edge: StandinEdge) -> None:
    assert served_stale(standin_edge, 3600 + CEILING // 2, grace=CEILING, cache="")


TOLD = 'if (req.http.Edgeguard-Tier == "shield") { set resp.http.X-Told = resp.http.Surrogate-Control; }'


@scenario(stranger("deliver", TOLD, 10_000))
def the_ceiling_is_told_to_the_node_in_front(standin_edge: StandinEdge) -> None:
    standin_edge.nodes(shield=True)
    told = f"stale-if-error={CEILING}"
    for own, expected in (
        ("", told),
        ("max-age=10", f"max-age=10, {told}"),
        ("max-age=10\nstale-while-revalidate=1", f"max-age=10, stale-while-revalidate=1, {told}"),
        (f"max-age=10, Stale-If-Error={BASE}", f"max-age=10, {told}"),
        (f'stale-if-error="{BASE}", max-age=10', f"{told}, max-age=10"),
        (f"max-age=10, stale-if-error={BASE - 1}", f"max-age=10, stale-if-error={BASE - 1}"),
    ):
        path = standin_edge.page(more={"Surrogate-Control": own} if own else {})
        assert standin_edge.get(path).headers.get("x-told") == expected


@scenario()
def the_ceiling_stays_inside_the_service(standin_edge: StandinEdge) -> None:
    """Neither another service in front nor who debugs sees it, though Fastly leaves them Surrogate-Control.

    The origin's own promises stay, but for those that the ceiling has replaced.
    """
    told, own = f"stale-if-error={CEILING}", f"stale-if-error={BASE - 1}"
    for status, sent, expected in (
        (200, "", None),
        (200, "max-age=10", "max-age=10"),
        (200, f"max-age=10, {told}", "max-age=10"),
        (200, f"max-age=10, Stale-If-Error={BASE}, stale-while-revalidate=1", "max-age=10, stale-while-revalidate=1"),
        (200, f"max-age=10, {own}", f"max-age=10, {own}"),
        (404, f"{told}, max-age=10", "max-age=10"),
        (404, f"max-age=10\n{told}", "max-age=10"),
        (404, f'max-age=10, Stale-If-Error="{CEILING}"', "max-age=10"),
        (404, told, None),
        (404, f"max-age=10, {told}0", f"max-age=10, {told}0"),
    ):
        for nodes in ({}, {"shield": True}, {"clustered": True}):
            standin_edge.nodes(**nodes)
            path = standin_edge.page(status, more={"Surrogate-Control": sent} if sent else {})
            for asks in ({"Fastly_FF": OUTER}, {"Fastly_Debug": "1"}):
                assert standin_edge.get(path, **asks).headers.get("surrogate-control") == expected, (sent, nodes, asks)
            assert "surrogate-control" not in standin_edge.get(path).headers
    standin_edge.nodes()
    renewed = cached(standin_edge, age=15, more={"ETag": '"1"', "Surrogate-Control": f"max-age=10\n{told}"})
    for _ in range(2):  # renewed by a 304, for which fetch does not run
        assert standin_edge.get(renewed, Fastly_FF=OUTER).headers.get("surrogate-control") == "max-age=10"


@scenario()
def an_origin_may_promise_less_than_the_base(standin_edge: StandinEdge) -> None:
    short = f"stale-if-error={BASE - 1}"
    for cache, surrogate in (
        (f"max-age=10, {short}", ""),
        ("max-age=10", f"max-age=10, {short}"),
        (f"max-age=10, stale-if-error={CEILING}", f"max-age=10, {short}"),
        (f"max-age=10, {short.title()}", ""),
        (f"max-age=10\n{short}", ""),
        (f'max-age=10, stale-if-error="{BASE - 1}"', ""),
        ("max-age=10", f'max-age=10, stale-if-error="{BASE - 1}"'),
        ("max-age=10", f"max-age=10\n{short}"),
    ):
        more = {"Surrogate-Control": surrogate} if surrogate else {}
        assert not served_stale(standin_edge, 10 + BASE, grace=CEILING, cache=cache, more=more), (cache, surrogate)
        assert served_stale(standin_edge, 10 + BASE // 2, grace=CEILING, cache=cache, more=more), (cache, surrogate)


@scenario()
def an_origin_that_promises_the_base_or_more_gets_the_ceiling(standin_edge: StandinEdge) -> None:
    for promised in (BASE, 9_999_999_999):
        cache = f"max-age=10, stale-if-error={promised}"
        assert served_stale(standin_edge, CEILING // 2, grace=CEILING, cache=cache), promised


@scenario(stranger("fetch", "set beresp.ttl = 10s; return(deliver);", 10_000))
def an_origins_refusal_stands_where_the_service_caches_it_all_the_same(standin_edge: StandinEdge) -> None:
    for cache, more in (
        ("max-age=10, private", {}),
        ("max-age=10, no-store", {}),
        ("max-age=10, No-Store", {}),
        ("max-age=10\nno-store", {}),
        ("No-Cache, max-age=10", {}),
        ("max-age=10\nno-cache", {}),
        ("max-age=10", {"Surrogate-Control": "max-age=10, no-cache"}),
        ("max-age=10", {"Surrogate-Control": "max-age=10, private"}),
        ("max-age=10", {"Surrogate-Control": "no-store, max-age=10"}),
        ("max-age=10", {"Set-Cookie": "a=b"}),
        ("max-age=0", {}),
    ):
        assert not served_stale(standin_edge, 15, grace=CEILING, cache=cache, more=more), (cache, more)
    assert served_stale(standin_edge, 15, grace=CEILING)
    for cache, more in (
        ("max-age=10, no-cache=X-Visitor", {}),
        ("no-cache", {"Surrogate-Control": "max-age=10"}),
    ):
        assert served_stale(standin_edge, 15, grace=CEILING, cache=cache, more=more), (cache, more)


@scenario(stranger("fetch", "set beresp.stale_if_error = 43200s;", 2))
def an_origins_promise_stands_where_the_service_overwrites_it(standin_edge: StandinEdge) -> None:
    """The service's own setting "serve stale" does that; the policy then adds nothing."""
    cache = f"max-age=10, stale-if-error={BASE - 1}"
    path = cached(standin_edge, age=10, cache=cache)
    ceiling = standin_edge.get(path, Fastly_Debug="1").headers["fastly-debug-ttl"].strip("()").split()[3]
    assert float(ceiling) == 43200


def keys(standin_edge: StandinEdge, path: str, **headers: str) -> list[str]:
    """The surrogate keys of a page."""
    return standin_edge.get(path, Fastly_Debug="1", **headers).headers.get("surrogate-key", "").split()


@scenario()
def every_object_gets_one_of_256_groups_beside_its_own_keys(standin_edge: StandinEdge) -> None:
    for concatenates, shield in ((True, False), (False, False), (True, True)):
        standin_edge.believe(not_set_is_empty_in_concatenation=concatenates)
        standin_edge.nodes(shield=shield)
        for own in ([], ["a"], ["a", "b"], ["neg-00", "eg-123", "eg-0g"]):
            more = {"Surrogate-Key": " ".join(own)} if own else {}
            for status in (200, 404):
                *found, group = keys(standin_edge, standin_edge.page(status, more=more))
                assert (found, group in policy.GROUPS) == (own, True), (concatenates, shield, found, group)


@scenario()
def groups_are_of_one_size_more_or_less(standin_edge: StandinEdge) -> None:
    seen = [keys(standin_edge, standin_edge.page())[0] for _ in range(64)]
    assert len(set(seen)) > 32
    hosts = {keys(standin_edge, "/", Host=f"{number}.example")[0] for number in range(8)}
    assert len(hosts) > 2
    assert len(set(policy.GROUPS)) == 256


@scenario()
def an_origin_may_choose_the_group(standin_edge: StandinEdge) -> None:
    for own in ("eg-00", "eg-00 a", "a eg-00", "a eg-00 b"):
        assert keys(standin_edge, standin_edge.page(more={"Surrogate-Key": own})) == own.split()


@scenario()
def no_key_is_lost_for_the_group(standin_edge: StandinEdge) -> None:
    assert keys(standin_edge, standin_edge.page(more={"Surrogate-Key": "a\nb c"}))[:3] == ["a", "b", "c"]
    for size, grouped in ((16_378, True), (16_379, False), (16_384, False)):
        path = standin_edge.page(more={"Surrogate-Key": ("k" * 63 + " ") * 255 + "z" * (size - 255 * 64)})
        found = keys(standin_edge, path)
        assert (len(found), found[-1] in policy.GROUPS) == (256 + grouped, grouped), size
        standin_edge.edge.purge([found[-1]])
        assert (standin_edge.get(path).status, standin_edge.asked(path)) == (200, 2), size


@scenario()
def a_purge_of_all_groups_reaches_every_page(standin_edge: StandinEdge) -> None:
    paths = [standin_edge.page(cache="max-age=1000") for _ in range(8)]
    for path in paths:
        standin_edge.get(path)
    standin_edge.edge.purge(policy.GROUPS)
    for path in paths:
        assert (standin_edge.get(path).status, standin_edge.asked(path)) == (200, 2)


@scenario(PASS)
def what_is_passed_has_no_group(standin_edge: StandinEdge) -> None:
    assert keys(standin_edge, standin_edge.page(more={"Surrogate-Key": "a"}), Cookie="session=1") == ["a"]
