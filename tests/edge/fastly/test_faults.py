"""Every fault of the API, in every call that the adapter makes: our error with a remedy, or success after a retry.

A call that surely was not done is repeated. A call that may have been done is repeated if that is harmless. A refused
call is never repeated. The history of the stand-in tells how often it was asked.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from edgeguard.edge.fastly.api import ATTEMPTS, PATIENCE, Api
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.errors import EdgeError, EdgeUnauthorized, EdgeUnavailable
from edgeguard.site.asking import ask
from tests.edge.fastly.test_fastly import api_that_answers
from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Outcome = Literal["not done", "perhaps done", "unauthorized", "refused"]

SAID = f'{{"msg": "no {TOKEN}", "detail": "{TOKEN}"}}'
LATE = 30.0
BRIEF = (2.0, 0.6)

FAULTS: dict[str, tuple[Outcome, dict[str, Any]]] = {
    "throttled": ("not done", {"status": 429, "body": SAID}),
    "throttled, come back in 2 s": ("not done", {"status": 429, "headers": {"Retry-After": "2"}}),
    "throttled, in bytes that are no text": ("not done", {"status": 429, "body": "\xff\xfe"}),
    "failed": ("perhaps done", {"status": 500, "body": SAID}),
    "failed after doing it": ("perhaps done", {"status": 503, "apply": True}),
    "down, come back in 3 s": ("perhaps done", {"status": 503, "headers": {"Retry-After": "3"}}),
    "a proxy's page": ("perhaps done", {"status": 502, "body": f"<html>\xff\x1b[2J {TOKEN}</html>"}),
    "lost before it was done": ("perhaps done", {"drop": "before"}),
    "lost after it was done": ("perhaps done", {"drop": "after"}),
    "cut in the middle": ("perhaps done", {"drop": "within"}),
    "never": ("perhaps done", {"delay": LATE}),
    "done, and never answered": ("perhaps done", {"delay": LATE, "apply": True}),
    "a page": ("perhaps done", {"body": "<html>welcome</html>", "headers": {"Content-Type": "text/html"}}),
    "nothing": ("perhaps done", {"body": ""}),
    "half of JSON": ("perhaps done", {"body": '{"status": "o'}),
    "no text": ("perhaps done", {"body": "\xff\xfe\x00"}),
    "a strange charset": ("perhaps done", {"body": "{", "headers": {"Content-Type": "text/html; charset=klingon"}}),
    "null": ("perhaps done", {"body": "null"}),
    "a number": ("perhaps done", {"body": "7"}),
    "an object without its keys": ("perhaps done", {"body": '{"x": {}}'}),
    "a list of something else": ("perhaps done", {"body": '[{"name": 1}]'}),
    "far too deep": ("perhaps done", {"body": "[" * 100_000}),
    "a strange rate limit": ("perhaps done", {"body": "7", "headers": {"Fastly-RateLimit-Remaining": "many"}}),
    "wrong token": ("unauthorized", {"status": 401, "body": SAID}),
    "token of too little": ("unauthorized", {"status": 403, "body": f"\xff {TOKEN}"}),
    "bad request": ("refused", {"status": 400, "body": SAID}),
    "conflict": ("refused", {"status": 409, "body": f'["{TOKEN}"]'}),
    "elsewhere": ("refused", {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}),
}


@dataclass(frozen=True)
class Call:
    """A call of the adapter, its request that fails, and whether that request may be done twice."""

    act: Callable[[ByVcl], object]
    method: str
    last: str
    twice: bool


CALLS = {
    "policy": Call(lambda edge: edge.policy(), "GET", "details", twice=True),
    "snippets": Call(lambda edge: edge.policy(), "GET", "snippet", twice=True),
    "dictionaries": Call(lambda edge: edge.policy(), "GET", "dictionary", twice=True),
    "active version": Call(lambda edge: edge.active_version(), "GET", "generated_vcl", twice=True),
    "items": Call(lambda edge: edge.items(), "GET", "items", twice=True),
    "write": Call(lambda edge: edge.write({"deploy0": "0:0"}), "PATCH", "items", twice=True),
    "soft purge": Call(lambda edge: edge.purge(["k"]), "POST", "purge", twice=True),
    "hard purge": Call(lambda edge: edge.purge(["k"], soft=False), "POST", "purge", twice=False),
}


WAITED_FOR = ("items", "write", "soft purge", "hard purge")
CASES = [(fault, call) for fault in FAULTS for call in CALLS if not FAULTS[fault][1].get("delay") or call in WAITED_FOR]


@pytest.fixture(scope="module")
def module_standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    module_standin_edge.edge.install("the tests: a policy is needed")
    return module_standin_edge


@pytest.fixture
def standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    module_standin_edge.reset()
    return module_standin_edge


def adapter(standin_edge: StandinEdge, fault: dict[str, Any], naps: list[float]) -> ByVcl:
    """The adapter. It has looked the dictionary up already, so that a fault meets the call that it is for."""
    hasty: dict[str, Any] = {"timeouts": BRIEF} if fault.get("delay") else {}
    edge = ByVcl(
        standin_edge.settings, TOKEN, ask, api=Api(standin_edge.settings.api_url, TOKEN, sleep=naps.append, **hasty)
    )
    edge.items()
    return edge


@contextmanager
def failing(standin_edge: StandinEdge, method: str, last: str, fault: dict[str, Any]) -> Iterator[list[str]]:
    """In the block, requests with this method and end of the path fail. Gives the requests that were made."""
    paths = {"details": "/details", "purge": "/purge", "items": f"/dictionary/{_dictionary(standin_edge)}/items"}
    path = f"/service/{standin_edge.settings.service}" + paths.get(last, f"/version/{standin_edge.active()}/{last}")
    standin_edge.control("POST", "/faults", {"api": {**fault, "match": {"method": method, "path_prefix": path}}})
    made: list[str] = []
    standin_edge.control("DELETE", "/history")
    try:
        yield made
    finally:
        rows = standin_edge.control("GET", "/history")
        made += [row["path"] for row in rows if (row["method"], row["path"]) == (method, path)]
        standin_edge.control("DELETE", "/faults")


def _dictionary(standin_edge: StandinEdge) -> str:
    return str(standin_edge.api("GET", f"/version/{standin_edge.active()}/dictionary")[0]["id"])


def told(error: EdgeError) -> None:
    """The error has a message and a remedy, and does not show the token."""
    assert error.message.startswith("could not ")
    assert error.remedy
    assert TOKEN not in error.message + error.remedy + str(error)
    assert "\n" not in error.message


def expected(outcome: Outcome, *, again: bool) -> tuple[type[EdgeError], int]:
    """The error if the fault lasts, and the number of requests."""
    if outcome == "unauthorized":
        return EdgeUnauthorized, 1
    return (EdgeError, 1) if outcome == "refused" else (EdgeUnavailable, ATTEMPTS if again else 1)


@pytest.mark.parametrize(("name", "asked"), CASES, ids=[" - ".join(case) for case in CASES])
def test_every_fault_under_every_call(standin_edge: StandinEdge, name: str, asked: str) -> None:
    (outcome, fault), call = FAULTS[name], CALLS[asked]
    again = outcome == "not done" or (outcome == "perhaps done" and call.twice)
    naps: list[float] = []
    edge = adapter(standin_edge, fault, naps)
    with failing(standin_edge, call.method, call.last, {**fault, "times": 1}) as made:
        if again:
            call.act(edge)
        else:
            with pytest.raises(EdgeError) as once:
                call.act(edge)
            told(once.value)
    assert len(made) == (2 if again else 1)
    if "delay" in fault and asked != "write":
        return  # one that lasts is waited for
    kind, requests = expected(outcome, again=again)
    with failing(standin_edge, call.method, call.last, fault) as made, pytest.raises(EdgeError) as caught:
        call.act(edge)
    told(caught.value)
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, EdgeUnauthorized | EdgeUnavailable) == (kind is not EdgeError)
    assert len(made) == requests


def test_a_pause_is_as_long_as_the_answer_asks(standin_edge: StandinEdge) -> None:
    """It asks by Retry-After, in seconds or as a date, or else by the rate limit's reset."""
    later = time.gmtime(time.time() + 9)
    asked = (
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": time.strftime("%a, %d %b %Y %H:%M:%S GMT", later)}, 9),
        ({"Fastly-RateLimit-Remaining": "0", "Fastly-RateLimit-Reset": str(int(time.time()) + 8)}, 8),
        ({"Fastly-RateLimit-Reset": str(int(time.time()) - 8)}, 0),
    )
    for headers, seconds in asked:
        naps: list[float] = []
        edge = adapter(standin_edge, {}, naps)
        with failing(standin_edge, "PATCH", "items", {"status": 429, "headers": headers, "times": 1}):
            edge.write({"deploy0": "0:0"})
        assert [round(nap) for nap in naps] == [pytest.approx(seconds, abs=1)]


