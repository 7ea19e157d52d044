"""What the policy promises beyond the table of cases (tests/edge/cases.py), each as a play with visitors.

They pass under the policy, and fail under a broken one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge import grace, policy
from edgeguard.edge.policy import Snippet
from tests.edge.stage import BASE, CEILING, CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.edge.stage import Stage

    Scenario = Callable[[Stage], None]

SHORT_PAGE = 503
"""The status where the gate is closed and there is no copy to serve."""

SCENARIOS: dict[str, Scenario] = {}
STRANGERS: dict[str, tuple[Snippet, ...]] = {}
"""Snippets of somebody else's that are installed beside the policy for a scenario."""


def scenario(*strangers: Snippet) -> Callable[[Scenario], Scenario]:
    def add(play: Scenario) -> Scenario:
        SCENARIOS[play.__name__] = play
        STRANGERS[play.__name__] = strangers
        return play

    return add


def stranger(kind: str, content: str, priority: int = 100) -> Snippet:
    return Snippet(f"stranger_{kind}", kind, priority, content)


def cached(stage: Stage, age: int, cache: str = "max-age=10", more: Mapping[str, str] | None = None) -> str:
    """A page that was asked for once, so many seconds ago."""
    path = stage.page(200, cache, more)
    assert stage.get(path).status == 200
    stage.later(age)
    return path


def ours(stage: Stage) -> list[str]:
    """The headers of ours that reached the origin."""
    return [name for _, headers in stage.origin.asked for name in headers if "edgeguard" in name]


# -- what is in force ------------------------------------------------------------------------------------------------


@scenario(stranger("fetch", 'if (beresp.http.Broken) { error 503 "broken answer"; }'))
def whatever_fails_after_our_miss_leads_to_stale(stage: Stage) -> None:
    path = cached(stage, age=15)
    stage.origin.pages[path] = (200, {"Broken": "1"})
    assert (stage.get(path).status, stage.get(path).stale) == (200, "error")


@scenario()
def every_kind_of_5xx_leads_to_stale(stage: Stage) -> None:
    for status in (500, 502, 503, 504, 599):
        path = cached(stage, age=15)
        stage.origin.pages[path] = (status, {})
        assert (stage.get(path).status, stage.get(path).stale) == (200, "error"), status


@scenario()
def a_claim_in_any_slot_raises_the_grace(stage: Stage) -> None:
    for slot in grace.SLOTS:
        path = cached(stage, age=10 + 4 * BASE)
        stage.origin.closed = True
        stage.claim(slot, grace=5 * BASE)
        assert (stage.get(path).status, stage.get(path).stale) == (200, "error"), slot
        assert stage.edge.status().grace == 5 * BASE
        stage.origin.closed = False


@scenario()
def a_claim_that_would_last_too_long_counts_for_nothing(stage: Stage) -> None:
    for slot in ("deploy0", "support1"):
        path = cached(stage, age=10 + 2 * BASE)
        stage.origin.closed = True
        stage.claim(slot, grace=10 * BASE, last=CEILING + grace.DAY + 60, hold=100)
        assert stage.get(path).status == SHORT_PAGE
        assert not stage.edge.status().hold
        stage.claim(slot, grace=10 * BASE, last=CEILING + grace.DAY - 60)
        assert stage.get(path).status == 200
        stage.origin.closed = False


@scenario()
def no_claim_gets_more_than_the_ceiling(stage: Stage) -> None:
    path = cached(stage, age=10 + CEILING + 5)
    stage.origin.closed = True
    stage.claim(grace=9_999_999)
    assert stage.edge.status().grace == CEILING
    assert stage.get(path).status == SHORT_PAGE


@scenario()
def garbage_is_shown_as_it_is_and_counts_for_nothing(stage: Stage) -> None:
    path = cached(stage, age=10 + 2 * BASE)
    stage.origin.closed = True
    until = stage.now() + 500
    a_supports = f"{until}:300:abcd"
    good = grace.Claim("deploy0", until, 5 * BASE, "abcd1234", until).value()
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
        stage.write({"deploy0": value})
        seen = stage.edge.status()
        assert (value, BASE, False) == (seen.slots["deploy0"], seen.grace, seen.hold), value
        assert stage.get(path).status == SHORT_PAGE, value
        stage.write({"support1": value if value != a_supports else grace.FREE})
        assert stage.edge.status().grace == BASE, value
    stage.write({"deploy0": good})
    assert stage.get(path).status == 200


