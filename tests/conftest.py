"""The signals with which tests' processes start, and the running stand-ins that several folders use."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.edge.standin_edge import StandinEdge, running_standin_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

# A shell ignores SIGINT in what it runs in the background, and children inherit that; tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def session_standin_edge() -> Iterator[StandinEdge]:
    """The stand-in that all tests share whose module needs none of its own."""
    with running_standin_edge() as standin_edge:
        yield standin_edge


@pytest.fixture(scope="module")
def module_standin_edge() -> Iterator[StandinEdge]:
    """A stand-in for one module, with nothing installed at first."""
    with running_standin_edge() as standin_edge:
        yield standin_edge


@pytest.fixture
def standin_edge(session_standin_edge: StandinEdge) -> StandinEdge:
    """The shared stand-in. Every test begins with its origin open, its slots free and no fault."""
    session_standin_edge.reset()
    return session_standin_edge
