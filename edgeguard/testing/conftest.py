"""The servers of each test, as the options say (edgeguard/testing/plugin.py)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeguard.testing.world import World


@pytest.fixture
def world(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[World]:
    """Servers to which nothing was deployed, behind the driver that is tested."""
    module = importlib.import_module(pytestconfig.getoption("--edgeguard-world") or "edgeguard.testing.local")
    made: World
    with module.World(pytestconfig.getoption("--edgeguard-driver"), tmp_path) as made:
        yield made
