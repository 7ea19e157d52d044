"""The contract suite over the driver `local`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.testing.local import World
from edgeguard.testing.suite import *  # noqa: F403 (every test of the suite)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World("local", tmp_path) as world:
        yield world
