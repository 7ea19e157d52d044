"""Two operators deploy, resume and roll back in any order, and their machines die, sleep and wake meanwhile. The edge's
API fails and loses answers. Support claims grace meanwhile. In the end, one of the operators can always finish or undo
everything, and no law was broken meanwhile.

`EXAMPLES=100 pytest tests/crash/test_machine.py` plays more of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.crash.kinds import FAULTS
from tests.crash.rehearsal import PATIENCE
from tests.crash.scenario import HELD, MOST_COMMANDS, as_a_person_would, fault, stopped

if TYPE_CHECKING:
    import subprocess

    from tests.crash.rehearsal import Ended, Rehearsal
    from tests.crash.watch import Watch

EXAMPLES = int(os.environ.get("EXAMPLES", "2"))
STEPS = 5
MOMENTS = st.one_of(st.just(0), st.integers(10, 400))
"""At which a command dies; 0: it lives."""


class Site(RuleBasedStateMachine):
    """One environment and its possible events. Each operator has a machine, and no machine keeps anything."""

    rehearsal: Rehearsal
    watch: Watch

    def __init__(self) -> None:
        super().__init__()
        self._asleep: subprocess.Popen[str] | None = None
        self._said: list[str] = []
        self._again = 0
        self._claims: list[str] = []

    @initialize()
    def begins(self) -> None:
        self.watch.begin()
        self._hooks, self._asked = len(self.rehearsal.hooks()), len(self.rehearsal.history())

    @rule(release=st.sampled_from(("first", "second", "hook", "healthy")), dies=MOMENTS)
    def deploys(self, release: str, dies: int) -> None:
        unfinished = self.rehearsal.unfinished()
        ended = self._run("deploy", "--ref", self.rehearsal.refs[release], dies=dies)
        if unfinished:
            assert ended.code in {3, -signal.SIGKILL}, ended.err

    @rule(hook=st.sampled_from(("", "--hook=skip")), dies=MOMENTS)
    def resumes(self, hook: str, dies: int) -> None:
        self._run("resume", *([hook] if hook else []), dies=dies)

    @precondition(lambda self: self.rehearsal.unfinished())
    @rule(dies=MOMENTS)
    def rolls_back(self, dies: int) -> None:
        self._run("rollback", dies=dies)

    @precondition(lambda self: self._asleep is None and sys.platform == "linux")
    @rule(release=st.sampled_from(("first", "second")), phase=st.sampled_from(("claim", "swap", "check", "open")))
    def falls_asleep(self, release: str, phase: str) -> None:
        """It falls asleep while it writes its journal, so it holds no server's own lock."""
        arguments = ("deploy", "rehearsal", "--json", "--ref", self.rehearsal.refs[release])
        process = self.rehearsal.start(*arguments, mortal=("--at", f"{phase}|write |1", "--does", "STOP"))
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not stopped(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            self._asleep = process
        self._said.append(f"{' '.join(arguments[:1])} falls asleep: {process.poll() is None}")
        if self._asleep is None:
            self._judge(self.rehearsal.end(process, *arguments))

    @precondition(lambda self: self._asleep is not None)
    @rule()
    def wakes(self) -> None:
        assert self._asleep is not None
        process, self._asleep = self._asleep, None
        os.killpg(process.pid, signal.SIGCONT)
        self._judge(self.rehearsal.end(process, "wakes"))

    @rule(what=st.sampled_from(FAULTS))
    def the_api_fails(self, what: str) -> None:
        self._said.append(f"the API: {what}")
        fault(self.rehearsal, what)

    @rule()
    def the_api_is_mended(self) -> None:
        self.rehearsal.control("DELETE", "faults")

    @precondition(lambda self: not self._claims)
    @rule()
    def support_claims(self) -> None:
        ended = self._run("grace", "extend", "--for", "10m", "--reason", "a storm")
        if ended.code == 0:
            self._claims.append(json.loads(ended.out)["id"])

    @precondition(lambda self: self._claims)
    @rule()
    def support_releases(self) -> None:
        if self._run("grace", "release", self._claims[-1]).code == 0:
            self._claims.clear()

    def teardown(self) -> None:
        if hasattr(self, "_hooks"):
            try:
                self._ends()
            except BaseException:
                self.rehearsal.rescue()
                raise

    def _ends(self) -> None:
        """A person ends everything. Then the end is whole, and no law was broken."""
        self.rehearsal.clear()
        if self._asleep is not None:
            self.wakes()
        arguments = ["resume"]
        for _ in range(MOST_COMMANDS):
            if not self.rehearsal.unfinished():
                break
            ended = self._run(*arguments)
            arguments = as_a_person_would(ended) if ended.code == HELD else ["rollback"]
        assert not self.rehearsal.unfinished(), self._said
        there = [claim["id"] for claim in json.loads(self._run("status").out)["grace"]["claims"]]
        assert set(self._claims) <= set(there), f"a claim of support is gone: {self._said}"
        for claim in there:
            if claim.startswith("support"):  # also one whose answer was lost
                assert self._run("grace", "release", claim).code == 0, self._said
        hooks, asked = self.rehearsal.hooks()[self._hooks :], self.rehearsal.history()[self._asked :]
        seen = self.watch.seen(hooks, asked, self.rehearsal.beats)
        assert {answer.state for gate in seen.gates for answer in gate[-1:]} == {"open"}, self._said
        assert list(seen.broken_laws(sick=True, unchanged=True)) == [], self._said

    def _run(self, *arguments: str, dies: int = 0) -> Ended:
        verb, rest = (arguments[:2], arguments[2:]) if arguments[0] == "grace" else (arguments[:1], arguments[1:])
        mortal = ("--at", str(dies)) if dies else ()
        ended = self.rehearsal.run(*verb, "rehearsal", "--json", *rest, mortal=mortal)
        self._judge(ended)
        return ended

    def _judge(self, ended: Ended) -> None:
        self._said.append(f"{' '.join(word for word in ended.arguments if word != 'rehearsal')}: {ended.code}")
        assert "Traceback" not in ended.err, ended.err
        assert ended.code not in {1, 2}, (self._said, ended.err)
        assert not [secret for secret in self.rehearsal.secrets if secret in ended.out + ended.err], self._said


def test_two_operators_can_end_whatever_they_began(watched: tuple[Rehearsal, Watch]) -> None:
    class Here(Site):
        rehearsal, watch = watched

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=EXAMPLES <= 2,
            database=None,
            phases=[Phase.generate],  # each example takes seconds: the first one that fails is told as it is
            suppress_health_check=list(HealthCheck),
        ),
    )
