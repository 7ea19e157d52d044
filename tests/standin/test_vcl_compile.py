"""What must compile, and what must be refused in which words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.standin.vcl import Snippet, VclError, compile_service
from edgeguard.standin.vcl.functions import IMPLEMENTATIONS
from edgeguard.standin.vcl.language import FUNCTIONS, STATES, SUBROUTINES, VARIABLES


def compiled(kind: str, content: str, *others: Snippet) -> str:
    """The text of a service with a dictionary `edgeguard` and this snippet."""
    return compile_service([Snippet("mine", kind, content, 100), *others], ["edgeguard"]).text


def refusal(kind: str, content: str, *others: Snippet) -> list[str]:
    with pytest.raises(VclError) as caught:
        compiled(kind, content, *others)
    return caught.value.messages


ACCEPTED = [
    # snippet's type, content
    ("recv", "set req.max_stale_if_error = 600s;"),
    ("recv", "declare local var.n INTEGER; set var.n = 600; set req.max_stale_if_error = var.n;"),
    ("recv", 'set req.max_stale_if_error = std.atoi(table.lookup(edgeguard, "k", "600"));'),
    ("fetch", 'set beresp.ttl = parse_time_delta("10m");'),
    ("recv", "declare local var.n INTEGER; set var.n = std.atoi(now.sec); set var.n += 691200; set var.n -= var.n;"),
    ("recv", "declare local var.n INTEGER; set var.n *= 2; set var.n /= 3; set var.n %= 7;"),
    ("recv", "declare local var.r RTIME; set var.r = 1.5h; set var.r += 5s; set var.r *= 2; set var.r /= 1.5;"),
    ("recv", "declare local var.f FLOAT; set var.f = 1; set var.f += 0.5; set var.f *= 2;"),
    ("recv", "declare local var.t TIME; set var.t = now; set var.t += 5m; set var.t -= 1d;"),
    ("recv", "declare local var.n INTEGER; set var.n = now; set var.n = req.max_stale_if_error;"),
    ("recv", "declare local var.n INTEGER; set req.http.N = var.n;"),
    ("recv", "set req.http.T = now; set req.http.R = req.max_stale_if_error; set req.http.B = req.is_ssl;"),
    ("recv", "set req.http.B = true;"),
    ("recv", 'set req.http.X = "a" req.url "b" + "c";'),
    ("recv", 'set req.http.X += "more";'),
    ("recv", 'std.collect(req.http.Cookie); if (req.http.X) { std.collect(req.http.X, ";"); }'),
    ("fetch", 'std.collect(beresp.http.Surrogate-Key, " ");'),
    ("recv", 'set req.http.X = {"a "quoted" word"} {EG"ends "} not here"EG};'),
    ("recv", 'set req.http.X = "100%25 %22quoted%22";'),
    ("recv", 'set req.http.X = if(req.http.Y, req.http.Y, "none");'),
    ("recv", 'set req.http.X = if(req.http.Y == "1" && !req.http.Z, "a" req.url, "b") "c";'),
    ("recv", 'declare local var.b BOOL; set var.b = (req.restarts == 0 || req.http.X ~ "y"); set var.b = true;'),
    ("recv", "declare local var.b BOOL; if (var.b) { set var.b = false; }"),
    (
        "recv",
        'if (req.http.X) { } elsif (req.http.Y) { } elseif (req.http.Z) { } else if (req.url == "/") { } else { }',
    ),
    ("recv", 'if (!req.http.X ~ "a") { error 601; }'),
    ("recv", "if (req.max_stale_if_error > 0) { } if (req.max_stale_if_error >= 5s) { }"),
    ("recv", "if (req.max_stale_if_error == 0s) { }"),
    ("recv", "if (time.is_after(now, std.integer2time(std.atoi(req.http.Exp)))) { error 403 req.url; }"),
    ("recv", 'if (time.is_after(time.add(now, 5m), std.time(req.http.Exp, time.sub(now, 1h)))) { error 403 "no"; }'),
    ("recv", 'set req.url = regsub(req.url, "\\?.*$", ""); set req.url = regsuball(req.url, "/+", "/");'),
    (
        "recv",
        'if (table.contains(edgeguard, req.http.host)) { set req.http.X = table.lookup(edgeguard, "a" req.url); }',
    ),
    ("recv", "if (std.strlen(std.tolower(req.url)) > 5) { set req.http.X = substr(std.toupper(req.url), -3, 2); }"),
    ("recv", 'if (req.http.X ~ "(?i)^a{2,3}\\d\\z") { set req.http.Y = re.group.0 re.group.19; }'),
    ("recv", "# one\n// two\n/* three\n lines */ return(pass);"),
    ("recv", "{ declare local var.n INTEGER; } set var.n = 1;"),
    ("recv", "if (randomint(1, 100) < 5) { restart; }"),
    ("recv", "if (stale.exists) { } if (resp.stale) { } if (resp.stale.is_error == false) { }"),
    ("recv", "unset req.http.X; remove req.http.Y; add req.http.Z = req.url;"),
    ("hash", "set req.hash += req.http.X;"),
    ("hit", "set obj.ttl = 5s; if (obj.hits > 3) { return(restart); }"),
    ("miss", "unset bereq.http.Cookie; if (stale.exists) { return(deliver_stale); }"),
    ("miss", 'set bereq.url = "/x"; error 601 "x";'),
    ("pass", 'set bereq.http.X = "1"; return(pass);'),
    ("fetch", "if (beresp.status >= 500 && stale.exists) { return(deliver_stale); }"),
    ("fetch", "if (beresp.cacheable && beresp.ttl > 0s) { set beresp.stale_if_error = 604800s; }"),
    ("fetch", "return(hit_for_pass);"),
    ("error", 'set obj.status = 200; set obj.http.X = obj.response; synthetic "a" now.sec; return(deliver);'),
    ("error", 'synthetic {"<p class="x">"}; if (stale.exists) { return(deliver_stale); }'),
    ("error", "restart;"),
    ("deliver", "set resp.http.X = fastly_info.state; if (resp.status == 503 && stale.exists) { restart; }"),
    ("log", "if (resp.status == 200 && obj.age > 5s) { }"),
    ("init", "sub mine { if (req.url) { return; } set req.max_stale_if_error = 5s; }"),
    ("init", "sub never_called { set beresp.ttl = 5s; set resp.status = 200; }"),
]


@pytest.mark.parametrize(("kind", "content"), ACCEPTED)
def test_is_accepted(kind: str, content: str) -> None:
    assert content in compiled(kind, content)


REFUSED = [
    ("recv", "std.collect(req.url);", "works on headers"),
    ("recv", "std.collect(beresp.http.X);", "can't be set in recv"),
    ("recv", "std.collect(req.http.X, req.url);", "expected a separator"),
    ("recv", 'set req.http.X = std.collect(req.http.Y, ";");', "not a function"),
    # snippet's type, content, words of the message
    # literals and types
    ("recv", "set req.max_stale_if_error = 3600;", "does not take the INTEGER literal 3600; write 3600s"),
    ("recv", 'set req.max_stale_if_error = "3600";', "does not take a value of type STRING"),
    ("recv", 'set req.max_stale_if_error = table.lookup(edgeguard, "k");', "does not take a value of type STRING"),
    ("recv", "set req.http.X = 5;", "does not take the INTEGER literal 5"),
    ("recv", "set req.http.X = 5s;", "does not take the RTIME literal"),
    ("recv", 'set req.http.X = "a" 5;', "concatenation does not take the INTEGER literal 5"),
    ("recv", "declare local var.n INTEGER; set var.n = now.sec;", "does not take a value of type STRING"),
    ("recv", "declare local var.n INTEGER; set var.n = 1.5;", "does not take a value of type FLOAT"),
    ("recv", "declare local var.n INTEGER; set var.n = 5s;", "does not take the RTIME literal"),
    (
        "recv",
        "declare local var.n INTEGER; set var.n = var.n + 5;",
        "concatenation does not take the INTEGER literal 5",
    ),
    ("recv", "declare local var.n INTEGER; set var.n = var.n var.n;", "does not take a value of type STRING"),
    ("recv", "declare local var.n INTEGER; set var.n += 5s;", "does not take a value of type RTIME"),
    ("recv", "declare local var.b BOOL; set var.b = req.url;", "does not take a value of type STRING"),
    ("recv", "declare local var.b BOOL; set var.b += true;", '"+=" does not go with var.b, a BOOL'),
    ("recv", "declare local var.b BOOL; set var.b = !var.b;", "expected a value, found '!'"),
    ("recv", "declare local var.b BOOL; set var.b = req.restarts == 0;", "expected \";\", found '=='"),
    ("recv", "declare local var.t TIME; set var.t = 5;", "does not take the INTEGER literal 5"),
    ("recv", "set req.http.X = if(req.http.Y, 1, 2);", "if() does not take the INTEGER literal 1"),
    ("recv", "set req.http.X = if(req.http.Y, req.url, req.restarts);", "if() would be STRING or INTEGER"),
    ("recv", "set req.http.X = 99999999999999999999;", "does not fit into an INTEGER"),
    # conditions
    ("recv", "if (now > std.integer2time(5)) { }", '">" can\'t compare TIME; use time.is_after'),
    ("recv", "if (req.restarts) { }", "a condition is BOOL or STRING, not INTEGER"),
    ("recv", "if (req.max_stale_if_error) { }", "a condition is BOOL or STRING, not RTIME"),
    ("recv", "if (!req.restarts) { }", "a condition is BOOL or STRING, not INTEGER"),
    ("recv", 'if ("x") { }', "a STRING literal can't be a condition"),
    ("recv", 'if ("x" == req.url) { }', 'a literal can\'t stand to the left of "=="'),
    ("recv", "if (5 < req.restarts) { }", 'a literal can\'t stand to the left of "<"'),
    ("recv", 'if (req.restarts == "5") { }', '"==" can\'t compare INTEGER with STRING'),
    ("recv", "if (req.max_stale_if_error == 5) { }", '"==" can\'t compare RTIME with INTEGER'),
    ("recv", "if (req.url > req.url) { }", '">" can\'t compare STRING with STRING'),
    ("recv", "if (req.restarts > 1.5) { }", '">" can\'t compare INTEGER with FLOAT'),
    ("recv", 'if (req.restarts ~ "5") { }', '"~" takes a STRING, not INTEGER'),
    ("recv", "if (req.url ~ req.http.X) { }", '"~" takes a literal pattern'),
    ("recv", 'if (req.url ~ "a(b") { }', "is no pattern that this stand-in knows"),
    ("recv", 'if (req.url ~ "[[:alpha:]]") { }', "is no pattern that this stand-in knows"),
    ("recv", 'if (req.url ~ "a\\Kb") { }', "is no pattern that this stand-in knows"),
    ("recv", 'if (req.url ~ "a(?i)b") { }', "is no pattern that this stand-in knows"),
    # scopes
    ("recv", "set beresp.ttl = 5s;", "beresp.ttl can't be set in recv"),
    ("recv", "if (beresp.status == 200) { }", "beresp.status is not available in recv"),
    ("recv", "set req.http.X = beresp.http.Y;", "beresp.http.Y is not available in recv"),
    ("recv", 'set bereq.http.X = "1";', "bereq.http.X can't be set in recv"),
    ("deliver", 'set bereq.http.X = "1";', "bereq.http.X can't be set in deliver"),
    ("deliver", "if (beresp.http.X) { }", "beresp.http.X is not available in deliver"),
    ("fetch", 'set resp.http.X = "1";', "resp.http.X can't be set in fetch"),
    ("fetch", "unset obj.http.X;", "obj.http.X can't be set in fetch"),
    ("error", "if (beresp.status == 500) { }", "beresp.status is not available in error"),
    ("hit", "set obj.status = 200;", "obj.status can't be set in hit"),
    ("recv", 'set req.hash += "x";', "req.hash can't be set in recv"),
    # setting
    ("recv", 'set stale.exists = "1";', "stale.exists is read-only"),
    ("recv", "set now = now;", "now is read-only"),
    ("recv", "set resp.stale = true;", "resp.stale is read-only"),
    ("recv", 'set re.group.1 = "x";', "re.group.1 is read-only"),
    ("error", "set obj.stale_if_error = 5s;", "obj.stale_if_error is read-only"),
    ("fetch", "unset beresp.ttl;", "beresp.ttl can't be unset"),
    ("recv", "declare local var.s STRING; unset var.s;", "var.s can't be unset"),
    ("recv", "unset req.url;", "req.url can't be unset"),
    ("deliver", 'set resp.http.Content-Length = "5";', "resp.http.Content-Length is protected"),
    ("deliver", "unset resp.http.transfer-encoding;", "resp.http.transfer-encoding is protected"),
    ("recv", "add req.url = req.url;", "add works on headers"),
    # locals
    ("recv", "set var.n = 1;", "var.n is not declared before this line in vcl_recv"),
    ("recv", "if (var.n > 1) { } declare local var.n INTEGER;", "var.n is not declared before this line"),
    ("recv", "declare local var.n INTEGER; declare local var.n INTEGER;", "var.n is declared twice in vcl_recv"),
    ("recv", "if (req.url) { declare local var.n INTEGER; } declare local var.n RTIME;", "var.n is declared twice"),
    ("recv", "declare local n INTEGER;", "a local's name begins with var."),
    ("recv", "declare local var.i IP;", "IP is not a type for locals"),
    ("recv", "declare local var.i integer;", "integer is not a type for locals"),
    ("recv", "declare local var.n INTEGER = 5;", "an initial value in a declaration is outside"),
    ("init", "declare local var.n INTEGER;", '"declare" is not a declaration that this stand-in knows'),
    # tables
    ("recv", 'set req.http.X = table.lookup(other, "k", "");', "other is not a table of this service"),
    ("recv", 'set req.http.X = table.lookup("edgeguard", "k");', "is not a table of this service"),
    ("recv", "set req.http.X = edgeguard;", "edgeguard is a table, not a value"),
    (
        "recv",
        'if (table.lookup_integer(edgeguard, "k", 5) > 1) { }',
        "table.lookup_integer needs a table of type INTEGER",
    ),
    ("recv", 'set req.max_stale_if_error = table.lookup_rtime(edgeguard, "k", 5s);', "needs a table of type RTIME"),
    ("recv", 'if (table.lookup_bool(edgeguard, "k", false)) { }', "table.lookup_bool needs a table of type BOOL"),
    ("init", 'table mine { "a": "b" }', "a table with content is outside"),
    ("init", "table edgeguard { }", 'table "edgeguard" is declared twice'),
    # functions
    ("recv", "set req.http.X = std.nothing(req.url);", "std.nothing is not a function that this stand-in knows"),
    ("recv", "set req.http.X = std.tolower();", "std.tolower takes 1 arguments, not 0"),
    ("recv", "set req.http.X = substr(req.url);", "substr takes 2 or 3 arguments, not 1"),
    ("recv", 'set req.http.X = substr(req.url, "1");', "substr takes INTEGER there, not STRING"),
    ("recv", "set req.http.X = time.add(now, req.restarts);", "time.add takes RTIME there, not INTEGER"),
    ("recv", "set req.http.X = std.strlen(5);", "std.strlen does not take the INTEGER literal 5"),
    ("recv", "set req.url = regsub(req.url, req.http.X, req.url);", "regsub takes a literal pattern"),
    # states and statements
    ("recv", "return(deliver_stale);", "return(deliver_stale) is not allowed in recv"),
    ("hit", "return(deliver_stale);", "return(deliver_stale) is not allowed in hit"),
    ("pass", "return(deliver_stale);", "return(deliver_stale) is not allowed in pass"),
    ("deliver", "return(deliver_stale);", "return(deliver_stale) is not allowed in deliver"),
    ("recv", "return(fetch);", "return(fetch) is not allowed in recv"),
    ("miss", "return(restart);", "return(restart) is not allowed in miss"),
    ("recv", "return(upgrade);", '"upgrade" is not a state that this stand-in knows'),
    ("recv", "return;", "vcl_recv must return a state"),
    ("miss", "restart;", "restart is not allowed in miss"),
    ("pass", "restart;", "restart is not allowed in pass"),
    ("deliver", 'error 601 "x";', "error is not allowed in deliver"),
    ("error", 'error 601 "x";', "error is not allowed in error"),
    ("recv", "error 6000;", "6000 is no status code"),
    ("recv", 'error "600";', "an error's code is an INTEGER"),
    ("recv", 'synthetic "x";', "synthetic is not allowed in recv"),
    ("recv", "esi;", '"esi" is not a statement that this stand-in knows'),
    ("recv", 'log "x";', '"log" is not a statement'),
    ("recv", 'include "snippet::x";', 'mine:1: nothing can be included here as "snippet::x"'),
    ("recv", 'if (req.url) { include "snippet::x"; }', '"include" is not a statement'),
    ("recv", "goto end;", '"goto" is not a statement'),
    # subroutines
    ("recv", "call nowhere;", 'subroutine "nowhere" is not declared'),
    ("recv", "call vcl_recv;", '"vcl_recv" is Fastly\'s to call'),
    ("init", "sub vcl_recv { }", 'subroutine "vcl_recv" is declared twice'),
    ("init", "sub vcl_mine { }", "names that begin with vcl_ or fastly_ are reserved"),
    ("init", "sub a { } sub a { }", 'subroutine "a" is declared twice'),
    ("init", "sub a { call a; }", 'calling "a" here is a recursion'),
    ("init", "sub a { call b; } sub b { call c; } sub c { call a; }", "is a recursion"),
    ("init", "sub a BOOL { }", "subroutines with parameters or a result are outside"),
    ("init", "backend b { }", '"backend" is not a declaration that this stand-in knows'),
    ("recv", "sub a { }", '"sub" is not a statement'),
    # variables
    ("recv", "set req.nothing = 5s;", "req.nothing is not a variable that this stand-in knows"),
    ("recv", "if (req.http.Cookie:name) { }", "header sub-fields (name:field) are outside"),
    ("recv", "set req.http.X = re.group.20;", "re.group.20 is not a variable"),
    ("recv", "set req.saintmode = 5s;", "req.saintmode is not a variable that this stand-in knows"),
    # form
    ("recv", "set req.http.X = ;", "expected a value, found ';'"),
    ("recv", 'set req.http.X = "a"', 'mine:1: expected ";", found the end'),
    ("recv", 'set req.http.X = "a\n";', 'a short string "…" ends on its line'),
    ("recv", 'set req.http.X = "50%";', '"%" in a short string begins %XX'),
    ("recv", "set req.http.X ~ req.url;", "expected an assignment operator, found '~'"),
    ("recv", "if (req.url) set req.url = req.url;", "expected \"{\", found 'set'"),
    ("recv", "if req.url { }", "expected \"(\", found 'req.url'"),
    ("recv", "if (req.url) { ", "mine:1: expected a statement, found the end"),
    ("recv", "} ", "mine:1: expected a statement, found '}'"),
    ("recv", "/* never closed", "a comment /* … */ is not ended"),
    ("recv", "§", "nothing in VCL begins with '§'"),
    ("recv", f"if ({'(' * 100}req.url{')' * 100}) {{ }}", "nested deeper than"),
    ("recv", "{" * 100 + "}" * 100, "nested deeper than"),
]


@pytest.mark.parametrize(("kind", "content", "words"), REFUSED)
def test_is_refused(kind: str, content: str, words: str) -> None:
    said = "\n".join(refusal(kind, content))

    assert words in said


def test_a_snippet_of_type_none_is_not_read() -> None:
    assert "whatever" not in compiled("none", "whatever it says, nothing includes it")


def test_a_message_names_snippet_and_line() -> None:
    assert refusal("recv", "\n# fine\nset beresp.ttl = 5s;") == ["mine:3: beresp.ttl can't be set in recv"]


def test_everything_wrong_is_told_at_once() -> None:
    said = refusal("recv", "set beresp.ttl = 5s;\ncall nowhere;\nset req.max_stale_if_error = 5;")

    assert sorted(line.split(":")[1] for line in said) == ["1", "2", "3"]


def test_a_snippet_is_whole_by_itself() -> None:
    """Two halves that would fit together are refused, each in its own lines."""
    said = refusal("recv", "if (req.url) {", Snippet("other", "recv", "}", 200))

    assert [line.split(":")[0] for line in said] == ["mine", "other"]


def test_snippets_of_one_type_share_one_subroutine() -> None:
    other = Snippet("other", "recv", "declare local var.n INTEGER;", 1)

    assert "var.n is declared twice in vcl_recv" in refusal("recv", "declare local var.n INTEGER;", other)[0]
    assert "var.n" in compiled("fetch", "declare local var.n INTEGER;", other)


def test_a_custom_subroutine_is_checked_in_the_scope_of_every_caller() -> None:
    mine = "sub mine { set beresp.ttl = 5s; }"
    fetch = Snippet("f", "fetch", "call mine;", 100)
    recv = Snippet("r", "recv", "if (req.url) { call mine; }", 100)

    assert "call mine" in compiled("init", mine, fetch)
    assert refusal("init", mine, fetch, recv) == ["mine:1: beresp.ttl can't be set in recv (from which mine is called)"]


def test_a_subroutine_reached_through_another_has_that_ones_callers() -> None:
    recv = Snippet("r", "recv", "call outer;", 100)

    said = refusal("init", "sub inner { return(deliver_stale); } sub outer { call inner; }", recv)

    assert said == ["mine:1: return(deliver_stale) is not allowed in recv (from which inner is called)"]


def test_the_generated_vcl_alone_compiles_and_stands_in_the_text() -> None:
    text = compile_service([], []).text

    assert all(f"sub vcl_{name} {{" in text for name in SUBROUTINES)
    assert "#--FASTLY FETCH BEGIN" in text
    assert "set beresp.ttl = 3600s;" in text
    assert "set beresp.ttl = 60s;" in compile_service([], [], default_ttl=60).text


def test_an_include_is_replaced_by_what_it_names() -> None:
    kept = Snippet("kept", "none", 'set req.http.Kept = "yes";', 100)
    main = 'include "other";\nsub vcl_recv {\n#FASTLY recv\n  include "snippet::kept";\n  return(lookup);\n}\n'
    other = "sub of_the_other {\n  esi;\n}"

    text = compile_service([kept], [], main=main, files={"other": "sub of_the_other { }"}).text

    assert 'set req.http.Kept = "yes";' in text
    assert "sub of_the_other { }" in text
    with pytest.raises(VclError, match=r'other:2: "esi" is not a statement'):
        compile_service([kept], [], main=main, files={"other": other})
    with pytest.raises(VclError, match='nothing can be included here as "other"'):
        compile_service([kept], [], main=main, files={"other": 'include "other";'})


def test_a_macro_in_a_comment_or_a_string_is_none() -> None:
    mine = Snippet("mine", "recv", "# mine", 100)
    for text in ("/*\n#FASTLY recv\n*/", "# see #FASTLY recv", 'set req.http.X = {"\n#FASTLY recv\n"};'):
        main = f"sub vcl_recv {{\n{text}\n  return(lookup);\n}}\n"
        assert "# mine" not in compile_service([mine], [], main=main).text
    assert "# mine" in compile_service([mine], [], main="sub vcl_recv {\n#FASTLY recv\n return(lookup);\n}\n").text


def test_snippets_stand_in_the_order_of_priority_then_name() -> None:
    snippets = [
        Snippet("late", "recv", "# C", 9999),
        Snippet("b", "recv", "# B", 100),
        Snippet("a", "recv", "# A", 100),
        Snippet("first", "recv", "# 1", 1),
        Snippet("z", "init", "# I", 10),
    ]

    text = compile_service(snippets, []).text

    markers = [line for line in text.splitlines() if line.startswith("# Snippet ")]
    assert markers == [
        "# Snippet z : 10",
        "# Snippet first : 1",
        "# Snippet a : 100",
        "# Snippet b : 100",
        "# Snippet late : 9999",
    ]


def test_a_dictionary_stands_in_the_text_without_its_content() -> None:
    assert "table edgeguard {\n  # REDACTED dictionary content\n}" in compile_service([], ["edgeguard"]).text


def test_a_dictionary_needs_a_name_that_vcl_can_say() -> None:
    with pytest.raises(VclError, match="'my-dictionary' is no VCL identifier"):
        compile_service([], ["my-dictionary"])


def test_a_snippets_type_is_one_of_fastlys() -> None:
    with pytest.raises(VclError, match="x:1: 'pipe' is not a type of snippet"):
        compile_service([Snippet("x", "pipe", "", 100)], [])


def test_the_table_of_the_language_is_whole() -> None:
    """Every function that may be called is there to be run, and every scope that is named exists."""
    assert FUNCTIONS.keys() == IMPLEMENTATIONS.keys()
    assert set(SUBROUTINES) == STATES.keys()
    assert all(rule.read | rule.set <= set(SUBROUTINES) for rule in VARIABLES.values())


_WORDS = sorted({word for _, content in ACCEPTED for word in content.split()})


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SUBROUTINES), st.lists(st.sampled_from(_WORDS) | st.text(max_size=4), max_size=12))
def test_nonsense_is_refused_and_never_breaks_the_compiler(kind: str, words: list[str]) -> None:
    messages = ["none: fine"]
    try:
        compile_service([Snippet("x", kind, " ".join(words), 100)], ["edgeguard"])
    except VclError as refused:
        messages = refused.messages
    assert all(": " in message for message in messages)
