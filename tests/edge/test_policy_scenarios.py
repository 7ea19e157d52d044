from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.scenarios import SCENARIOS, STRANGERS

if TYPE_CHECKING:
    from tests.edge.stage import Stage


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_policy_keeps_its_promises(stage: Stage, name: str) -> None:
    stage.install([*stage.policy(), *STRANGERS[name]])
    stage.write({})
    SCENARIOS[name](stage)
