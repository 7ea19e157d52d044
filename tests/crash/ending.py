"""The end that a scenario must have: the right release serves, and nothing is under way or left behind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.crash.laws import TOLERANCE, claimed
from tests.crash.rehearsal import CLAIM, HELD_CLAIM, SERVERS
from tests.observer import PATIENCE, ask, edge_status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.crash.kinds import Outcome
    from tests.crash.rehearsal import Rehearsal
    from tests.crash.watch import Watch

TAKEN_BACK, HELD, LEFT_OVER, INTERRUPTED = 10, 11, 12, 130
"""Exit codes: the previous release serves again; a person is needed; it is done, but not all that follows; and it was
interrupted before anything was closed."""
DONE = (0, LEFT_OVER)


def due(rehearsal: Rehearsal, outcome: Outcome, command: str, code: int, found: Mapping[str, Any]) -> str:
    """The name of the release that must serve after a command that ended well; empty if it is unknown. `found`: the
    newest record on the servers when it was called."""
    left = found.get("deploy")
    if code in {TAKEN_BACK, INTERRUPTED} or (command == "deploy" and code not in DONE):
        return outcome.old
    if command == "deploy":
        return outcome.new
    if command == "resume":
        if left is None:
            return rehearsal.named(found["opened"]["release"])
        return "hook" if left["release"] == rehearsal.digests["hook"] else outcome.new
    return outcome.old if left and left["phase"] != "committed" else rehearsal.named(found["opened"]["release"])


def agreement(rehearsal: Rehearsal, watch: Watch, outcome: Outcome) -> Iterator[str]:
    """The exit code of the last command says how the cluster is now, and whether it was ever closed."""
    (command, code), answer, unfinished = outcome.commands[-1], ask(rehearsal.gate_url), rehearsal.unfinished()
    if unfinished != (code == HELD):
        yield f"{command} ended with {code}, and {'the deploy is' if unfinished else 'nothing is'} unfinished"
    if code != HELD and (answer.broken or rehearsal.named(answer.release) != outcome.due):
        yield f"{command} ended with {code}, and {rehearsal.named(answer.release)} serves"
    if code == INTERRUPTED and watch.was_closed():
        yield f"{command} ended with 130, and the cluster had been closed"


def settled(rehearsal: Rehearsal, outcome: Outcome) -> Iterator[str]:
    """The end is whole: the due release is open on every server; there is no lock, nothing unfinished, and the base
    grace."""
    newest = rehearsal.newest()
    for key in ("lock", "deploy", "closure"):
        if newest.get(key):
            yield f"at the end there is a {key}: {newest[key]}"
    answers = {name: ask(url) for name, url in rehearsal.server_urls().items()} | {"the gate": ask(rehearsal.gate_url)}
    outcome.serves = rehearsal.named(answers["the gate"].release)
    if len({answer.release for answer in answers.values()}) != 1 or any(each.broken for each in answers.values()):
        yield "at the end: " + ", ".join(f"{name} {each.release} ({each.status})" for name, each in answers.items())
    else:
        if outcome.due and outcome.serves != outcome.due:
            yield f"at the end {outcome.serves} serves, not {outcome.due}"
        yield from _idle(rehearsal, answers["the gate"].release)
    if outcome.ended == LEFT_OVER:
        yield from _over(rehearsal, outcome)
        return
    status = edge_status(rehearsal.ready["edge_url"])
    if not status or status["grace"] != status["base"]:
        yield f"at the end the edge shows {status}"


def _idle(rehearsal: Rehearsal, release: str) -> Iterator[str]:
    """The servers on which no worker of what serves runs, in words."""
    began = time.time()
    while idle := set(SERVERS) - {
        beat.server for beat in rehearsal.beats() if beat.at > began and (beat.kind, beat.tree) == ("worker", release)
    }:
        if time.time() > began + PATIENCE:
            yield f"at the end no worker of {release} runs on {', '.join(sorted(idle))}"
            return
        time.sleep(0.05)


def _over(rehearsal: Rehearsal, outcome: Outcome) -> Iterator[str]:
    """The claims that would not end by themselves, in words. A claim may be left at the end, but nobody renews it."""
    lasting = outcome.scenario.lasting or CLAIM
    if any(code == HELD for _, code in outcome.commands):
        lasting = HELD_CLAIM
    status = edge_status(rehearsal.ready["edge_url"])
    until, _ = claimed(status)
    if until > int(status["now"]) + lasting + TOLERANCE:
        yield f"at the end there is a claim until {until}: {status}"
    elif outcome.scenario.lasting:
        while int(status["now"]) < until + TOLERANCE:
            time.sleep(0.1)
            status = edge_status(rehearsal.ready["edge_url"])
        if status["grace"] != status["base"] or status["hold"] != "0":
            yield f"the claim until {until} has not ended by itself: {status}"
