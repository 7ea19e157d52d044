"""The contract suite over the driver `ssh`, on three real hosts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from edgeguard.testing.suite import *  # noqa: F403 (every test of the suite)
from tests.contracts import ssh_world
from tests.lab import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)


@pytest.fixture(scope="module", autouse=True)
def hosts() -> Iterator[None]:
    yield
    ssh_world.lab().down()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ssh_world.World]:
    with ssh_world.World("ssh", tmp_path) as world:
        yield world