@pytest.mark.parametrize("headers", [{"Retry-After": "3000"}, {"Fastly-RateLimit-Reset": "99999999999"}])
def test_nobody_waits_longer_than_the_patience_lasts(standin_edge: StandinEdge, headers: dict[str, str]) -> None:
    naps: list[float] = []
    edge = adapter(standin_edge, {}, naps)
    fault = {"status": 429, "headers": headers}
    with failing(standin_edge, "PATCH", "items", fault) as made, pytest.raises(EdgeUnavailable, match="429") as caught:
        edge.write({"deploy0": "0:0"})
    assert (len(made), naps) == (1, [])
    assert f"Try again in {PATIENCE:.0f} s" not in caught.value.remedy
    assert "Try again in " in caught.value.remedy


@pytest.mark.parametrize("after", ["soon", "-1", "", "9" * 40, "Mon, 99 Foo 2026"])
def test_nonsense_in_retry_after_is_no_reason_to_wait_for_ever(standin_edge: StandinEdge, after: str) -> None:
    naps: list[float] = []
    edge = adapter(standin_edge, {}, naps)
    with failing(standin_edge, "PATCH", "items", {"status": 503, "headers": {"Retry-After": after}, "times": 1}):
        edge.write({"deploy0": "0:0"})
    assert len(naps) == 1
    assert naps[0] < 1


