"""Conflicts with the policy, each planted in the stand-in's active version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.edge.fastly import conflicts
from edgeguard.edge.fastly.active import ActiveVersion
from tests.edge.fastly.forms import DOCUMENTED, MAINS
from tests.edge.standin_edge import CEILING, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT_FETCH = DOCUMENTED.replace("#FASTLY fetch", "")
EARLY_MAIN = DOCUMENTED.replace("#FASTLY recv", '  if (req.url ~ "^/x") {\n    return(pass);\n  }\n#FASTLY recv')


@pytest.fixture(scope="module")
def module_standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    """The stand-in with the policy installed, so that our own snippets are seen to be no conflict."""
    module_standin_edge.install(module_standin_edge.policy())
    return module_standin_edge


@pytest.fixture
def standin_edge(module_standin_edge: StandinEdge) -> Iterator[StandinEdge]:
    yield module_standin_edge
    module_standin_edge.control("DELETE", "/plants")


def planted(standin_edge: StandinEdge, **plant: object) -> list[tuple[str, str]]:
    standin_edge.control("POST", "/plants", plant)
    return [(found.name, found.severity) for found in standin_edge.edge.active_version().conflicts()]


def snippet(kind: str, content: str, priority: int = 100, **more: object) -> dict[str, Any]:
    return {"snippet": [{"name": "theirs", "type": kind, "content": content, "priority": priority, **more}]}


def test_a_service_with_nothing_but_the_policy_has_no_conflict(standin_edge: StandinEdge) -> None:
    assert planted(standin_edge) == []


@pytest.mark.parametrize(
    ("plant", "name", "severity"),
    [
        ({"type": "wasm"}, "compute-service", "critical"),
        ({"settings": {"general.stale_if_error": True}}, "serve-stale", "warning"),
        ({"add": {"cache_settings": [{"name": "c", "stale_ttl": 300}]}}, "cache-settings", "critical"),
        ({"add": {"request_settings": [{"name": "r", "max_stale_age": 60}]}}, "request-settings", "critical"),
        ({"add": snippet("recv", "set req.max_stale_if_error = 60s;")}, "grace-in-vcl", "critical"),
        ({"add": snippet("recv", "set req.max_stale_if_error = 60s;", dynamic=1)}, "grace-in-vcl", "critical"),
        ({"add": {"request_settings": [{"name": "r", "bypass_busy_wait": 1}]}}, "request-settings", "critical"),
        ({"add": {"request_settings": [{"name": "r", "force_miss": 1}]}}, "request-settings", "critical"),
        ({"add": snippet("recv", "set req.hash_ignore_busy = true;")}, "stale-off", "critical"),
        (
            {"add": snippet("recv", "if (req.http.X) { set req.hash_always_miss = true; }", dynamic=1)},
            "stale-off",
            "critical",
        ),
        ({"add": snippet("fetch", "set\n  beresp.stale_if_error = 60s;")}, "grace-in-vcl", "critical"),
        ({"add": snippet("recv", 'if (req.url ~ "^/x") { return(pass); }', 0)}, "early-return", "critical"),
        ({"add": snippet("recv", 'error 601 "x";', 0)}, "early-return", "critical"),
        ({"add": snippet("fetch", 'if (req.url ~ "^/x") { return(deliver); }')}, "early-return", "warning"),
        ({"add": {"vcl": [{"name": "own", "content": WITHOUT_FETCH, "main": True}]}}, "no-macros", "critical"),
        ({"add": {"vcl": [{"name": "own", "content": EARLY_MAIN, "main": True}]}}, "early-return", "critical"),
    ],
)
def test_what_fights_the_policy_is_found_and_nothing_else(
    standin_edge: StandinEdge, plant: dict[str, Any], name: str, severity: str
) -> None:
    assert planted(standin_edge, **plant) == [(name, severity)]


@pytest.mark.parametrize(
    "add",
    [
        snippet("recv", "# set req.grace = 60s; return(pass);", 0),
        snippet("recv", 'set req.http.X = "return(pass) set req.grace = 60s;";', 0),
        snippet("recv", 'if (req.http.Cookie) { return(pass); } error 601 "x";', 100),
        snippet("recv", 'if (req.http.error) { set req.http.restart = "error"; }', 0),
        snippet("recv", "set req.hash_ignore_busy = false; set req.hash_always_miss = false;"),
        snippet("init", "sub unused { set req.max_stale_if_error = 1s; set req.hash_always_miss = true; }"),
        snippet("none", "return(pass);", 0),
        snippet("fetch", "if (beresp.http.X) { return(pass); }"),
        snippet("deliver", "set resp.http.X = obj.hits; return(deliver);", 0),
        {"cache_settings": [{"name": "c", "ttl": 60}], "request_settings": [{"name": "r", "force_ssl": 1}]},
    ],
)
def test_what_others_may_do_is_no_conflict(standin_edge: StandinEdge, add: dict[str, Any]) -> None:
    assert planted(standin_edge, add=add) == []


LEAVE = 'if (req.url ~ "^/x") { return(lookup); }'
BEHIND = {
    "a call": {"files": {"main": f"sub shop {{ {LEAVE} }}\n{MAINS['documented']}"}, "runs": "call shop;"},
    "calls": {
        "files": {"main": f"sub shop {{ {LEAVE} }} sub all {{ call shop; }}\n{MAINS['documented']}"},
        "runs": "if (req.http.X) { call all; }",
    },
    "an init snippet": {
        "files": {"main": MAINS["documented"]},
        "runs": "call shop;",
        "snippet": {"type": "init", "content": f"sub shop {{ {LEAVE} }}"},
    },
    "an included snippet": {
        "files": {"main": MAINS["documented"]},
        "runs": 'include "snippet::theirs";',
        "snippet": {"type": "none", "content": LEAVE},
    },
    "an included file": {"files": {"main": MAINS["documented"], "shop": LEAVE}, "runs": 'include "shop";'},
    "a file included at the top": {
        "files": {"main": f'include "shop";\n{MAINS["documented"]}', "shop": f"sub shop {{ {LEAVE} }}"},
        "runs": "call shop;",
    },
}


@pytest.mark.parametrize("behind", BEHIND)
def test_what_leaves_early_is_found_behind(standin_edge: StandinEdge, behind: str) -> None:
    how: dict[str, Any] = BEHIND[behind]
    for macro_first in (False, True):
        runs = f"#FASTLY recv\n  {how['runs']}" if macro_first else f"{how['runs']}\n#FASTLY recv"
        files = [
            {"name": name, "main": name == "main", "content": text.replace("#FASTLY recv", runs)}
            for name, text in how["files"].items()
        ]
        snippets = [{"name": "theirs", "priority": 100, **how["snippet"]}] if "snippet" in how else []
        found = planted(standin_edge, add={"vcl": files, "snippet": snippets})
        assert found == ([] if macro_first else [("early-return", "critical")])
        standin_edge.control("DELETE", "/plants")


def test_a_bare_return_leaves_only_the_subroutine_that_it_is_in(standin_edge: StandinEdge) -> None:
    main = f"sub shop {{ if (req.http.X) {{ return; }} }}\n{MAINS['documented']}"
    main = main.replace("#FASTLY recv", "call shop;\n#FASTLY recv")
    assert planted(standin_edge, add={"vcl": [{"name": "main", "main": True, "content": main}]}) == []


@pytest.mark.parametrize("text", ["/*\n#FASTLY recv\n*/", "# not #FASTLY recv", "// #FASTLY recv"])
def test_a_macro_in_a_comment_is_missing(standin_edge: StandinEdge, text: str) -> None:
    main = MAINS["documented"].replace("#FASTLY recv", text)
    found = planted(standin_edge, add={"vcl": [{"name": "main", "main": True, "content": main}]})
    assert found == [("no-macros", "critical")]


@pytest.mark.parametrize(
    ("add", "names"),
    [
        (snippet("recv", "if (req.http.Cookie && req.restarts == 0) { restart; }"), ["restarts"]),
        (snippet("deliver", "if (resp.status == 404) { return(restart); }"), ["restarts"]),
        (snippet("recv", 'set req.http.X = "restart;";'), []),
        (snippet("recv", "set req.enable_segmented_caching = true;"), ["segmented-caching"]),
        (snippet("recv", "set req.enable_segmented_caching = false;"), []),
    ],
)
def test_what_is_less_good_than_it_could_be_is_a_remark(
    standin_edge: StandinEdge, add: dict[str, Any], names: list[str]
) -> None:
    assert planted(standin_edge, add=add) == []
    remarks = standin_edge.edge.active_version().remarks()
    assert [found.name for found in remarks] == names
    assert all(found.remedy and found.severity != "critical" for found in remarks)


def test_purges_are_open_where_nothing_demands_a_token(standin_edge: StandinEdge) -> None:
    without = {"remove": {"snippet": ["edgeguard_recv_purges"]}}
    demands = 'set req.http.Fastly-Purge-Requires-Auth = "1";'
    for content, names in (("", ["open-purges"]), (f"# {demands}", ["open-purges"]), (demands, [])):
        assert planted(standin_edge, add=snippet("recv", content), **without) == []
        assert [found.name for found in standin_edge.edge.active_version().remarks()] == names
        standin_edge.control("DELETE", "/plants")


def test_a_finding_says_where_it_was_found(standin_edge: StandinEdge) -> None:
    planted(standin_edge, add=snippet("recv", "set req.max_stale_if_error = 60s;"))
    [found] = standin_edge.edge.active_version().conflicts()
    assert found.text == "the recv snippet 'theirs' has `set req.max_stale_if_error = 60s`"
    assert found.remedy


@pytest.mark.parametrize("name", ["req.grace", "beresp.grace"])
def test_the_other_names_of_the_grace_are_found_in_the_generated_vcl(standin_edge: StandinEdge, name: str) -> None:
    """Fastly's settings and headers put statements there that are in no snippet."""
    active = standin_edge.edge.active_version()
    assert isinstance(active, ActiveVersion)
    version = replace(active.rows, generated=f"sub vcl_recv {{\n  set {name} = 60s;\n}}")
    [found] = conflicts.with_policy(version, standin_edge.settings)
    assert found.text == f"the generated VCL has `set {name} = 60s`"


