"""A deploy to three real hosts dies, and is undone from another machine. `scripts/crash --hosts` plays many more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.crash.hosts import rehearsing_on_hosts
from tests.crash.kinds import Scenario
from tests.crash.scenario import run_scenario
from tests.crash.watch import Watch
from tests.lab import needs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)


def test_a_deploy_that_dies_while_a_host_hears_of_the_swap(tmp_path: Path) -> None:
    scenario = Scenario(at="swap|write half of them|2", then="rollback")
    with (
        rehearsing_on_hosts(tmp_path / "rehearsal", "deaths", ("good",), ("first",)) as rehearsal,
        Watch(rehearsal.ready["edge_url"], rehearsal.gate_urls) as watch,
    ):
        outcome = run_scenario(rehearsal, watch, scenario)
    assert outcome.moment, "nothing happened"
    assert outcome.whole, outcome