def test_a_claim_written_twice_is_one_claim(standin_edge: StandinEdge) -> None:
    """The answer to the write is lost again and again. At the end the item is there once, with its value."""
    edge = adapter(standin_edge, {}, [])
    with failing(standin_edge, "PATCH", "items", {"drop": "after", "times": ATTEMPTS - 1}) as made:
        edge.write({"deploy0": "7:7", "gone": None})
    assert (edge.items()["deploy0"], len(made)) == ("7:7", ATTEMPTS)


@pytest.mark.parametrize("name", ["wrong token", "token of too little", "failed", "half of JSON", "null"])
def test_a_token_that_may_not_ask_about_itself_is_unknown_and_no_error(standin_edge: StandinEdge, name: str) -> None:
    """After other faults the call is repeated, and ends in our error, as every reading call does."""
    outcome, fault = FAULTS[name]
    edge = adapter(standin_edge, {}, [])
    match = {"method": "GET", "path_prefix": "/tokens/self"}
    standin_edge.control("POST", "/faults", {"api": {**fault, "times": ATTEMPTS, "match": match}})
    if outcome == "unauthorized":
        assert [finding.name for finding in edge.token_findings(now=0, lasting=1)] == ["token-unknown"]
    else:
        with pytest.raises(EdgeUnavailable) as caught:
            edge.token_findings(now=0, lasting=1)
        told(caught.value)
        assert edge.token_findings(now=0, lasting=1) == ()


# -- the status, which is the edge's to answer and not the API's -------------------------------------------------------

LINE = b"node=a revision=b now=1 base=60 grace=60 hold=0"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, LINE),
        (404, b"not found"),
        (302, LINE),
        (200, b""),
        (200, b"<html>welcome</html>"),
        (200, b"\xff\xfe"),
        (200, LINE[:30]),
        (200, LINE.replace(b"now=1", b"now=1e9")),
        (200, LINE.replace(b"grace=60", b"grace=")),
        (200, LINE * 1000),
    ],
)
def test_what_is_no_status_ends_in_our_error(standin_edge: StandinEdge, status: int, body: bytes) -> None:
    with api_that_answers(body, status) as url:
        edge = ByVcl(standin_edge.settings.model_copy(update={"url": url}), TOKEN, ask)
        with pytest.raises(EdgeUnavailable) as caught:
            edge.status()
    assert "edge diff" in caught.value.remedy
    assert caught.value.message.isprintable()


# -- install: many calls on a draft of its own, which is nothing until it is activated ---------------------------------

