from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.stage import Stage, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def session_stage() -> Iterator[Stage]:
    with running() as stage:
        yield stage


@pytest.fixture
def stage(session_stage: Stage) -> Stage:
    """One stand-in for the session; every test begins with everything open, free and well."""
    session_stage.reset()
    return session_stage
