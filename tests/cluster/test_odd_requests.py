"""The gate is at least as strict as HAProxy, and the page of the manual that shows it is current."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.odd_requests import DOCUMENT, ODD, page, played, versions

if TYPE_CHECKING:
    from tests.cluster.odd_requests import Outcome


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, bool], dict[str, Outcome]]:
    return played()


def test_nothing_passes_the_gate_that_haproxy_refuses(found: dict[tuple[str, bool], dict[str, Outcome]]) -> None:
    ours, theirs = found["gate", True], found["HAProxy", True]
    assert [name for name in ODD if ours[name].passed > theirs[name].passed] == []


def test_a_closed_gate_passes_nothing_and_an_open_one_what_it_should(
    found: dict[tuple[str, bool], dict[str, Outcome]],
) -> None:
    assert [name for name, outcome in found["gate", False].items() if outcome.passed] == []
    plain = list(ODD)[:6]
    assert [found["gate", True][name].passed for name in plain] == [1, 2, 2, 2, 1, 1]


def test_the_page_is_current(found: dict[tuple[str, bool], dict[str, Outcome]]) -> None:
    """Other versions of HAProxy and nginx may answer otherwise; then the gate's own answers are compared."""
    there = DOCUMENT.read_text(encoding="utf-8")
    remedy = "python -m tests.cluster.odd_requests"
    if versions() in there:
        assert page(found) == there, remedy
    for name in ODD:
        row = next(line for line in there.splitlines() if line.startswith(f"| {name} |")).split(" | ")
        assert (row[1], row[4]) == (str(found["gate", True][name]), str(found["gate", False][name])), remedy
