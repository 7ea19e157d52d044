"""A deploy that dies at any moment is finished or undone from another machine, and only its owner notices.

These tests play the delicate moments. `scripts/crash` plays all of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.crash import choice, promised
from tests.crash.scenario import run_scenario

if TYPE_CHECKING:
    from tests.crash.kinds import Scenario
    from tests.crash.rehearsal import Rehearsal
    from tests.crash.watch import Watch


@pytest.mark.parametrize("scenario", list(choice.delicate()), ids=str)
def test_a_deploy_that_dies(watched: tuple[Rehearsal, Watch], scenario: Scenario) -> None:
    if scenario.only_linux and sys.platform != "linux":
        pytest.skip("only Linux shows the processes in files")
    outcome = run_scenario(*watched, scenario)
    assert outcome.moment or not scenario.at, "nothing happened"
    assert outcome.whole, outcome


def test_the_manual_has_a_row_for_every_phase() -> None:
    phases = ("build", "lock", "preflight", "stage", "claim", "stop-tasks", "close", "drain", "swap", "hook", "check")
    assert list(promised.rows()) == [*phases, "open", "healthy", "purge", "release", "post-deploy"]
