"""One rehearsal, and visitors in it, for all deploys that die in this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.crash.rehearsal import Rehearsal, rehearsing
from tests.crash.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def session_rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with rehearsing(tmp_path_factory.mktemp("crash") / "rehearsal") as found:
        yield found


@pytest.fixture
def watched(session_rehearsal: Rehearsal) -> Iterator[tuple[Rehearsal, Watch]]:
    """The rehearsal, watched while the test runs."""
    with Watch(session_rehearsal.ready["edge_url"], session_rehearsal.gate_urls) as watch:
        yield session_rehearsal, watch
