"""Play a scenario: something happens to a deploy at one moment, and it is finished or undone from elsewhere. The laws
judge it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crash import promised
from tests.crash.ending import agreement, due, settled
from tests.crash.felled import fell, lives
from tests.crash.kinds import Outcome, by_itself, variables
from tests.crash.rehearsal import Ended
from tests.observer import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.crash.kinds import Scenario
    from tests.crash.laws import Seen
    from tests.crash.rehearsal import Rehearsal
    from tests.crash.watch import Watch

MOST_COMMANDS = 5
WHOLE, HELD = (0, 10, 12, 130), 11
"""Exit codes: of who has left nothing to do but what does itself; and of who needs a person."""
LATER = 3.0
"""Seconds after which a page is too old for the base grace and its own time together."""
LONG = 60.0


def run_scenario(rehearsal: Rehearsal, watch: Watch, scenario: Scenario) -> Outcome:
    """Play the scenario, and leave the rehearsal whole for the next one."""
    outcome, began = Outcome(scenario, target(rehearsal, scenario.kind)), time.monotonic()
    outcome.old = rehearsal.named(ask(rehearsal.gate_url).release)
    watch.begin()
    rehearsal.forget_beats()
    machines, hooks, asked = rehearsal.states, len(rehearsal.hooks()), len(rehearsal.history())
    try:
        if scenario.paused:
            _wakes(rehearsal, watch, scenario, outcome)
        else:
            ended = _plays(rehearsal, watch, scenario, outcome)
            with rehearsal.elsewhere():
                _recovered(rehearsal, watch, scenario, outcome, ended)
    finally:
        rehearsal.clear()
    outcome.wrong += settled(rehearsal, outcome)
    _repeated(rehearsal, scenario, outcome)
    outcome.wrong += [f"a secret is in {path}" for path in rehearsal.shown(machines)]
    outcome.wrong += _daemons_ended(rehearsal) + rehearsal.left_behind()
    seen = watch.seen(rehearsal.hooks()[hooks:], rehearsal.history()[asked:], rehearsal.beats, felled=outcome.felled)
    sick = scenario.sick or scenario.kind == "healthy" or bool(scenario.felled)
    outcome.wrong += dict.fromkeys(seen.broken_laws(sick=sick, unchanged=_unchanged(outcome)))
    outcome.wrong += _hooks_at_most_once(seen, outcome)
    outcome.wrong += promised.unkept(outcome)
    outcome.down, outcome.hooks, outcome.seconds = seen.down, len(seen.hook_runs), time.monotonic() - began
    return outcome


def _unchanged(outcome: Outcome) -> bool:
    """Whether nobody need have seen another release than the one of before: it was deployed once more, or put back
    without anybody knowing whether the new one had been open."""
    first = "hook" if outcome.scenario.kind == "fix" else outcome.new
    at_the_opening = outcome.phase == "open" or bool(outcome.scenario.again)  # or what followed died there
    return outcome.serves == outcome.old and (at_the_opening or first == outcome.old)


def _plays(rehearsal: Rehearsal, watch: Watch, scenario: Scenario, outcome: Outcome) -> Ended:
    """Run the deploy, and let happen to it what the scenario says."""
    if scenario.kind == "swap":
        rehearsal.obstruct()
    supersede: tuple[str, ...] = ()
    if scenario.kind == "fix":
        held = rehearsal.run("deploy", "rehearsal", "--json", "--ref", rehearsal.refs["hook"])
        _note(rehearsal, outcome, held)
        supersede = ("--supersede", held.report["deploy"])
    acts = rehearsal.folder / "acts"
    does = "KILL"
    if scenario.ends_by_itself:
        does = scenario.signals or scenario.felled or does
    ended = rehearsal.run(
        *_deploy(rehearsal, outcome),
        *supersede,
        mortal=("--at", str(scenario.at), "--does", does, "--acts", str(acts), *_variant(scenario)),
        **variables(scenario),
    )
    _note(rehearsal, outcome, ended)
    outcome.ended, outcome.due = ended.code, due(rehearsal, outcome, "deploy", ended.code, {})
    outcome.moment, at = happened(acts)
    if ended.code < 0 and not scenario.ends_by_itself:
        _dead(rehearsal, outcome)
    elif ended.code not in by_itself(scenario):
        right = " or ".join(map(str, sorted(by_itself(scenario))))
        outcome.wrong.append(f"the deploy ended with {ended.code}, not {right}: {ended.err[-600:]}")
    if scenario.signals and not scenario.again:
        outcome.wrong += agreement(rehearsal, watch, outcome)
    if scenario.lives:
        outcome.felled = at
    rehearsal.clear()
    if scenario.felled and not scenario.lives:
        fell(rehearsal.root, scenario.felled)
        outcome.felled = time.time()
        outcome.wrong += _status_untrue(rehearsal, outcome, scenario.felled)
    return ended


def _dead(rehearsal: Rehearsal, outcome: Outcome) -> None:
    """Write down the state that others see after a deploy was killed, or while it sleeps."""
    answer = ask(rehearsal.gate_url)
    outcome.visible, outcome.others = answer.state, rehearsal.named(answer.release)
    left = rehearsal.newest().get("deploy") or {}
    outcome.unknown, outcome.committed = not left, left.get("phase") == "committed"


def _status_untrue(rehearsal: Rehearsal, outcome: Outcome, felled: str) -> Iterator[str]:
    """What `status` does not say of the processes that were killed, or changes."""
    records = rehearsal.records()
    ended = rehearsal.run("status", "rehearsal", "--json")
    _note(rehearsal, outcome, ended)
    if ended.code != 0:
        yield f"status ended with {ended.code}: {ended.err[-600:]}"
        return
    for server in json.loads(ended.out)["servers"]:
        for process, killed in (("gate", {"gate", "host"}), ("supervisor", {"supervisors", "host"})):
            if server[process] == (felled in killed):
                yield f"the {felled} was killed, and status says of {server['name']}: {process} {server[process]}"
    if records != rehearsal.records():
        yield "status changed the record"


def _recovered(rehearsal: Rehearsal, watch: Watch, scenario: Scenario, outcome: Outcome, ended: Ended) -> None:
    if ended.code >= 0 and ended.code != HELD and not scenario.felled:
        return
    if ended.code >= 0 and not rehearsal.unfinished():
        _opened(rehearsal, outcome, {})
        return
    fix = scenario.kind == "fix"
    arguments: list[str] = [scenario.then]
    mortal = ("--at", str(scenario.again), "--does", scenario.signals or "KILL", *_variant(scenario))
    if scenario.sick:
        rehearsal.sick(now=True)
    fault(rehearsal, scenario.fault)
    for _ in range(MOST_COMMANDS):
        found = rehearsal.newest()
        ended = rehearsal.run(
            *arguments[:1], "rehearsal", "--json", *arguments[1:], mortal=mortal, **variables(scenario)
        )
        _note(rehearsal, outcome, ended)
        outcome.ended, outcome.due = ended.code, due(rehearsal, outcome, arguments[0], ended.code, found)
        if scenario.signals and ended.arguments[0] == scenario.then:
            outcome.wrong += agreement(rehearsal, watch, outcome)
        if scenario.sick and ended.code in WHOLE:
            time.sleep(LATER)
        rehearsal.clear()
        if ended.code in WHOLE and not (fix and rehearsal.unfinished()):
            _opened(rehearsal, outcome, found)
            return
        mortal = _variant(scenario)
        if ended.code in WHOLE:  # what it came in place of is unfinished as before
            arguments, fix = ["rollback"], False
        if ended.code == HELD:
            arguments = as_a_person_would(ended)
    outcome.wrong.append(f"not whole after {MOST_COMMANDS} commands")


def _opened(rehearsal: Rehearsal, outcome: Outcome, found: Mapping[str, Any]) -> None:
    """With nothing unfinished and processes of the servers killed, one command starts and opens what served. `found`:
    the record before the command that ended well; if it had something unfinished, that command had to do it."""
    if not outcome.scenario.felled or found.get("deploy"):
        return
    if ask(rehearsal.gate_url).broken or any(ask(url).broken for url in rehearsal.server_urls().values()):
        ended = rehearsal.run("cluster", "open", "rehearsal", "--json", mortal=_variant(outcome.scenario))
        _note(rehearsal, outcome, ended)
        if ended.code != 0:
            outcome.wrong.append(f"cluster open ended with {ended.code}: {ended.err[-600:]}")


def _repeated(rehearsal: Rehearsal, scenario: Scenario, outcome: Outcome) -> None:
    """The same command once more has nothing to do: it changes nothing, and ends with 0."""
    records, seen = rehearsal.records(), ask(rehearsal.gate_url).release
    ended = rehearsal.run(scenario.then, "rehearsal", "--json", mortal=_variant(scenario))
    _note(rehearsal, outcome, ended)
    if ended.code != 0:
        outcome.wrong.append(f"{scenario.then} once more ended with {ended.code}: {ended.err[-600:]}")
    if records != rehearsal.records() or seen != ask(rehearsal.gate_url).release:
        outcome.wrong.append(f"{scenario.then} once more changed the servers")


def _daemons_ended(rehearsal: Rehearsal) -> list[str]:
    """The daemons of hooks that did not live to the end, in words: nobody waits for them, and nobody ends them."""
    wrong = []
    for pid in rehearsal.daemons():
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
        else:
            wrong.append(f"the daemon {pid} of a hook has ended")
    return wrong


def _wakes(rehearsal: Rehearsal, watch: Watch, scenario: Scenario, outcome: Outcome) -> None:
    """The deploy is paused. Another process takes over and ends it. Then the first one goes on where it was."""
    acts = rehearsal.folder / "acts"
    mortal = ("--at", scenario.paused, "--does", "STOP", "--acts", str(acts), *_variant(scenario))
    deploy = rehearsal.start(*_deploy(rehearsal, outcome), mortal=mortal, **variables(scenario))
    try:
        deadline = time.monotonic() + LONG
        while not stopped(deploy.pid):
            assert deploy.poll() is None, "it was not paused"
            assert time.monotonic() < deadline, "it is not paused"
            time.sleep(0.02)
        outcome.moment, _ = happened(acts)
        _dead(rehearsal, outcome)
        _recovered(rehearsal, watch, replace(scenario, broken=""), outcome, Ended((), -signal.SIGSTOP, "", ""))
        epoch = [record["epoch"] for record in rehearsal.records()]
    finally:
        if deploy.poll() is None:
            os.killpg(deploy.pid, signal.SIGCONT)
        ended = rehearsal.end(deploy, "deploy")
    _note(rehearsal, outcome, ended)
    if ended.code not in {3, -signal.SIGKILL}:  # killed: it slept while it held a server's own lock
        outcome.wrong.append(f"who had lost the lock ended with {ended.code}")
    if epoch != [record["epoch"] for record in rehearsal.records()]:
        outcome.wrong.append("who had lost the lock wrote on the servers")


def stopped(pid: int) -> bool:
    """Whether a process is paused. Linux only."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


