"""Conflicts with the policy, each planted in the stand-in's active version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.edge.fastly import conflicts
from edgeguard.edge.fastly.active import ActiveVersion
from tests.edge.standin_edge import CEILING, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN = "sub vcl_recv {\n  #FASTLY recv\n  return(lookup);\n}\n"
WITHOUT_FETCH = MAIN + "sub vcl_fetch {\n  return(deliver);\n}\n"
EARLY_MAIN = MAIN.replace("  #FASTLY", '  if (req.url ~ "^/x") {\n    return(pass);\n  }\n  #FASTLY')


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
    found = planted(standin_edge, **plant)
    if "vcl" in plant.get("add", {}):  # a file in place of the boilerplate lacks the other macros too
        found = [each for each in found if each[0] == name]
    assert found == [(name, severity)]


@pytest.mark.parametrize(
    "add",
    [
        snippet("recv", "# set req.grace = 60s; return(pass);", 0),
        snippet("recv", 'set req.http.X = "return(pass) set req.grace = 60s;";', 0),
        snippet("recv", 'if (req.http.Cookie) { return(pass); } error 601 "x";', 100),
        snippet("fetch", "if (beresp.http.X) { return(pass); }"),
        snippet("deliver", "set resp.http.X = obj.hits; return(deliver);", 0),
        {"cache_settings": [{"name": "c", "ttl": 60}], "request_settings": [{"name": "r", "force_ssl": 1}]},
    ],
)
def test_what_others_may_do_is_no_conflict(standin_edge: StandinEdge, add: dict[str, Any]) -> None:
    assert planted(standin_edge, add=add) == []


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
