"""The words with which scenarios are written, and the register of all scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly.policy import Snippet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.edge.standin_edge import StandinEdge

    Scenario = Callable[[StandinEdge], None]

SHORT_PAGE = 503
"""The status where the gate is closed and there is no copy to serve."""

SCENARIOS: dict[str, Scenario] = {}
STRANGERS: dict[str, tuple[Snippet, ...]] = {}
"""Snippets of somebody else's that are installed beside the policy for a scenario."""


def scenario(*strangers: Snippet) -> Callable[[Scenario], Scenario]:
    def add(scenario: Scenario) -> Scenario:
        SCENARIOS[scenario.__name__] = scenario
        STRANGERS[scenario.__name__] = strangers
        return scenario

    return add


def stranger(kind: str, content: str, priority: int = 100) -> Snippet:
    return Snippet(f"stranger_{kind}", kind, priority, content)


def cached(
    standin_edge: StandinEdge, age: int, cache: str = "max-age=10", more: Mapping[str, str] | None = None
) -> str:
    """A page that was requested once, so many seconds ago."""
    path = standin_edge.page(200, cache, more)
    assert standin_edge.get(path).status == 200
    standin_edge.later(age)
    return path


def ours(standin_edge: StandinEdge) -> list[str]:
    """The policy's headers that reached the origin."""
    return [name for _, headers in standin_edge.origin.asked for name in headers if "edgeguard" in name]


def served_stale(
    standin_edge: StandinEdge,
    age: int,
    *,
    grace: int,
    status: int = 200,
    cache: str = "max-age=10",
    more: Mapping[str, str] | None = None,
) -> bool:
    """Whether a page of that age is served while the origin is closed and a claim on `grace` is in force."""
    path = standin_edge.page(status, cache, more)
    assert standin_edge.get(path).status == status
    standin_edge.later(age)
    standin_edge.origin.closed = True
    standin_edge.claim(grace=grace)
    page = standin_edge.get(path)
    standin_edge.origin.closed = False
    assert page.status in {status, SHORT_PAGE}
    return page.status == status


PASS = stranger("recv", "if (req.http.Cookie) { return(pass); }")
"""As sites with a login have it; Fastly does not pass such requests by itself."""
