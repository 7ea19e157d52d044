"""What README promises to whoever comes after a deploy that died."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.crash.scenario import Outcome

_README = Path(__file__).parent.parent.parent / "README.md"
_ROW = r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"


@dataclass(frozen=True)
class Row:
    """Of the table: how the cluster may be, and with which codes each command may end."""

    cluster: set[str]
    resume: set[int]
    rollback: set[int]


def rows() -> dict[str, Row]:
    """By phase."""
    section = (
        _README.read_text(encoding="utf-8").partition("## If the machine that deploys dies")[2].partition("\n## ")[0]
    )
    return {
        phase: Row(set(cluster.split(" or ")), codes(resume), codes(rollback))
        for phases, cluster, _, resume, rollback in re.findall(_ROW, section, flags=re.MULTILINE)
        for phase in re.findall(r"`([a-z-]+)`", phases)
    }


def codes(cell: str) -> set[int]:
    """Those that it begins with, and those after a semicolon."""
    return {int(code) for code in re.findall(r"(?:^|; )(\d+)\b", cell)}


def unkept(outcome: Outcome) -> list[str]:
    """What came otherwise than README has it. For good deploys that were killed, and recovered in peace."""
    scenario = outcome.scenario
    disturbed = scenario.again or scenario.fault or scenario.paused or scenario.sick or scenario.broken
    if scenario.kind != "good" or not outcome.moment or disturbed:
        return []
    phase = {"start": "build", "proof": "claim", "committed": "purge", "finish": "post-deploy"}
    row = rows()[phase.get(outcome.phase, outcome.phase)]
    wrong = []
    if outcome.visible not in row.cluster:
        wrong.append(f"README: in {outcome.phase} the cluster is {row.cluster}, and it was {outcome.visible}")
    command, code = outcome.commands[1]
    promised = row.resume if scenario.then == "resume" else row.rollback
    if code not in promised:
        wrong.append(f"README: after {outcome.phase} {command} ends with {promised}, and it ended with {code}")
    return wrong