# -- hold ------------------------------------------------------------------------------------------------------------


@scenario()
def on_hold_a_visitor_cannot_make_the_edge_ask(stage: Stage) -> None:
    path = cached(stage, age=15)
    stage.claim(grace=5 * BASE, hold=100)
    page = stage.get(path, Edgeguard_Asked="again", Edgeguard_Hold="0", Edgeguard_Grace="0")
    assert (page.status, page.stale, stage.asked(path)) == (200, "hold", 1)


@scenario()
def a_visitor_cannot_hold(stage: Stage) -> None:
    path = cached(stage, age=15)
    page = stage.get(path, Edgeguard_Hold="1", Edgeguard_Grace="9999", Edgeguard_Asked="miss")
    assert (page.status, page.stale, stage.asked(path)) == (200, None, 2)


@scenario()
def on_hold_a_page_nobody_has_is_fetched(stage: Stage) -> None:
    path = stage.page()
    stage.claim(grace=5 * BASE, hold=100)
    page = stage.get(path)
    assert (page.status, page.stale, page.headers.get("fastly-restarts")) == (200, None, None)


@scenario()
def on_hold_a_page_beyond_the_grace_is_fetched(stage: Stage) -> None:
    """Also where stale.exists promises what can't be delivered."""
    for obeys in (True, False):
        stage.believe(stale_exists_obeys_limit=obeys)
        path = cached(stage, age=10 + 10 * BASE)
        stage.claim(grace=5 * BASE, hold=100)
        assert (stage.get(path).status, stage.get(path).body[:6]) == (200, b"answer"), obeys
        assert stage.asked(path) == 2
        assert ours(stage) == []


@scenario()
def on_hold_nothing_is_revalidated_in_the_background(stage: Stage) -> None:
    """Seen at a page that refuses stale-if-error: it is asked for, not served because of its stale-while-revalidate."""
    path = cached(stage, age=15, cache="max-age=10, stale-while-revalidate=1000, stale-if-error=0")
    stage.claim(grace=5 * BASE, hold=100)
    assert (stage.get(path).stale, stage.asked(path)) == (None, 2)


# -- what gets the ceiling -------------------------------------------------------------------------------------------


def served_stale(
    stage: Stage,
    age: int,
    *,
    grace: int,
    status: int = 200,
    cache: str = "max-age=10",
    more: Mapping[str, str] | None = None,
) -> bool:
    """Whether a page of that age is served while the origin is closed and a claim on `grace` is in force."""
    path = stage.page(status, cache, more)
    assert stage.get(path).status == status
    stage.later(age)
    stage.origin.closed = True
    stage.claim(grace=grace)
    page = stage.get(path)
    stage.origin.closed = False
    assert page.status in {status, SHORT_PAGE}
    return page.status == status


