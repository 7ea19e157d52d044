from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.edge.standin_edge import StandinEdge


@pytest.fixture
def standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    """The module's own stand-in, with the policy installed, free slots and no audit. Its clock may have any time."""
    module_standin_edge.reset()
    module_standin_edge.install(module_standin_edge.policy())
    module_standin_edge.edge.write(dict.fromkeys(module_standin_edge.edge.items()))
    return module_standin_edge
