"""Whole policies through the compiler: one that uses everything of the subset, and the project's own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeguard.edge.claim import DEPLOY_SLOTS, SLOTS, in_force, parse_all
from edgeguard.edge.fastly.policy import render
from edgeguard.settings import EdgeSettings
from edgeguard.standin.vcl import Headers, Program, Request, Snippet, Value, VclError, compile_service
from edgeguard.standin.vcl.language import SUBROUTINES

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_800_000_000

# A policy in the style of the shielded, grouped, page-serving one that services ask for: it uses the whole subset.
INIT = """
sub eg_grace {
  declare local var.eg_now INTEGER;   declare local var.eg_far INTEGER;   declare local var.eg_max INTEGER;
  declare local var.eg_v STRING;      declare local var.eg_until INTEGER; declare local var.eg_hold INTEGER;
  set var.eg_now = std.atoi(now.sec);
  set var.eg_far = var.eg_now;
  set var.eg_far += 691200;
  set var.eg_max = 3600;
  set req.http.Eg-Hold = "0";
  set var.eg_v = table.lookup(edgeguard, "deploy0", "");
  if (var.eg_v ~ "^([0-9]{10}):([0-9]{1,7})(:[0-9]{10})?\\z") {
    set var.eg_until = std.atoi(re.group.1);
    if (var.eg_until > var.eg_now && var.eg_until < var.eg_far) {
      if (std.atoi(re.group.2) > var.eg_max) { set var.eg_max = std.atoi(re.group.2); }
      if (var.eg_v ~ ":([0-9]{10})\\z") {
        set var.eg_hold = std.atoi(re.group.1);
        if (var.eg_hold > var.eg_now) { set req.http.Eg-Hold = "1"; }
      }
    }
  }
  if (var.eg_max > 604800) { set var.eg_max = 604800; }
  set req.max_stale_if_error = var.eg_max;
  set req.http.Eg-Grace = var.eg_max;
  if (req.http.Eg-Hold == "1") { set req.max_stale_while_revalidate = 0s; }
}
"""
RECV = """
unset req.http.Eg-Asked; unset req.http.Eg-Closed; unset req.http.Eg-Retry;
call eg_grace;
if (fastly.ff.visits_this_service > 0) { set req.max_stale_while_revalidate = 0s; }
if (fastly.ff.visits_this_service == 0 && req.url.path == "/STATUS") { error 661 "edgeguard"; }
"""
MISS = """
call eg_grace;
unset bereq.http.Eg-Hold; unset bereq.http.Eg-Grace; unset bereq.http.Eg-Show;
if (req.http.Eg-Hold == "1" && stale.exists) { return(deliver_stale); }
set req.http.Eg-Asked = "1";
"""
FETCH = """
call eg_grace;
if (beresp.status >= 500 && beresp.status < 600) {
  if (req.http.Eg-Asked && stale.exists) { return(deliver_stale); }
  if (beresp.http.Eg-Closed && fastly.ff.visits_this_service == 0) {
    set req.http.Eg-Closed = beresp.http.Eg-Closed;
    set req.http.Eg-Retry = beresp.http.Retry-After;
    error 662 "closed";
  }
}
"""
CEILING = """
if (beresp.cacheable && beresp.ttl > 0s && !beresp.http.Set-Cookie
    && beresp.http.Cache-Control !~ "(?:private|no-store)"
    && (beresp.status == 200 || beresp.status == 203 || beresp.status == 301 || beresp.status == 302)) {
  set beresp.stale_if_error = 604800s;
  if (beresp.http.Eg-Stale) {
    set beresp.ttl = 1s;
    set beresp.stale_if_error = 60s;
    set beresp.http.Surrogate-Control = "max-age=1";
  }
  if (!beresp.http.Surrogate-Key) {
    set beresp.http.Surrogate-Key = "eg-" substr(digest.hash_md5(req.http.host req.url), 0, 2);
  } else if (beresp.http.Surrogate-Key !~ "(^| )eg-[0-9a-f][0-9a-f]( |\\z)") {
    set beresp.http.Surrogate-Key = beresp.http.Surrogate-Key
      " eg-" substr(digest.hash_md5(req.http.host req.url), 0, 2);
  }
}
"""
ERROR = """
call eg_grace;
if (obj.status == 661) {
  set obj.status = 200; set obj.http.Cache-Control = "no-store"; set obj.http.Content-Type = "text/plain";
  synthetic "node=" server.identity " now=" now.sec " grace=" req.http.Eg-Grace " hold=" req.http.Eg-Hold
    " deploy0=" table.lookup(edgeguard, "deploy0", "-");
  return(deliver);
}
if (obj.status == 662) {
  set obj.status = 503; set obj.response = "Service Unavailable"; set obj.http.Cache-Control = "no-store";
  set obj.http.Eg-Closed = req.http.Eg-Closed;
  set obj.http.Retry-After = if(req.http.Eg-Retry, req.http.Eg-Retry, "30");
  synthetic {"<!doctype html><title>Back in a moment</title>"};
  return(deliver);
}
if (obj.status >= 500 && obj.status < 600 && req.http.Eg-Asked && stale.exists) { return(deliver_stale); }
"""
DELIVER = """
if (fastly.ff.visits_this_service > 0) {
  if (resp.stale) { set resp.http.Eg-Stale = "shield"; }
} else if (req.http.Eg-Show == "STATUS") {
  if (resp.stale.is_error) { set resp.http.Eg-Stale = if(req.http.Eg-Hold == "1", "hold", "error"); }
} else { unset resp.http.Eg-Stale; }
"""
WHOLE = [
    Snippet("init", "init", INIT, 10),
    Snippet("recv", "recv", RECV, 1),
    Snippet("miss", "miss", MISS, 1),
    Snippet("fetch", "fetch", FETCH, 1),
    Snippet("ceiling", "fetch", CEILING, 9999),
    Snippet("error", "error", ERROR, 1),
    Snippet("deliver", "deliver", DELIVER, 9999),
]
HOLDING = f"{NOW + 600}:86400:{NOW + 60}"


def visit(item: str = "", **values: Value) -> Request:
    named = {name.replace("__", "."): value for name, value in values.items()}
    request = Request(
        tables={"edgeguard": {"deploy0": item}},
        req=Headers([("Host", "www.example.com")]),
        values={"now": float(NOW), "req.url": "/page", "req.method": "GET", "server.identity": "n1", **named},
    )
    request.bereq, request.beresp = Headers([("Eg-Hold", "1")]), Headers([("Cache-Control", "max-age=60")])
    request.obj, request.resp = Headers(), Headers()
    return request


@pytest.fixture(scope="module")
def whole() -> Program:
    return compile_service(WHOLE, ["edgeguard"])


@pytest.mark.parametrize(
    ("item", "grace", "hold"),
    [
        ("", 3600.0, "0"),
        (f"{NOW + 600}:86400", 86400.0, "0"),
        (HOLDING, 86400.0, "1"),
        (f"{NOW + 600}:86400:{NOW - 60}", 86400.0, "0"),
        (f"{NOW - 1}:86400:{NOW + 60}", 3600.0, "0"),
        (f"{NOW + 800_000}:86400:{NOW + 60}", 3600.0, "0"),
        (f"{NOW + 600}:9999999", 604800.0, "0"),
        (f"{NOW + 600}:60", 3600.0, "0"),
        (f"{NOW + 600}:86400\n", 3600.0, "0"),
        ("garbage", 3600.0, "0"),
    ],
)
def test_an_item_decides_grace_and_hold(whole: Program, item: str, grace: float, hold: str) -> None:
    request = visit(item)

    assert whole.run("recv", request) == "lookup"
    assert (grace, hold) == (request.values["req.max_stale_if_error"], request.req.get("Eg-Hold"))


def test_on_hold_a_stale_copy_is_served_at_once_and_a_page_without_one_is_asked_for(whole: Program) -> None:
    request = visit(HOLDING, stale__exists="1")
    assert whole.run("miss", request) == "deliver_stale"
    assert request.req.get("Eg-Asked") is None

    request = visit(HOLDING)
    assert whole.run("miss", request) == "fetch"
    assert (request.req.get("Eg-Asked"), request.bereq) == ("1", Headers())


def test_an_origin_that_fails_leads_to_stale_or_to_an_error_that_keeps_what_it_said(whole: Program) -> None:
    request = visit(beresp__status=503, stale__exists="1")
    request.req.set("Eg-Asked", "1")
    assert whole.run("fetch", request) == "deliver_stale"

    request = visit(beresp__status=503)
    request.beresp = Headers([("Eg-Closed", "d1"), ("Retry-After", "7")])
    assert (whole.run("fetch", request), request.error) == ("error", (662, "closed"))
    request.beresp, request.values["obj.status"] = None, 662
    assert whole.run("error", request) == "deliver"
    assert request.obj == Headers([("Cache-Control", "no-store"), ("Eg-Closed", "d1"), ("Retry-After", "7")])
    assert (request.values["obj.status"], request.body) == (503, "<!doctype html><title>Back in a moment</title>")


def test_a_page_is_stored_with_the_ceiling_and_a_group(whole: Program) -> None:
    request = visit(beresp__status=200, beresp__cacheable=True, beresp__ttl=60.0)
    assert whole.run("fetch", request) == "deliver"
    assert request.beresp is not None
    assert (request.values["beresp.stale_if_error"], request.values["beresp.ttl"]) == (604800.0, 60.0)
    group = request.beresp.get("Surrogate-Key")
    assert group == "eg-79"

    request.beresp.set("Surrogate-Key", "own")
    whole.run("fetch", request)
    whole.run("fetch", request)
    assert request.beresp.get("Surrogate-Key") == f"own {group}"


def test_what_the_shield_served_stale_is_kept_a_second(whole: Program) -> None:
    """The boilerplate, which gives 3,600 s to an answer without max-age, leaves that alone."""
    request = visit(beresp__status=200, beresp__cacheable=True, beresp__ttl=60.0)
    request.beresp = Headers([("Eg-Stale", "shield")])

    assert whole.run("fetch", request) == "deliver"
    assert (request.values["beresp.ttl"], request.values["beresp.stale_if_error"]) == (1.0, 60.0)


def test_the_status_answer_is_one_line(whole: Program) -> None:
    request = visit(HOLDING, req__url="/STATUS?x")
    assert (whole.run("recv", request), request.error) == ("error", (661, "edgeguard"))

    request.values["obj.status"] = 661
    assert whole.run("error", request) == "deliver"
    assert request.body == f"node=n1 now={NOW} grace=86400 hold=1 deploy0={HOLDING}"


@pytest.mark.parametrize(
    ("visits", "asks", "hold", "told"),
    [(1, None, "0", "shield"), (0, "STATUS", "1", "hold"), (0, "STATUS", "0", "error"), (0, None, "1", None)],
)
def test_a_stale_answer_tells_the_edge_and_who_asks(
    whole: Program, visits: int, asks: str | None, hold: str, told: str | None
) -> None:
    request = visit(resp__stale=True)
    request.values |= {"resp.stale.is_error": True, "fastly.ff.visits_this_service": visits}
    request.req = Headers([("Eg-Hold", hold), ("Eg-Show", asks or "")])
    request.resp = Headers([("Eg-Stale", "made up")])

    whole.run("deliver", request)

    assert request.resp is not None
    assert told == (request.resp.get("Eg-Stale"))


# the project's own policy

SETTINGS = EdgeSettings(service="s", url="http://127.0.0.1/", health_url="http://127.0.0.1/")
OWN = [Snippet(one.name, one.type, one.content, one.priority) for one in render(SETTINGS)]
OWN_PROGRAM = compile_service(OWN, [SETTINGS.dictionary])

_MOMENTS = st.integers(NOW - 100, NOW + 100) | st.sampled_from([NOW, NOW + 691_199, NOW + 691_200, 0, 10**10 - 1])
_VALUES = st.one_of(
    st.builds(
        "{:010d}:{}:{:010d}:{}".format, _MOMENTS, st.integers(0, 10**7), _MOMENTS, st.sampled_from(["ab12", "x"])
    ),
    st.builds("{:010d}:{}:{}".format, _MOMENTS, st.integers(0, 10**7), st.sampled_from(["ab12", "ab12\n"])),
    st.text(alphabet="0123456789:ab\n- é", max_size=30),
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(SLOTS), _VALUES, max_size=10))
@example({DEPLOY_SLOTS[0]: f"{NOW + 60}:86400:{NOW + 60}:ab12", "support8": f"{NOW + 1}:90000:ab12"})
def test_the_edge_computes_what_the_product_computes(items: Mapping[str, str]) -> None:
    """Two implementations of the grace in force, in VCL and in Python, agree on every dictionary, garbage too."""
    request = visit()
    request.tables = {SETTINGS.dictionary: items}

    OWN_PROGRAM.run("recv", request)

    expected = in_force(parse_all(items), base=SETTINGS.base_grace, ceiling=SETTINGS.ceiling, now=NOW)
    assert expected.seconds == request.values["req.max_stale_if_error"]
    assert expected.hold == (request.req.get("Edgeguard-Hold") == "1")


def _broken(snippets: list[Snippet], dice: random.Random) -> list[Snippet]:
    """One word of one snippet dropped, doubled, or replaced by another's."""
    at = dice.randrange(len(snippets))
    words = snippets[at].content.split(" ")
    others = dice.choice(snippets).content.split(" ")
    place = dice.randrange(len(words))
    words[place : place + 1] = dice.choice([[], [words[place]] * 2, [dice.choice(others)]])
    content = " ".join(words)
    return [
        *snippets[:at],
        Snippet(snippets[at].name, snippets[at].type, content, snippets[at].priority),
        *snippets[at + 1 :],
    ]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32))
def test_a_policy_with_a_word_changed_is_refused_or_runs(seed: int) -> None:
    """What the compiler lets through never fails on a request."""
    snippets = _broken(WHOLE, random.Random(seed))
    try:
        program = compile_service(snippets, ["edgeguard"])
    except VclError:
        return
    for subroutine in SUBROUTINES:
        program.run(subroutine, visit(HOLDING, beresp__status=503, stale__exists="1"))