def _deploy(rehearsal: Rehearsal, outcome: Outcome) -> tuple[str, ...]:
    return "deploy", "rehearsal", "--json", "--ref", rehearsal.refs[outcome.new]


def _variant(scenario: Scenario) -> tuple[str, ...]:
    return ("--break", scenario.broken) if scenario.broken else ()


def as_a_person_would(ended: Ended) -> list[str]:
    """Act as a person would: answer the question that only a person can answer, and roll back if that did not help."""
    if "it is not known how" in ended.err:
        return ["resume", "--hook=again"]
    if re.search("deploy hook of .* failed", ended.err):
        return ["resume", "--hook=skip"]
    return ["rollback"]


def fault(rehearsal: Rehearsal, what: str) -> None:
    """Let the edge's API fail as one of FAULTS says."""
    if what == "503":
        rehearsal.control("POST", "faults", {"api": {"status": 503, "times": 4, "match": {"method": "PATCH"}}})
    elif what == "lost":
        rehearsal.control("POST", "faults", {"api": {"drop": "after", "times": 2, "match": {"method": "PATCH"}}})
    elif what == "down":
        rehearsal.control("POST", "faults", {"api": {"status": 503}})


def _hooks_at_most_once(seen: Seen, outcome: Outcome) -> list[str]:
    """The releases whose hook started too often, in words: once is right, and once more for each --hook=again."""
    started = [line[-1] for line in seen.hooks if line[1] == "started"]
    said = sum("--hook=again" in command for command, _ in outcome.commands)
    twice = {tree: started.count(tree) for tree in started if started.count(tree) > 1 + said}
    return [f"the hook started {times} times for {tree}" for tree, times in twice.items()]


