"""Our gates are at least as strict as HAProxy, and the page of the manual that shows it is current."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.local import http1
from tests.cluster.odd_requests import DOCUMENT, ODD, PROXIES, page, played, versions

if TYPE_CHECKING:
    from tests.cluster.odd_requests import Outcome

    Found = dict[tuple[str, bool], dict[str, Outcome]]


@pytest.fixture(scope="module")
def found() -> Found:
    return played()


@pytest.mark.parametrize("gate", ["gate", "host's gate"])
def test_nothing_passes_a_gate_that_haproxy_refuses(found: Found, gate: str) -> None:
    ours, theirs = found[gate, True], found["HAProxy", True]
    assert [name for name in ODD if ours[name].passed > theirs[name].passed] == []


@pytest.mark.parametrize("gate", ["gate", "host's gate"])
def test_a_closed_gate_passes_nothing_and_an_open_one_what_it_should(found: Found, gate: str) -> None:
    assert [name for name, outcome in found[gate, False].items() if outcome.passed] == []
    plain = list(ODD)[:6]
    assert [found[gate, True][name].passed for name in plain] == [1, 2, 2, 2, 1, 1]


def unclear(outcome: Outcome) -> list[str]:
    """Why the strict parser would refuse what the application got."""
    said = []
    for head in outcome.heads:
        try:
            http1.request(head)
        except http1.Malformed as exc:
            said.append(str(exc))
    return said


def test_what_a_gate_passes_on_has_one_reading(found: Found) -> None:
    """HAProxy itself, without our rules, passes on what is refused here. A request of HTTP/1.0 may lack a Host."""
    odd = {
        proxy: {name: unclear(outcome) for name, outcome in found[proxy, True].items() if unclear(outcome)}
        for proxy in ("gate", "host's gate", "HAProxy")
    }
    lacking = {"HTTP/1.0 without Host": ["exactly one Host is needed"]}
    assert odd["gate"] == lacking
    assert odd["host's gate"].items() <= lacking.items()
    assert {"a NUL in a value", "userinfo in Host"} < odd["HAProxy"].keys()


def test_the_page_is_current(found: Found) -> None:
    """Other versions of HAProxy and nginx may answer otherwise; then the gate's own answers are compared."""
    there = DOCUMENT.read_text(encoding="utf-8")
    remedy = "python -m tests.cluster.odd_requests"
    if versions() in there:
        assert page(found) == there, remedy
    for name in ODD:
        row = next(line for line in there.splitlines() if line.startswith(f"| {name} |")).split(" | ")
        assert (row[1], row[1 + len(PROXIES)]) == tuple(str(found["gate", opened][name]) for opened in (True, False)), (
            remedy
        )
