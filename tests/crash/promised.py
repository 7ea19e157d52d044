"""The promises of docs/operators.md to a person who comes after a deploy that died."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.crash.kinds import Outcome

_OPERATORS = Path(__file__).parent.parent.parent / "docs" / "operators.md"
WHOLE = (0, 10)
_ROW = r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$"


@dataclass(frozen=True)
class Row:
    """Of the table: how the cluster may be, what others may see, and with which codes each command may end, and what
    serves then: "new", "previous", or what others saw (empty)."""

    cluster: set[str]
    others: set[str]
    resume: dict[int, str]
    rollback: dict[int, str]


def rows() -> dict[str, Row]:
    """The rows of the table, by phase."""
    section = (
        _OPERATORS.read_text(encoding="utf-8").partition("## If the machine that deploys dies")[2].partition("\n## ")[0]
    )
    return {
        phase: Row(set(cluster.split(" or ")), set(others.split(", or ")), ends(resume), ends(rollback))
        for phases, cluster, others, resume, rollback in re.findall(_ROW, section, flags=re.MULTILINE)
        for phase in re.findall(r"`([a-z-]+)`", phases)
    }


def ends(cell: str) -> dict[int, str]:
    """What serves after each code: of those that it begins with, and those after a semicolon."""
    found = {}
    for code, said in re.findall(r"(?:^|; )(\d+)\b([^;]*)", cell):
        what = re.search(r"the (new|previous) (?:release|one)\b", said)
        found[int(code)] = what[1] if what else ""
    return found


def unkept(outcome: Outcome) -> list[str]:
    """The differences between the table and the outcome of a good deploy that was killed and recovered undisturbed."""
    scenario = outcome.scenario
    disturbed = scenario.again or scenario.fault or scenario.sick or scenario.broken or scenario.felled
    if scenario.kind != "good" or not outcome.visible or scenario.paused or disturbed:
        return []
    phase = {"start": "build", "proof": "claim", "committed": "purge", "finish": "post-deploy", "end": "post-deploy"}
    named = phase.get(outcome.phase, outcome.phase)
    if named == "lock" and outcome.unknown:  # as the page says below the table
        named = "build"
    if named == "healthy" and outcome.committed:  # as the page says, too
        named = "purge"
    row, wrong = rows()[named], []
    if outcome.visible not in row.cluster:
        wrong.append(f"operators.md: in {outcome.phase} the cluster is {row.cluster}, and it was {outcome.visible}")
    names = {outcome.new: "the new release", outcome.old: "the previous release", "closed": "the closure"}
    if names.get(outcome.others) not in row.others:
        wrong.append(f"operators.md: in {outcome.phase} others see {row.others}, and they saw {outcome.others}")
    command, code = outcome.commands[1]
    codes = row.resume if scenario.then == "resume" else row.rollback
    if code not in codes:
        wrong.append(f"operators.md: after {outcome.phase} {command} ends with {set(codes)}, and it ended with {code}")
    releases = {"new": outcome.new, "previous": outcome.old, "": outcome.others}
    if code in WHOLE and code in codes and outcome.serves != releases[codes[code]]:
        wrong.append(
            f"operators.md: after {outcome.phase} and {command} {codes[code] or 'the same as before'} serves, "
            f"and it is {outcome.serves}"
        )
    return wrong