@scenario()
def pages_and_redirects_get_the_ceiling(stage: Stage) -> None:
    for status in (200, 203, 300, 301, 302, 410):
        assert served_stale(stage, CEILING // 2, grace=CEILING, status=status), status


@scenario()
def a_page_that_says_nothing_gets_the_ceiling(stage: Stage) -> None:
    assert served_stale(stage, 3600 + CEILING // 2, grace=CEILING, cache="")


@scenario()
def an_origin_may_promise_less_than_the_base(stage: Stage) -> None:
    short = f"stale-if-error={BASE - 1}"
    for cache, surrogate in (
        (f"max-age=10, {short}", ""),
        ("max-age=10", f"max-age=10, {short}"),
        (f"max-age=10, stale-if-error={CEILING}", f"max-age=10, {short}"),
        (f"max-age=10, {short.title()}", ""),
    ):
        more = {"Surrogate-Control": surrogate} if surrogate else {}
        assert not served_stale(stage, 10 + BASE, grace=CEILING, cache=cache, more=more), (cache, surrogate)
        assert served_stale(stage, 10 + BASE // 2, grace=CEILING, cache=cache, more=more), (cache, surrogate)


@scenario()
def an_origin_that_promises_the_base_or_more_gets_the_ceiling(stage: Stage) -> None:
    for promised in (BASE, 9_999_999_999):
        cache = f"max-age=10, stale-if-error={promised}"
        assert served_stale(stage, CEILING // 2, grace=CEILING, cache=cache), promised


@scenario(stranger("fetch", "set beresp.ttl = 10s; return(deliver);", 10_000))
def an_origins_refusal_stands_where_the_service_caches_it_all_the_same(stage: Stage) -> None:
    for cache, more in (
        ("max-age=10, private", {}),
        ("max-age=10, no-store", {}),
        ("max-age=10, No-Store", {}),
        ("max-age=10", {"Surrogate-Control": "max-age=10, private"}),
        ("max-age=10", {"Surrogate-Control": "no-store, max-age=10"}),
        ("max-age=10", {"Set-Cookie": "a=b"}),
        ("max-age=0", {}),
    ):
        assert not served_stale(stage, 15, grace=CEILING, cache=cache, more=more), (cache, more)
    assert served_stale(stage, 15, grace=CEILING)


@scenario(stranger("fetch", "set beresp.stale_if_error = 43200s;", 2))
def an_origins_promise_stands_where_the_service_overwrites_it(stage: Stage) -> None:
    """The service's own setting "serve stale" does that; the policy then adds nothing."""
    cache = f"max-age=10, stale-if-error={BASE - 1}"
    path = cached(stage, age=10, cache=cache)
    ceiling = stage.get(path, Fastly_Debug="1").headers["fastly-debug-ttl"].strip("()").split()[3]
    assert float(ceiling) == 43200


# -- strangers -------------------------------------------------------------------------------------------------------

PASS = stranger("recv", "if (req.http.Cookie) { return(pass); }")


@scenario(PASS)
def a_passed_request_never_gets_an_anonymous_page(stage: Stage) -> None:
    for belief in (True, False):
        stage.believe(error_before_lookup_sees_stale=belief)
        path = cached(stage, age=15)
        stage.claim(grace=5 * BASE, hold=100)
        stage.origin.closed = True
        assert stage.get(path, Cookie="session=1").status == 500
        stage.origin.down()
        assert stage.get(path, Cookie="session=1", Edgeguard_Asked="miss").status == 503
        stage.origin.closed = False
        stage.origin.up()


@scenario(stranger("miss", "if (req.http.Cookie) { return(pass); }"))
def a_request_passed_in_miss_never_gets_an_anonymous_page(stage: Stage) -> None:
    path = cached(stage, age=15)
    stage.origin.closed = True
    assert (stage.get(path, Cookie="session=1").status, ours(stage)) == (500, [])
    stage.origin.down()
    assert stage.get(path, Cookie="session=1").status == 503


@scenario(
    stranger(
        "recv",
        'if (req.http.Maintenance) { error 503 "Maintenance mode"; }'
        'if (req.http.Forbidden) { error 403 "Connection not allowed"; }',
    ),
)
def a_strangers_error_stays_what_it_is(stage: Stage) -> None:
    for belief in (False, True):
        stage.believe(error_before_lookup_sees_stale=belief)
        path = cached(stage, age=15)
        stage.claim(grace=5 * BASE, hold=100)
        for asked in ("no", "miss", "held", "again"):
            page = stage.get(path, Maintenance="1", Edgeguard_Asked=asked)
            assert (page.status, page.stale) == (503, None), (belief, asked)
            assert stage.get(path, Forbidden="1").status == 403


@scenario(
    stranger("recv", 'if (req.restarts > 0) { error 503 "Maintenance mode"; }'),
    stranger("fetch", "if (beresp.status == 404) { restart; }"),
)
def a_strangers_error_stays_what_it_is_after_a_restart(stage: Stage) -> None:
    stage.believe(error_before_lookup_sees_stale=True)
    path = cached(stage, age=15)
    stage.origin.pages[path] = (404, {})
    assert (stage.get(path).status, stage.asked(path)) == (503, 2)


@scenario(stranger("fetch", 'if (beresp.http.Teapot) { error 650 "teapot"; }'))
def an_error_beyond_the_5xx_stays_what_it_is(stage: Stage) -> None:
    path = cached(stage, age=15)
    stage.origin.pages[path] = (200, {"Teapot": "1"})
    assert stage.get(path).status == 650
    stage.origin.pages[path] = (650, {})
    assert stage.get(path).status == 650


@scenario(stranger("recv", 'if (req.http.Teapot) { error 661 "teapot"; }'))
def a_strangers_661_is_not_our_status(stage: Stage) -> None:
    assert stage.get("/", Teapot="1").status == 661


@scenario(stranger("recv", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_miss(stage: Stage) -> None:
    """A stranger's limit stands for the node that fetches, which may not have what recv set on another one."""
    stage.believe(stale_exists_obeys_limit=False)
    path = cached(stage, age=15)
    stage.claim(grace=5 * BASE, hold=100)
    assert (stage.get(path).stale, stage.asked(path)) == ("hold", 1)


@scenario(stranger("miss", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_fetch(stage: Stage) -> None:
    stage.believe(stale_exists_obeys_limit=False, deliver_stale_with_nothing_is_error=False)
    path = cached(stage, age=15)
    stage.origin.closed = True
    assert stage.get(path).stale == "error"


@scenario(stranger("miss", "set req.max_stale_if_error = 0s;"))
def the_limit_is_set_anew_in_error(stage: Stage) -> None:
    stage.believe(stale_exists_obeys_limit=False)
    path = cached(stage, age=15)
    stage.origin.down()
    assert stage.get(path).stale == "error"


@scenario(stranger("fetch", "if (beresp.status >= 500 && req.restarts == 0) { restart; }"))
def stale_comes_before_a_strangers_restart(stage: Stage) -> None:
    path = cached(stage, age=15)
    stage.origin.closed = True
    assert stage.get(path).stale == "error"
    assert stage.asked(path) == 2


# -- a closed gate, and no copy --------------------------------------------------------------------------------------


@scenario()
def a_closed_gate_without_a_copy_becomes_a_short_page(stage: Stage) -> None:
    path = stage.page()
    stage.origin.closed = True
    page = stage.get(path)
    assert (page.status, page.headers.get("content-type")) == (SHORT_PAGE, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!doctype html>")
    assert {name: page.headers.get(name.lower()) for name in CLOSED} == CLOSED
    stage.origin.closed = False
    assert stage.get(path).status == 200


@scenario()
def the_short_page_waits_for_no_longer_than_the_gate_says(stage: Stage) -> None:
    stage.origin.pages[path := stage.page()] = (500, {"Edgeguard-Closed": "d1"})
    for empty in (True, False):
        stage.believe(not_set_is_empty_when_assigned=empty)
        page = stage.get(path)
        assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, "d1")
        assert "retry-after" not in page.headers


@scenario()
def a_5xx_of_an_open_site_stays_what_it_is(stage: Stage) -> None:
    page = stage.get(stage.page(500), Edgeguard_Closed="forged", Edgeguard_Retry="1", Edgeguard_Asked="stale")
    assert (page.status, page.body[:6]) == (500, b"answer")


@scenario()
def a_visitor_cannot_name_the_time_to_retry(stage: Stage) -> None:
    stage.origin.pages[path := stage.page()] = (500, {"Edgeguard-Closed": "d1"})
    assert "retry-after" not in stage.get(path, Edgeguard_Retry="1").headers


@scenario()
def the_short_page_is_there_too_if_stale_was_promised_in_vain(stage: Stage) -> None:
    for is_error in (True, False):
        stage.believe(stale_exists_obeys_limit=False, deliver_stale_with_nothing_is_error=is_error)
        for hold in (0, 100):
            path = cached(stage, age=10 + 10 * BASE)
            stage.claim(grace=5 * BASE, hold=hold)
            stage.origin.closed = True
            page = stage.get(path)
            assert page.headers.get("edgeguard-closed") == CLOSED["Edgeguard-Closed"], (is_error, hold)
            if is_error:
                assert page.headers.get("retry-after") == CLOSED["Retry-After"], hold
            stage.origin.closed = False


@scenario(stranger("recv", 'if (req.http.Teapot) { error 662 "teapot"; }'))
def a_strangers_662_is_not_our_short_page(stage: Stage) -> None:
    assert stage.get("/", Teapot="1").status == 662


# -- groups ----------------------------------------------------------------------------------------------------------


def keys(stage: Stage, path: str, **headers: str) -> list[str]:
    """The surrogate keys under which a page is known."""
    return stage.get(path, Fastly_Debug="1", **headers).headers.get("surrogate-key", "").split()


@scenario()
def every_object_gets_one_of_256_groups_beside_its_own_keys(stage: Stage) -> None:
    for concatenates, shield in ((True, False), (False, False), (True, True)):
        stage.believe(not_set_is_empty_in_concatenation=concatenates)
        stage.nodes(shield=shield)
        for own in ([], ["a"], ["a", "b"], ["neg-00", "eg-123", "eg-0g"]):
            more = {"Surrogate-Key": " ".join(own)} if own else {}
            for status in (200, 404):
                *found, group = keys(stage, stage.page(status, more=more))
                assert (found, group in policy.GROUPS) == (own, True), (concatenates, shield, found, group)


@scenario()
def groups_are_of_one_size_more_or_less(stage: Stage) -> None:
    seen = [keys(stage, stage.page())[0] for _ in range(64)]
    assert len(set(seen)) > 32
    hosts = {keys(stage, "/", Host=f"{number}.example")[0] for number in range(8)}
    assert len(hosts) > 2
    assert len(set(policy.GROUPS)) == 256


@scenario()
def an_origin_may_choose_the_group(stage: Stage) -> None:
    for own in ("eg-00", "eg-00 a", "a eg-00", "a eg-00 b"):
        assert keys(stage, stage.page(more={"Surrogate-Key": own})) == own.split()


@scenario()
def no_key_is_lost_for_the_group(stage: Stage) -> None:
    assert keys(stage, stage.page(more={"Surrogate-Key": "a\nb c"}))[:3] == ["a", "b", "c"]
    for size, grouped in ((16_378, True), (16_379, False), (16_384, False)):
        path = stage.page(more={"Surrogate-Key": ("k" * 63 + " ") * 255 + "z" * (size - 255 * 64)})
        found = keys(stage, path)
        assert (len(found), found[-1] in policy.GROUPS) == (256 + grouped, grouped), size
        stage.edge.purge([found[-1]])
        assert (stage.get(path).status, stage.asked(path)) == (200, 2), size


@scenario()
def a_purge_of_all_groups_reaches_every_page(stage: Stage) -> None:
    paths = [stage.page(cache="max-age=1000") for _ in range(8)]
    for path in paths:
        stage.get(path)
    stage.edge.purge(policy.GROUPS)
    for path in paths:
        assert (stage.get(path).status, stage.asked(path)) == (200, 2)


@scenario(PASS)
def what_is_passed_has_no_group(stage: Stage) -> None:
    assert keys(stage, stage.page(more={"Surrogate-Key": "a"}), Cookie="session=1") == ["a"]


# -- behind a shield -------------------------------------------------------------------------------------------------


def at_the_shield(stage: Stage, age: int, cache: str = "max-age=10", more: Mapping[str, str] | None = None) -> str:
    """A page of that age, of which the shield and the first edge node have a copy."""
    stage.nodes(shield=True)
    return cached(stage, age, cache, more)


@scenario()
def a_shield_serves_stale_for_a_node_without_a_copy(stage: Stage) -> None:
    path = at_the_shield(stage, age=15)
    stage.origin.closed = True
    page = stage.get_at_second_node(path, Fastly_Debug="1")
    assert (page.status, page.stale) == (200, "error")
    _, _, ttl, grace_here, _ = page.headers["fastly-debug-ttl"].split(")")[0].split()
    assert (ttl[:2] in {"0.", "1."}, grace_here) == (True, "60.000")
    assert "edgeguard-stale" not in stage.get_at_second_node(path, Edgeguard_Show="").headers
    stage.claim(grace=5 * BASE, hold=100)
    stage.later(5)
    assert stage.get_at_second_node(path).stale == "hold"
    assert stage.asked(path) == 2


@scenario()
def a_shields_hold_is_told_as_such(stage: Stage) -> None:
    path = at_the_shield(stage, age=15)
    stage.claim(grace=5 * BASE, hold=100)
    assert (stage.get_at_second_node(path).stale, stage.asked(path)) == ("hold", 1)


@scenario()
def what_the_shield_served_stale_is_asked_for_again_at_once(stage: Stage) -> None:
    """After a soft purge, too, when its Age is low; with a service's default TTL; and with a validator."""
    for age, cache, more in (
        (15, "max-age=10", {}),
        (3615, "", {}),
        (1, "max-age=100", {}),
        (1, "max-age=100", {"ETag": '"1"'}),
        (1, "max-age=100", {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}),
    ):
        path = at_the_shield(stage, age, cache, {"Surrogate-Key": "page", **more})
        stage.get_at_second_node(path)
        stage.edge.purge(["page"])
        stage.origin.closed = True
        stage.later(2)
        assert stage.get_at_second_node(path).stale == "error", (age, cache, more)
        stage.origin.closed = False
        stage.later(2)
        asked = stage.asked(path)
        assert (stage.get_at_second_node(path).stale, stage.asked(path)) == (None, asked + 1), (age, cache, more)


@scenario()
def what_the_shield_served_stale_is_not_kept_for_long(stage: Stage) -> None:
    path = at_the_shield(stage, age=15, cache="max-age=10, stale-while-revalidate=1000")
    stage.origin.closed = True
    assert stage.get_at_second_node(path).stale == "error"
    stage.later(BASE + 10)
    assert stage.get_at_second_node(path).status == SHORT_PAGE


@scenario()
def a_shield_revalidates_nothing_in_the_background(stage: Stage) -> None:
    path = at_the_shield(stage, age=15, cache="max-age=10, stale-while-revalidate=1000, stale-if-error=0")
    stage.origin.closed = True
    assert stage.get_at_second_node(path).status == SHORT_PAGE


@scenario()
def an_edge_node_has_its_own_copy_when_the_shield_has_none(stage: Stage) -> None:
    path = cached(stage, age=15)  # by the first node, from the origin itself
    stage.nodes(shield=True)
    stage.origin.closed = True
    assert (stage.get(path).status, stage.get(path).stale) == (200, "error")
    page = stage.get(stage.page())
    assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, CLOSED["Edgeguard-Closed"])
    stage.origin.down()
    assert (stage.get(path).status, stage.get(path).stale) == (200, "error")


@scenario(stranger("recv", "if (req.http.Cookie && fastly.ff.visits_this_service == 0) { return(pass); }"))
def a_shield_makes_no_page_of_its_own(stage: Stage) -> None:
    stage.nodes(shield=True)
    stage.origin.closed = True
    assert stage.get(stage.page(), Cookie="session=1").status == 500


@scenario()
def the_status_is_that_of_the_node_that_visitors_meet(stage: Stage) -> None:
    stage.nodes(shield=True, edges=2)
    assert {stage.edge.status().node for _ in range(4)} == {"cache-standin1-LO", "cache-standin2-LO"}


@scenario()
def a_neighbours_stale_answer_is_told_as_such(stage: Stage) -> None:
    stage.believe(stale_told_after_cluster_hop=False)
    stage.nodes(clustered=True)
    path = cached(stage, age=15)
    stage.origin.closed = True
    assert [stage.get(path).stale for _ in range(2)] == ["error", "error"]


@scenario()
def behind_a_shield_nobody_gets_an_error_whichever_way_the_open_questions_turn_out(stage: Stage) -> None:
    for belief, usual in stage.control("GET", "/switches").items():
        stage.believe(**{belief: not usual})
        for clustered, more in ((False, {}), (True, {"ETag": '"1"'})):
            stage.nodes(shield=True, clustered=clustered)
            path = cached(stage, age=10 + 2 * BASE, more=more)
            for hold in (0, 100):
                stage.claim(grace=5 * BASE, hold=hold)
                stage.origin.closed = True
                assert [stage.get_at_second_node(path).status for _ in range(2)] == [200, 200], (belief, hold)
                stage.later(2)
                stage.origin.down()
                assert [stage.get_at_second_node(path).status for _ in range(2)] == [200, 200], (belief, hold)
                stage.origin.up()
            stage.origin.closed = False
        stage.believe(**{belief: usual})


@scenario()
def a_cluster_of_nodes_makes_no_difference(stage: Stage) -> None:
    """Every second answer is made by a neighbour of the node that visitors meet."""
    for shield, hold, said in ((False, 0, "error"), (False, 100, "hold"), (True, 0, "error"), (True, 100, "hold")):
        stage.nodes(clustered=True, shield=shield)
        path, cold = cached(stage, age=15), stage.page()
        stage.claim(grace=5 * BASE, hold=hold)
        stage.origin.closed = True
        for _ in range(2):
            assert (stage.get(path).status, stage.get(path).stale) == (200, said)
            page = stage.get(cold)
            assert (page.status, page.headers.get("edgeguard-closed")) == (SHORT_PAGE, CLOSED["Edgeguard-Closed"])
        stage.origin.down()
        for _ in range(2):
            assert (stage.get(path).status, stage.get(path).stale) == (200, said)
        stage.origin.closed = False
        stage.origin.up()


# -- what Fastly's documentation leaves open; the cases are played with every switch turned --------------------------


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


# -- what visitors and origin see of it ------------------------------------------------------------------------------


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


@scenario(stranger("recv", 'if (req.http.Words) { error 503 "connection words"; }'))
def a_strangers_words_alone_are_no_reason(stage: Stage) -> None:
    assert b"connection words" in stage.get("/", Words="1").body


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
    assert dict.fromkeys(grace.SLOTS, "0:0") | {"deploy1": value} == seen.slots
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
