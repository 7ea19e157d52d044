"""One world, and one observer in it, for everything in this folder that dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.observer import Observer
from tests.crash.world import World, world

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Observer]]:
    with (
        world(tmp_path_factory.mktemp("crash") / "world") as found,
        Observer(found.ready["edge_url"], found.gate_url) as observer,
    ):
        yield found, observer
