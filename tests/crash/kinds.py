"""A scenario: a kind of deploy, the moment at which it or a process of the servers dies, and the command that follows.
And its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

KINDS = ("good", "swap", "hook", "check", "healthy", "fix", "daemon")
"""Deploys that succeed; that fail in a phase; a good one, in place of one that failed in its hook; and a good one whose
hook leaves a daemon behind."""
GOOD = ("good", "fix", "daemon")
POLICIES = ("stay-closed", "rollback")
FAULTS = ("503", "lost", "down")
"""Of the edge's API: it fails some writes; it does them and loses the answers; it fails every call."""


FELLED = ("gate", "supervisors", "application", "host")
"""Processes of the servers that are killed: the gate; every supervisor; the application of web2; and everything that
runs on the servers, as when their hosts are restarted."""
SIGNALS = ("INT", "TERM", "HUP", "INT INT", "TERM INT", "HUP HUP HUP", "INT TERM HUP", "INT INT INT")
"""Signals that a deploy's process group gets at a moment, and at the moments that follow it."""


@dataclass(frozen=True)
class Scenario:
    """A kind of deploy, the moment at which something happens to it, and the command that follows."""

    kind: str = "good"
    policy: str = "stay-closed"
    at: int | str = 0
    """The moment at which the deploy dies, as mortal.py takes it; 0: it lives to its end."""
    then: Literal["resume", "rollback"] = "resume"
    """The command that follows a deploy that is dead, or needs a person."""
    paused: str = ""
    """The moment at which it is paused instead, and goes on when all has been ended without it."""
    again: int | str = 0
    """The moment at which that dies, too, before it is called once more; 0: it lives."""
    fault: str = ""
    """What the edge's API does while that runs: "503", or "lost" answers, for some calls."""
    felled: str = ""
    """The processes of the servers that are killed (FELLED), once the deploy is dead."""
    lives: bool = False
    """The deploy goes on while these are killed at `at`."""
    signals: str = ""
    """The signals that the deploy gets at `at` (SIGNALS) instead of being killed; with `again`, the next command gets
    them at that moment."""
    ends: int | None = None
    """The exit code with which the deploy must end by itself, where the moment decides it."""
    broken: str = ""
    """What is missing in edgeguard (broken.WAYS)."""
    lasting: int = 0
    """Seconds that a claim lasts; one that is left when all is done is waited for. 0: as long as in all others."""
    sick: bool = False
    """The origin is sick, through the gate, from the death until the first command after it has ended, and LATER."""

    def __str__(self) -> str:
        parts = [self.kind, self.policy, self._happens, self.then]
        parts += [f"{f'gets {self.signals}' if self.signals else 'dies'} at {self.again} again"] if self.again else []
        parts += [f"claims of {self.lasting} s"] if self.lasting else []
        parts += [part for part in (self.fault and f"API: {self.fault}", self.broken and f"no {self.broken}") if part]
        return ", ".join(parts)

    @property
    def _happens(self) -> str:
        if self.paused:
            return f"pauses at {self.paused}"
        if self.signals and not self.again:
            return f"gets {self.signals} at {self.at}"
        if self.felled:
            return (
                f"{self.felled} killed at {self.at}" if self.lives else f"dies at {self.at}, and then the {self.felled}"
            )
        return f"dies at {self.at}"

    @property
    def only_linux(self) -> bool:
        """Whether only Linux can play it: its files say which processes there are, and whether one is stopped."""
        return bool(self.paused or self.felled)

    @property
    def ends_by_itself(self) -> bool:
        """Whether nobody kills the deploy, or pauses it."""
        return not self.paused and (not self.at or self.lives or bool(self.signals and not self.again))


@dataclass
class Outcome:
    """The outcome of a scenario."""

    scenario: Scenario
    new: str = ""
    """The release that was deployed, by its name in the rehearsal."""
    moment: str = ""
    """The phase and the act before which it happened; empty where nothing did."""
    visible: str = ""
    """Whether the gate was open or closed when the deploy was dead."""
    others: str = ""
    """What it answered then: a release's name, or "closed"."""
    felled: float = -inf
    """When processes of the servers were killed (Unix time)."""
    unknown: bool = False
    """Whether the servers knew nothing of the deploy then."""
    committed: bool = False
    """Whether a server knew then that the deploy has committed."""
    old: str = ""
    """The release that served before."""
    due: str = ""
    """The release that has to serve at the end, as far as that can be told."""
    serves: str = ""
    """The release that serves at the end."""
    ended: int = 0
    """The exit code with which the last command ended that had something to do."""
    commands: list[tuple[str, int]] = field(default_factory=list)
    """What was called, and how it ended."""
    wrong: list[str] = field(default_factory=list)
    down: float = 0.0
    hooks: int = 0
    seconds: float = 0.0

    @property
    def phase(self) -> str:
        return self.moment.partition("\t")[0]

    @property
    def whole(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        said = " → ".join(f"{command} {code}" for command, code in self.commands)
        where = f" [{self.moment.replace(chr(9), ': ')}]" if self.moment else ""
        return f"{self.scenario}{where}: {said}" + "".join(f"\n    {wrong}" for wrong in self.wrong)


def by_itself(scenario: Scenario) -> set[int]:
    """The exit codes with which a deploy of this kind may end by itself."""
    after_the_hook = 11 if scenario.policy == "stay-closed" else 10
    if scenario.ends is not None:
        return {scenario.ends}
    if scenario.signals:
        return {0, 10, 11, 12, 130}
    if scenario.felled == "application":
        return {0, after_the_hook}
    if scenario.felled and scenario.lives:
        return {0, 4, 6, 10, 11, 12}
    return {0 if scenario.kind in GOOD else 10 if scenario.kind == "swap" else after_the_hook}


def variables(scenario: Scenario) -> dict[str, str]:
    variables = {"EDGEGUARD_CLUSTER__AFTER_HOOK_FAILURE": scenario.policy}
    if scenario.kind == "check":
        variables["EDGEGUARD_CLUSTER__START_TIMEOUT"] = "3"
    if scenario.kind == "healthy":
        variables["EDGEGUARD_EDGE__HEALTHY_TIMEOUT"] = "2"
    if scenario.lasting:
        variables |= {"EDGEGUARD_CLAIM__DURATION": str(scenario.lasting), "EDGEGUARD_CLAIM__HOLD": "3"}
    return variables