def test_serve_stale_tells_the_base_grace_that_keeps_its_promise(standin_edge: StandinEdge) -> None:
    planted(standin_edge, settings={"general.stale_if_error": True, "general.stale_if_error_ttl": 43200})
    [found] = standin_edge.edge.active_version().conflicts()
    assert "edge.base_grace = 43200" in found.remedy


@pytest.mark.parametrize(
    ("headers", "promised"),
    [
        ({}, None),
        ({"cache-control": "max-age=60"}, None),
        ({"cache-control": "max-age=60, stale-if-error=1"}, None),
        ({"cache-control": f"max-age=60, stale-if-error={CEILING - 1}"}, CEILING - 1),
        ({"cache-control": "stale-if-error=1", "surrogate-control": "Stale-If-Error=90000"}, 90000),
        ({"cache-control": "stale-if-error=90000", "surrogate-control": "stale-if-error=0"}, None),
        ({"surrogate-control": f"max-age=9, stale-if-error={CEILING}"}, None),
    ],
)
def test_a_promise_of_the_origin_is_shortened_when_it_is_longer_than_the_base(
    module_standin_edge: StandinEdge, headers: dict[str, str], promised: int | None
) -> None:
    """A promise of exactly the ceiling does not count: gates add it for the policy."""
    found = module_standin_edge.edge.shortened("https://www.example.com/", headers)
    assert (found is not None) is (promised is not None)
    if found and promised:
        assert f"edge.base_grace = {promised}" in found.remedy
        assert ("edge.ceiling = " in found.remedy) is (promised > CEILING)
