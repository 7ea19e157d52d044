"""What the compiled VCL does: values, what is not set, requests across subroutines, and every switch both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeguard.standin.vcl import Headers, Request, Semantics, Snippet, Value, compile_service

NOW = 1_800_000_000.25


def a_request(**values: Value) -> Request:
    known: dict[str, Value] = {"now": NOW, "req.url": "/a/b.html?x=1&y=2", "req.method": "GET"}
    return Request(
        tables={"edgeguard": {"k": "value", "n": "42", "empty": ""}},
        req=Headers([("Host", "www.example.com"), ("X-Empty", "")]),
        values=known | {name.replace("__", "."): value for name, value in values.items()},
    )


def ran(content: str, request: Request | None = None, *, kind: str = "recv", init: str = "") -> tuple[str, Request]:
    """The state and the request after a snippet of this type."""
    request = request or a_request()
    snippets = [Snippet("mine", kind, content, 100), Snippet("init", "init", init, 10)]
    return compile_service(snippets, ["edgeguard"]).run(kind, request), request


LOCALS = """
declare local var.n INTEGER; declare local var.f FLOAT; declare local var.r RTIME;
declare local var.t TIME; declare local var.b BOOL; declare local var.s STRING;
"""

VALUES = [
    # statements that leave something in req.http.R, and what is there (None: not set)
    # every type as a STRING
    ("set req.http.R = 'x';", "x"),
    ("set var.n = -42; set req.http.R = var.n;", "-42"),
    ("set var.f = 1.5; set req.http.R = var.f;", "1.500"),
    ("set var.r = 1h; set req.http.R = var.r;", "3600.000"),
    ("set var.r = 250ms; set req.http.R = var.r;", "0.250"),
    ("set var.r = 2w; set req.http.R = var.r;", "1209600.000"),
    ("set var.b = true; set req.http.R = var.b;", "1"),
    ("set req.http.R = var.b;", "0"),
    ("set req.http.R = now;", "Fri, 15 Jan 2027 08:00:00 GMT"),
    ("set req.http.R = std.integer2time(-1);", "datetime out of bounds"),
    ("set req.http.R = client.ip;", "192.0.2.7"),
    # literals
    ("set req.http.R = 'a%20%22b%22';", 'a "b"'),
    ("set req.http.R = {'a\n b'};", "a\n b"),
    ("set req.http.R = {X'a '} 5%'X};", 'a "} 5%'),
    # concatenation
    ("set req.http.R = 'a' 'b' + 'c';", "abc"),
    ("set var.n = 5; set req.http.R = 'n=' var.n ' b=' var.b ' r=' 'x';", "n=5 b=0 r=x"),
    ("set req.http.R = 'a'; set req.http.R += 'b'; set req.http.R += req.http.R;", "abab"),
    ("set req.http.R = 'a' req.http.Nothing 'b';", "ab"),
    # arithmetic, which assignments alone know
    ("set var.n = 7; set var.n += 5; set var.n -= 2; set var.n *= 3; set req.http.R = var.n;", "30"),
    ("set var.n = -7; set var.n /= 2; set req.http.R = var.n;", "-3"),
    ("set var.n = -7; set var.n %= 4; set req.http.R = var.n;", "-3"),
    ("set var.n = 7; set var.n /= 0; set req.http.R = var.n;", "0"),
    ("set var.n = 9000000000000000; set var.n *= 9000; set req.http.R = var.n;", "9223372036854775807"),
    ("set var.r = 1m; set var.r += 5s; set var.n = 10; set var.r -= var.n; set req.http.R = var.r;", "55.000"),
    ("set var.r = 10s; set var.r *= 3; set var.r /= 4; set req.http.R = var.r;", "7.500"),
    ("set var.f = 3; set var.f /= 2; set req.http.R = var.f;", "1.500"),
    ("set var.n = 90; set var.r = var.n; set req.http.R = var.r;", "90.000"),
    ("set var.r = 90.7s; set var.n = var.r; set req.http.R = var.n;", "90"),
    ("set var.n = now; set req.http.R = var.n;", "1800000000"),
    ("set var.t = now; set var.t += 1h; set var.t -= 2h; set req.http.R = var.t;", "Fri, 15 Jan 2027 07:00:00 GMT"),
    # what is not set
    ("set req.http.R = req.http.Nothing;", ""),
    ("set var.s = table.lookup(edgeguard, 'nothing'); if (var.s) { set req.http.R = 'true'; }", "true"),
    ("if (var.s) { set req.http.R = 'true'; }", None),
    ("if (req.http.X-Empty) { set req.http.R = 'true'; }", "true"),
    ("if (!req.http.Nothing) { set req.http.R = 'true'; }", "true"),
    ("if (req.http.Nothing == '') { set req.http.R = 'true'; }", None),
    ("if (req.http.Nothing != 'x') { set req.http.R = 'true'; }", "true"),
    ("if (req.http.Nothing ~ '^$') { set req.http.R = 'true'; }", "true"),
    ("if (req.http.Nothing !~ 'x') { set req.http.R = 'true'; }", "true"),
    ("set req.http.R = 'x'; unset req.http.r;", None),
    # conditions
    ("set req.http.R = if(req.url.path == '/a/b.html', 'yes', 'no');", "yes"),
    ("set req.http.R = if(req.http.Nothing, 'yes', 'no') '!';", "no!"),
    ("if (!req.url ~ 'a') { set req.http.R = '1'; } else if (req.url ~ 'a') { set req.http.R = '2'; }", "2"),
    ("if (var.b || var.n == 0 && var.b) { } else { set req.http.R = 'and binds stronger'; }", "and binds stronger"),
    ("if (!(var.b || var.b)) { set req.http.R = 'x'; }", "x"),
    ("if (var.b) { } elsif (!var.b) { set req.http.R = 'x'; } else { set req.http.R = 'y'; }", "x"),
    ("set var.b = (var.n >= 0 && req.url); set req.http.R = var.b;", "1"),
    ("set var.n = 5; set var.r = 5s; if (var.n >= var.r && var.r > 4.5) { set req.http.R = 'x'; }", "x"),
    # patterns
    ("if (req.url ~ '^/(a)/(b)(nothing)?') { set req.http.R = re.group.0 re.group.2 re.group.3; }", "/a/bb"),
    ("if (req.url ~ '(?i)HTML\\?') { set req.http.R = re.group.0; }", "html?"),
    ("set req.http.R = 'a%0A'; if (req.http.R ~ 'a\\z') { set req.http.R = 'x'; }", "a\n"),
    ("set req.http.R = 'a%0A'; if (req.http.R ~ 'a\\Z') { set req.http.R = 'x'; }", "x"),
    ("set req.http.R = 'a%0A'; if (req.http.R ~ 'a$') { set req.http.R = 'x'; }", "x"),
    ("if (req.url ~ 'b' && req.url !~ '(html)') { } set req.http.R = re.group.1;", "html"),
    # tables
    ("set req.http.R = table.lookup(edgeguard, 'k', 'default');", "value"),
    ("set req.http.R = table.lookup(edgeguard, 'no' 'thing', 'default');", "default"),
    ("set req.http.R = table.lookup(edgeguard, 'empty', 'default');", ""),
    ("if (table.contains(edgeguard, 'empty')) { set req.http.R = 'x'; }", "x"),
    ("if (table.contains(edgeguard, 'nothing')) { set req.http.R = 'x'; }", None),
    # functions
    ("set var.n = std.atoi(table.lookup(edgeguard, 'n', '')); set req.http.R = var.n;", "42"),
    ("set var.n = std.atoi(' -12.9x'); set req.http.R = var.n;", "-12"),
    ("set var.n = std.atoi('99999999999999999999999999'); set req.http.R = var.n;", "9223372036854775807"),
    ("set req.http.R = std.itoa(std.strlen('abcé'));", "5"),
    ("set req.http.R = std.tolower('AbC') std.toupper('AbC');", "abcABC"),
    ("set req.http.R = substr('abcdefg', 0, 3);", "abc"),
    ("set req.http.R = substr('abcdefg', 5, 3);", "fg"),
    ("set req.http.R = substr('abcdefg', -3, 2);", "ef"),
    ("set req.http.R = substr('abcdefg', 1, -3);", "bcd"),
    ("set req.http.R = substr('abcdefg', -4, -3);", "de"),
    ("set req.http.R = substr('foobar', -3);", "bar"),
    ("set req.http.R = 'x' substr('abc', 3, 2);", "x"),
    ("set req.http.R = if(substr('abc', 4, 2), 'set', 'not set');", "not set"),
    ("set req.http.R = if(substr('abc', 3, 2), 'set', 'not set');", "set"),
    ("set req.http.R = if(substr('abc', -5, 2), 'set', 'not set');", "not set"),
    ("set req.http.R = digest.hash_md5('abc');", "900150983cd24fb0d6963f7d28e17f72"),
    ("set req.http.R = substr(digest.hash_sha256(req.http.Nothing), 0, 8);", "e3b0c442"),
    ("set req.http.R = regsub('a-b-c', '-(.)', '\\1\\{1}');", "abb-c"),
    ("set req.http.R = regsuball('a-b-c', '-', '');", "abc"),
    ("set req.http.R = regsub('unchanged', '-', 'x');", "unchanged"),
    ("if (req.url ~ '(a)') { } set req.http.R = regsub('b', '(b)', 'x') re.group.1;", "xa"),
    ("set req.http.R = urlencode('a b&é:~') urldecode('%41+%42');", "a%20b%26%C3%A9%3A~A+B"),
    ("set var.n = parse_time_delta('10m'); set req.http.R = var.n;", "600"),
    ("set var.n = parse_time_delta('soon'); set req.http.R = var.n;", "-1"),
    ("set var.n = randomint(3, 3); set req.http.R = var.n;", "3"),
    ("set req.http.R = std.time('Mon, 02 Jan 2006 22:04:05 GMT', now);", "Mon, 02 Jan 2006 22:04:05 GMT"),
    ("set req.http.R = std.time('2006-01-02 22:04:05', now);", "Mon, 02 Jan 2006 22:04:05 GMT"),
    ("set req.http.R = std.time('1136239445', now);", "Mon, 02 Jan 2006 22:04:05 GMT"),
    ("set req.http.R = std.time('soon', std.integer2time(0));", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("set req.http.R = time.sub(now, 8h);", "Fri, 15 Jan 2027 00:00:00 GMT"),
    ("if (time.is_after(time.add(now, 1s), now)) { set req.http.R = 'x'; }", "x"),
    ("if (time.is_after(now, now)) { set req.http.R = 'x'; }", None),
    # variables that are derived
    ("set req.http.R = now.sec;", "1800000000"),
    ("set req.http.R = req.url.path '|' req.url.qs '|' req.url.basename '|' req.url.dirname '|' req.url.ext;",
     "/a/b.html|x=1&y=2|b.html|/a|html"),
    ("set req.url = '/top'; set req.http.R = req.url.path req.url.qs req.url.dirname req.url.ext;", "/top/"),
    ("set req.request = 'HEAD'; set req.http.R = req.method;", "HEAD"),
    ("set req.http.R = req.http.HOST;", "www.example.com"),
    # what the node does not tell is the type's zero
    ("set req.http.R = 'x' stale.exists req.restarts resp.stale;", "x00"),
    ("if (req.max_stale_if_error > 250y) { set req.http.R = 'unlimited'; }", "unlimited"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), VALUES)
def test_value(content: str, expected: str | None) -> None:
    _, request = ran(LOCALS + content.replace("'", '"'), a_request(client__ip="192.0.2.7"))

    assert expected == request.req.get("R")


def test_an_rtime_variable_takes_an_integer_as_seconds_and_never_more_than_an_rtime_holds() -> None:
    assigning = "declare local var.n INTEGER; set var.n = {}; set req.max_stale_if_error = var.n;"

    assert ran(assigning.format(600))[1].values["req.max_stale_if_error"] == 600.0
    assert ran(assigning.format(10**17))[1].values["req.max_stale_if_error"] == 9_223_372_036.0


@pytest.mark.parametrize(
    ("switch", "content", "kept", "lost"),
    [
        ("atoi_garbage_is_zero", "set req.http.R = std.itoa(std.atoi(`x`));", "0", "9223372036854775807"),
        (
            "failed_match_unsets_groups",
            "if (req.url ~ `(a)` && req.url ~ `nothing`) { } set req.http.R = re.group.1;",
            "",
            "a",
        ),
        ("not_set_is_empty_in_concatenation", "set req.http.R = `a` req.http.Nothing;", "a", "a(null)"),
        ("not_set_is_empty_in_match", "if (req.http.Nothing ~ `^$`) { set req.http.R = `x`; }", "x", None),
        ("not_set_is_empty_when_assigned", "set req.http.R = req.http.Nothing;", "", None),
        (
            "not_set_is_empty_when_assigned",
            "declare local var.s STRING; set var.s = req.http.Nothing; if (var.s) { set req.http.R = `x`; }",
            "x",
            None,
        ),
    ],
)
def test_each_switch_both_ways(switch: str, content: str, kept: str | None, lost: str | None) -> None:
    other = a_request()
    other.semantics = replace(Semantics(), **{switch: False})

    assert kept == ran(content.replace("`", '"'))[1].req.get("R")
    assert lost == ran(content.replace("`", '"'), other)[1].req.get("R")


# states, errors, subroutines


def test_the_generated_vcl_passes_other_methods_and_looks_up_the_rest() -> None:
    assert {method: ran("", a_request(req__method=method))[0] for method in ("GET", "HEAD", "FASTLYPURGE", "POST")} == {
        "GET": "lookup",
        "HEAD": "lookup",
        "FASTLYPURGE": "lookup",
        "POST": "pass",
    }


def test_each_subroutine_of_the_generated_vcl_returns_its_own_state() -> None:
    program = compile_service([], [])
    request = a_request(beresp__status=200)
    request.beresp, request.resp, request.obj = Headers(), Headers(), Headers()

    states = {name: program.run(name, request) for name in ("hash", "hit", "miss", "pass", "fetch", "error", "log")}

    assert states == {
        "hash": "hash",
        "hit": "deliver",
        "miss": "fetch",
        "pass": "pass",
        "fetch": "deliver",
        "error": "deliver",
        "log": "deliver",
    }
    assert program.run("deliver", request) == "deliver"


def test_the_hash_is_of_url_host_generation_and_snippets_and_made_anew_each_time() -> None:
    request = a_request(**{"req.vcl.generation": 7})

    hashed = [ran('set req.hash += "#extra";', request, kind="hash")[1].values["req.hash"] for _ in range(2)]

    assert hashed == ["/a/b.html?x=1&y=2www.example.com7#extra"] * 2


FETCHED = [
    # headers of the origin's answer, state, TTL at the end
    ([("Cache-Control", "max-age=60")], "deliver", 60.0),
    ([("Cache-Control", "s-maxage=60")], "deliver", 60.0),
    ([("Surrogate-Control", "max-age=60")], "deliver", 60.0),
    ([("Expires", "tomorrow")], "deliver", 60.0),
    ([], "deliver", 3600.0),
    ([("Cache-Control", "public")], "deliver", 3600.0),
    ([("Set-Cookie", "a=b"), ("Cache-Control", "max-age=60")], "pass", 60.0),
    ([("Cache-Control", "private, max-age=60")], "pass", 60.0),
    ([("Cache-Control", "no-store")], "deliver", 3600.0),  # Fastly's documented boilerplate minds it; this does not
]


@pytest.mark.parametrize(("headers", "state", "ttl"), FETCHED)
def test_fetch_of_the_generated_vcl(headers: list[tuple[str, str]], state: str, ttl: float) -> None:
    request = a_request(beresp__ttl=60.0, beresp__status=200)
    request.beresp = Headers(headers)

    assert ran("", request, kind="fetch")[0] == state
    assert request.values["beresp.ttl"] == ttl


def test_the_generated_vcl_asks_once_more_after_a_500_or_503() -> None:
    found = {}
    for status in (500, 502, 503):
        for restarts in (0, 1):
            request = a_request(beresp__ttl=60.0, beresp__status=status, req__restarts=restarts)
            request.beresp = Headers([("Cache-Control", "max-age=60")])
            state = ran("", request, kind="fetch")[0]
            found[status, restarts] = (state, request.values["beresp.ttl"], request.values.get("beresp.stale_if_error"))

    kept = ("deliver", 1.0, 5.0)
    assert found == {
        (500, 0): ("restart", 60.0, None),
        (500, 1): kept,
        (502, 0): ("deliver", 60.0, None),
        (502, 1): ("deliver", 60.0, None),
        (503, 0): ("restart", 60.0, None),
        (503, 1): kept,
    }


def test_a_restarted_request_shows_it_in_its_answer() -> None:
    request = a_request(req__restarts=2)
    request.beresp = Headers()

    ran("", request, kind="fetch")

    assert request.beresp.get("Fastly-Restarts") == "2"


@pytest.mark.parametrize(
    ("asked_by", "shown"), [([], None), ([("Fastly-Debug", "1")], "key"), ([("Fastly-FF", "x")], "key")]
)
def test_surrogate_headers_are_not_for_visitors(asked_by: list[tuple[str, str]], shown: str | None) -> None:
    request = a_request()
    request.req, request.resp = Headers(asked_by), Headers([("Surrogate-Key", "key"), ("surrogate-control", "x")])

    ran("", request, kind="deliver")

    assert (shown, shown is not None) == (request.resp.get("Surrogate-Key"), "Surrogate-Control" in request.resp)


def test_error_tells_its_code_and_text_and_ends_the_subroutine() -> None:
    state, request = ran('error 661 "for " req.url.path; set req.http.R = "x";')

    assert (state, request.error, request.req.get("R")) == ("error", (661, "for /a/b.html"), None)
    assert ran("error 601;")[1].error == (601, "")
    assert ran("return(error);")[1].error is None


def test_restart_and_return_end_the_subroutine() -> None:
    assert ran('restart; error 601 "x";')[0] == "restart"
    assert ran("if (req.url) { return(pass); } return(lookup);")[0] == "pass"
    assert ran('error 601 "x";')[0] == "error"


def test_an_early_return_skips_later_snippets_and_the_generated_vcl() -> None:
    program = compile_service(
        [Snippet("a", "recv", "return(lookup);", 1), Snippet("b", "recv", 'error 601 "x";', 2)], []
    )

    assert program.run("recv", a_request(req__method="POST")) == "lookup"


def test_synthetic_makes_the_body() -> None:
    request = a_request(obj__status=503)
    request.obj = Headers()

    state, _ = ran('synthetic {"<p>"} now.sec {"</p>"}; return(deliver);', request, kind="error")

    assert (state, request.body) == ("deliver", "<p>1800000000</p>")


def test_a_called_subroutine_shares_the_request_and_has_locals_of_its_own() -> None:
    init = "sub mine { declare local var.n INTEGER; set var.n += 1; set req.http.Calls += var.n; }"

    _, request = ran(
        "declare local var.n INTEGER; set var.n = 5; call mine; call mine; set req.http.N = var.n;", init=init
    )

    assert (request.req.get("Calls"), request.req.get("N")) == ("11", "5")


def test_return_without_a_state_ends_the_called_subroutine_only() -> None:
    init = 'sub mine { if (req.url) { return; } error 601 "x"; } sub outer { call mine; set req.http.R = "x"; }'

    assert ran("call outer; return(pass);", init=init)[0] == "pass"
    assert ran("call outer;", init=init)[1].req.get("R") == "x"


@pytest.mark.parametrize(("statement", "state"), [("return(pass);", "pass"), ('error 601 "x";', "error")])
def test_a_state_in_a_called_subroutine_ends_the_callers_too(statement: str, state: str) -> None:
    init = f"sub inner {{ {statement} }} sub outer {{ call inner; }}"

    assert ran("call outer; return(lookup);", init=init)[0] == state


def test_locals_do_not_survive_their_subroutine() -> None:
    program = compile_service(
        [Snippet("a", "recv", "declare local var.n INTEGER; set var.n += 1; set req.http.N = var.n;", 1)], []
    )
    request = a_request()

    assert [program.run("recv", request) and request.req.get("N") for _ in range(2)] == ["1", "1"]


def test_regex_groups_survive_their_subroutine() -> None:
    program = compile_service(
        [Snippet("a", "recv", 'if (req.url ~ "(a)") { }', 1), Snippet("b", "hash", "set req.hash += re.group.1;", 1)],
        [],
    )
    request = a_request()

    program.run("recv", request)
    program.run("hash", request)

    assert str(request.values["req.hash"]).endswith("a")


def test_headers_compare_without_case_keep_their_order_and_may_repeat() -> None:
    headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])
    headers.add("B", "4")

    assert (headers.get("a"), headers.get_all("B"), headers.get("c")) == ("1", ["2", "4"], None)
    apart = headers.copy()
    headers.set("b", "5")
    headers.remove("A")
    headers.set("C", "6")
    assert headers.items() == [("b", "5"), ("C", "6")]
    assert list(apart) == [("A", "1"), ("b", "2"), ("a", "3"), ("B", "4")]
    assert ("c" in headers, "A" in headers, len(headers)) == (True, False, 2)
