"""Every recorded exchange that is not about something unneeded has the same status and shape with the stand-in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.standin.exchanges import FOLDER, Exchange, Replay, kept, not_needed, shipped, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin

MANUAL = Path(__file__).parent.parent.parent / "docs" / "standin.md"


@pytest.fixture(scope="module")
def recorded() -> list[Exchange]:
    if not FOLDER.exists():
        sentence = "Fastly's Go client is not fetched; scripts/tools fetches it"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return [*kept(), *shipped()]


@pytest.fixture(autouse=True)
def weeded(standin: Standin) -> Iterator[None]:
    yield
    standin.control.delete("/plants")


def test_the_needed_ones_are_held(standin: Standin, recorded: list[Exchange]) -> None:
    replay = Replay(standin, recorded)
    needed = [exchange for exchange in recorded if not_needed(exchange) is None]
    compared = [(f"{one.test}: {one.method} {one.target}", replay.differs(one)) for one in needed]
    assert [(name, how) for name, how in compared if how] == []
    assert len(needed) > 300


def test_the_manual_has_their_table(recorded: list[Exchange]) -> None:
    assert table(recorded) in MANUAL.read_text(encoding="utf-8"), "python -m tests.standin.exchanges prints it"
