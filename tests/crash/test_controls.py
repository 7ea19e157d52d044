"""The crash tests can fail: without one of edgeguard's safety measures they fail, and with it they don't."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.crash.kinds import Scenario
from tests.crash.scenario import run_scenario
from tests.observer import ask

if TYPE_CHECKING:
    from tests.crash.rehearsal import Rehearsal
    from tests.crash.watch import Watch

CONTROLS = (
    (
        Scenario(broken="claim"),
        "closed without a claim",
    ),
    (
        Scenario(at="swap|rename web2/current.next|1", then="rollback", sick=True, broken="proof"),
        "anonymous visitors got",
    ),
    (
        Scenario(at="close|rename web1/|1", then="rollback", broken="ahead"),
        "at the end: ",
    ),
    (
        Scenario(kind="hook", broken="stay-closed"),
        "the deploy ended with 10, not 11",
    ),
    (
        Scenario(at="check|write |1", then="resume", fault="down", broken="adoption"),
        "at the end: ",
    ),
    (
        Scenario(at="check|write |1", then="resume", broken="ledger"),
        "the hook started 2 times",
    ),
    (
        Scenario(at='claim|ask {"items"|1', then="resume", broken="forward"),
        "serves, not",
    ),
    (
        Scenario(at="committed|fsync|1", felled="gate", broken="observation"),
        "at the end: ",
    ),
    (
        Scenario(at="swap|rename web2/current.next|1", signals="TERM", broken="signals"),
        "ended with 130, and the cluster had been closed",
    ),
    (
        Scenario(at="end|exit|1", signals="HUP", broken="signals"),
        "ended with 130, and",
    ),
    (
        Scenario(at="healthy|write |1", felled="application", lives=True, ends=11, broken="deaths"),
        "the deploy ended with 0, not 11",
    ),
    (
        Scenario("daemon", broken="strays"),
        "of a hook has ended",
    ),
    (
        Scenario(at='claim|ask {"items"|1', then="rollback", broken="nothing"),
        "rollback once more changed the servers",
    ),
    (
        Scenario(felled="host", broken="start"),
        "cluster open ended with",
    ),
    (
        Scenario(broken="tasks"),
        "a worker ran on web1 while closed",
    ),
    (
        Scenario(paused="open|write |1", then="rollback", broken="fencing"),
        "who had lost the lock",
    ),
)


@pytest.mark.parametrize(("scenario", "wrong"), CONTROLS, ids=str)
def test_a_missing_safety_is_noticed(watched: tuple[Rehearsal, Watch], scenario: Scenario, wrong: str) -> None:
    rehearsal, _ = watched
    _skip_elsewhere(scenario)
    try:
        outcome = run_scenario(*watched, scenario)
    finally:
        answer = ask(rehearsal.gate_url)
        if rehearsal.unfinished() or answer.broken or answer.state != "open":
            rehearsal.rescue()
    assert [found for found in outcome.wrong if wrong in found], outcome


# A living deploy, and what dies where all others do, is in test_crash.py; these have what is only here.
ONLY_HERE = (CONTROLS[1], CONTROLS[4], CONTROLS[-1])


@pytest.mark.parametrize(("scenario", "wrong"), ONLY_HERE, ids=str)
def test_the_same_scenario_ends_whole_with_every_safety(
    watched: tuple[Rehearsal, Watch], scenario: Scenario, wrong: str
) -> None:
    _skip_elsewhere(scenario)
    outcome = run_scenario(*watched, replace(scenario, broken=""))
    assert outcome.whole, f"{wrong}? {outcome}"


def _skip_elsewhere(scenario: Scenario) -> None:
    if scenario.only_linux and sys.platform != "linux":
        pytest.skip("only Linux shows the processes in files")
