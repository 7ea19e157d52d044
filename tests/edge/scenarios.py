"""What the policy promises beyond the table of cases (tests/edge/cases.py), each as a play with visitors.

They pass under the policy, and fail under a broken one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge import grace, policy
from edgeguard.edge.policy import Snippet
from tests.edge.stage import BASE, CEILING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.edge.stage import Stage

    Scenario = Callable[[Stage], None]

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
        assert stage.get(path).status == 500
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
    assert stage.get(path).status == 500


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
        assert stage.get(path).status == 500, value
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
    assert page.status in {status, 500}
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
    ceiling = stage.get(path, Fastly_Debug="1").headers["fastly-debug-ttl"].split()[3]
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
    assert stage.get(path).status == 500
    stage.claim(grace=5 * BASE)
    assert stage.get(path).status == 200


# -- what visitors and origin see of it ------------------------------------------------------------------------------


@scenario()
def only_who_asks_is_told_of_a_stale_answer(stage: Stage) -> None:
    path = cached(stage, age=15, more={"Edgeguard-Stale": "forged"})
    stage.origin.closed = True
    assert stage.get(path).stale == "error"
    for show in ("", "1", "other"):
        page = stage.get(path, Edgeguard_Show=show)
        assert (page.status, page.stale) == (200, None)
    stage.origin.closed = False
    assert stage.get(stage.page(more={"Edgeguard-Stale": "forged"})).stale is None


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
