"""One table of cases holds on two caches that have nothing in common but the claims that edgeguard writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.edge import varnish
from tests.edge.case import Promise
from tests.edge.cases import CASES
from tests.edge.fastly.scenarios import PASS
from tests.edge.matrix import DOCUMENT, LAYOUTS, document, measure, questions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.case import Case
    from tests.edge.matrix import Measured
    from tests.edge.standin_edge import Cache, StandinEdge
    from tests.edge.varnish import Varnish


@pytest.fixture(scope="module")
def real_varnish() -> Iterator[Varnish]:
    missing = varnish.missing()
    if missing:
        sentence = f"Debian's {', '.join(missing)} not installed; scripts/test does that"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with varnish.running() as running:
        yield running


@pytest.fixture
def standin_edge_with_pass(standin_edge: StandinEdge) -> StandinEdge:
    """The stand-in with the policy, for a service where requests with a cookie pass."""
    standin_edge.install([*standin_edge.policy(), PASS])
    return standin_edge


@pytest.fixture(params=["standin_edge_with_pass", "real_varnish"], ids=["stand-in", "varnish"])
def cache(request: pytest.FixtureRequest) -> Cache:
    found: Cache = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def measured(session_standin_edge: StandinEdge) -> Measured:
    session_standin_edge.reset()
    session_standin_edge.install([*session_standin_edge.policy(), PASS])
    return measure(session_standin_edge)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_holds(cache: Cache, case: Case) -> None:
    case.holds(cache)


def test_what_is_documented_keeps_every_promise(measured: Measured) -> None:
    alone = next(iter(measured.as_documented.values()))
    lost = {promise: [case.name for case in cases if not case.outside] for promise, cases in alone.items()}

    assert lost == {promise: [] for promise in Promise}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_error_in_any_layout(measured: Measured, layout: str) -> None:
    lost = measured.as_documented[layout]
    assert [case.name for case in lost[Promise.NO_ERROR] if not case.outside] == []
    assert [case.name for case in lost[Promise.NO_WAIT]] == []


def test_no_error_whichever_way_an_open_question_turns_out(measured: Measured) -> None:
    lost = {
        switch: [case.name for case in losses[Promise.NO_ERROR] if not case.outside]
        for switch, losses in measured.turned.items()
    }

    assert lost == {switch: [] for switch in questions()}


def test_the_page_about_the_cases_is_true(measured: Measured) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(measured), "python -m tests.edge.matrix writes it anew"