def target(rehearsal: Rehearsal, kind: str) -> str:
    """The release to deploy: another one than the one that serves."""
    if kind == "daemon" and rehearsal.serving() == rehearsal.digests["daemon"]:
        return "another daemon"
    if kind not in {"good", "swap", "fix"}:
        return kind
    return "second" if rehearsal.serving() == rehearsal.digests["first"] else "first"


def happened(acts: Path) -> tuple[str, float]:
    """The moment at which it happened, as its phase and its act, and its time (Unix time). Empty: nothing happened."""
    for line in acts.read_text().splitlines():
        _, phase, act, *at = line.split("\t")
        if at:
            return f"{phase}\t{act}", float(at[0])
    return "", -inf


def moments(acts: Path) -> list[str]:
    """Every moment of a run: phase, act."""
    return [line.partition("\t")[2] for line in acts.read_text().splitlines()]


def _note(rehearsal: Rehearsal, outcome: Outcome, ended: Ended) -> None:
    outcome.commands.append(
        (" ".join(word for word in ended.arguments if word not in {"rehearsal", "--json"}), ended.code)
    )
    if ended.code in {1, 2} or "Traceback" in ended.err:
        outcome.wrong.append(f"{ended.arguments[0]} ended with {ended.code}: {ended.err[-600:]}")
    if shown := [secret for secret in rehearsal.secrets if secret in ended.out + ended.err]:
        outcome.wrong.append(f"{ended.arguments[0]} shows {len(shown)} secrets")