STEPS = (
    ("PUT", "clone"),
    ("DELETE", "snippet"),
    ("POST", "snippet"),
    ("PUT", ""),
    ("GET", "validate"),
    ("PUT", "activate"),
)
SOME = ("throttled", "failed", "lost before it was done", "an object without its keys", "wrong token", "bad request")


def other(standin_edge: StandinEdge) -> ByVcl:
    """Settings under which the policy differs, so that there is something to install."""
    api = Api(standin_edge.settings.api_url, TOKEN, sleep=lambda _: None)
    return ByVcl(standin_edge.settings.model_copy(update={"status_name": "other"}), TOKEN, ask, api=api)


@pytest.mark.parametrize(("method", "last"), STEPS, ids=[f"{method} {last}" for method, last in STEPS])
@pytest.mark.parametrize("name", SOME)
def test_installing_under_faults(standin_edge: StandinEdge, name: str, method: str, last: str) -> None:
    """After any failure, the active version is the one from before, or the complete new one.

    Changes of the draft may be done twice. The activation may not: it could replace a version that somebody else
    activated.
    """
    outcome, fault = FAULTS[name]
    active, draft = standin_edge.active(), len(standin_edge.api("GET", "/version")) + 1
    service = f"/service/{standin_edge.settings.service}/version"
    path = f"{service}/{active}/clone" if last == "clone" else f"{service}/{draft}{'/' * bool(last)}{last}"
    standin_edge.control(
        "POST", "/faults", {"api": {**fault, "times": 1, "match": {"method": method, "path_prefix": path}}}
    )
    standin_edge.control("DELETE", "/history")
    goes_on = outcome == "not done" or (outcome == "perhaps done" and last != "activate")
    if goes_on:
        installed = other(standin_edge).install("under faults")
        assert (installed.version, installed.differences) == (draft, ())
        standin_edge.edge.install("back")
    else:
        with pytest.raises(EdgeError) as caught:
            other(standin_edge).install("under faults")
        told(caught.value)
        assert standin_edge.active() == active
        if last != "clone":
            assert f"draft {draft} is left behind, not activated" in caught.value.message
    asked = [row for row in standin_edge.control("GET", "/history") if row["method"] == method and path in row["path"]]
    if not goes_on:
        assert len(asked) == 1
        if last != "clone":
            standin_edge.api("PUT", f"/version/{draft}/lock")  # so that no later attempt goes on with it


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"status": 504, "apply": True}, {"body": "<html>"}])
def test_an_activation_that_happened_counts_although_its_answer_was_lost(
    standin_edge: StandinEdge, fault: dict[str, Any]
) -> None:
    draft = len(standin_edge.api("GET", "/version")) + 1
    path = f"/service/{standin_edge.settings.service}/version/{draft}/activate"
    match = {"method": "PUT", "path_prefix": path}
    standin_edge.control("POST", "/faults", {"api": {"apply": True, **fault, "times": 1, "match": match}})
    standin_edge.control("DELETE", "/history")
    assert other(standin_edge).install("lost").version == draft
    assert [row["path"] for row in standin_edge.control("GET", "/history")].count(path) == 1
    standin_edge.edge.install("back")


@pytest.mark.parametrize("passed", [0, 3, 7])
def test_a_token_that_ends_on_the_way(standin_edge: StandinEdge, passed: int) -> None:
    """After so many requests, every further one is answered 401."""
    active = standin_edge.active()
    standin_edge.control("POST", "/faults", {"api": {"status": 401, "skip": passed}})
    with pytest.raises(EdgeUnauthorized) as caught:
        other(standin_edge).install("ends on the way")
    standin_edge.control("DELETE", "/faults")
    assert "FASTLY_API_TOKEN" in caught.value.remedy
    assert standin_edge.active() == active


def test_a_token_that_has_ended(standin_edge: StandinEdge) -> None:
    edge = adapter(standin_edge, {}, [])
    standin_edge.control("POST", "/plants", {"tokens": {TOKEN: {"expires_at": "2020-01-01T00:00:00Z"}}})
    try:
        with pytest.raises(EdgeUnauthorized, match="401") as caught:
            edge.write({"deploy0": "0:0"})
        told(caught.value)
    finally:
        standin_edge.control("DELETE", "/plants")
    edge.write({"deploy0": "0:0"})
