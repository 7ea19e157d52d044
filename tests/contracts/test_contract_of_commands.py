"""The contract suite over the driver `commands`, with the sample scripts of config/commands."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from edgeguard.testing.suite import *  # noqa: F403 (every test of the suite)
from tests.contracts.commands_world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not (shutil.which("haproxy") and shutil.which("socat")) and not os.environ.get("CI"),
    reason="the sample scripts need haproxy and socat: scripts/test installs them",
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World("commands", tmp_path) as world:
        yield world
