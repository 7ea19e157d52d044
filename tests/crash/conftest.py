"""One world, and an observer in it, for everything in this folder that dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.observer import Observer
from tests.crash.world import World, world

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("crash") / "world") as found:
        yield found


@pytest.fixture
def stage(_world: World) -> Iterator[tuple[World, Observer]]:
    """The world, watched while the test runs."""
    with Observer(_world.ready["edge_url"], _world.gate_url) as observer:
        yield _world, observer
