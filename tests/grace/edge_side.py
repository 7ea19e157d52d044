"""An environment with an edge and no cluster, and the questions of the claims' tests to its running stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import Claim
from edgeguard.environment import EdgeSide
from edgeguard.settings import EdgeOnlySettings
from tests.edge.standin_edge import BASE

if TYPE_CHECKING:
    from edgeguard.edge import Edge
    from tests.edge.standin_edge import StandinEdge


def edge_side(standin_edge: StandinEdge, edge: Edge | None = None, **settings: object) -> EdgeSide:
    """The environment whose edge is this stand-in. Settings are `table__name`."""
    tables: dict[str, Any] = {
        "edge": {**standin_edge.settings.model_dump(), "propagation": 0.05, "confirm_timeout": 5, "healthy_for": 0}
    }
    for name, value in settings.items():
        table, _, key = name.partition("__")
        tables.setdefault(table, {})[key] = value
    found = EdgeOnlySettings(**tables)
    return EdgeSide(name="site", settings=found, edge=edge or standin_edge.edge, state=None)


def history(standin_edge: StandinEdge) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = standin_edge.control("GET", "/history")
    return asked


def writes(standin_edge: StandinEdge, since: int) -> list[str]:
    return [call["method"] for call in history(standin_edge)[since:] if call["method"] != "GET"]


def in_force(standin_edge: StandinEdge) -> int:
    return standin_edge.edge.status().grace


def claimed(standin_edge: StandinEdge, **lasting: int) -> None:
    """Write claims that are there before a test: for each slot, the seconds that its claim lasts."""
    standin_edge.write(
        {slot: Claim(slot, standin_edge.now() + s, BASE + s, "abcd1234").value() for slot, s in lasting.items()}
    )
