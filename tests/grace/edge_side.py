"""An environment without a cluster, on a stage: what tests of claims begin with, and look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import Claim
from edgeguard.environment import EdgeSide
from edgeguard.settings import EdgeOnlySettings
from tests.edge.stage import BASE

if TYPE_CHECKING:
    from edgeguard.edge import Edge
    from tests.edge.stage import Stage


def of(stage: Stage, edge: Edge | None = None, **settings: object) -> EdgeSide:
    """The environment, without a cluster. Settings are `table__name`."""
    tables: dict[str, Any] = {"edge": {**stage.settings.model_dump(), "propagation": 0.05, "confirm_timeout": 5}}
    for name, value in settings.items():
        table, _, key = name.partition("__")
        tables.setdefault(table, {})[key] = value
    found = EdgeOnlySettings(**tables)
    return EdgeSide(name="site", settings=found, edge=edge or stage.edge, state=None)  # type: ignore[arg-type]  # unused


def history(stage: Stage) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = stage.control("GET", "/history")
    return asked


def writes(stage: Stage, since: int) -> list[str]:
    return [call["method"] for call in history(stage)[since:] if call["method"] != "GET"]


def in_force(stage: Stage) -> int:
    return stage.edge.status().grace


def claimed(stage: Stage, **lasting: int) -> None:
    """Claims that are there already, by slot, and how many seconds they last."""
    stage.write({slot: Claim(slot, stage.now() + s, BASE + s, "abcd1234").value() for slot, s in lasting.items()})
