"""Deploys that are disturbed while they run: by another deploy, a signal, the edge's API, or a disk that is full."""

from __future__ import annotations

import resource
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, Claim, new_nonce
from edgeguard.environment import EdgeSide
from tests.deploy.rehearsal import Rehearsal, come_from, eventually, lives, repository, said

if TYPE_CHECKING:
    from pathlib import Path


def test_of_two_deploys_at_once_one_is_told_at_once_who_is_at_work(rehearsal: Rehearsal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    site = repository(tmp_path / "r", deploy=f"until [ -e {go} ]; do sleep 0.02; done")
    first = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    name = first.seen(lambda event: event["event"] == "deploy")["deploy"]
    first.begins("hook")
    second = rehearsal.deploy_of(site)
    text = rehearsal.run("status", "rehearsal").out
    purge = rehearsal.run("purge", "rehearsal", "--all", "--hard")
    purged = [call for call in rehearsal.writes() if "purge" in call["path"]]
    go.touch()
    assert first.end().code == 0
    said(second, 3, name, f"pid {first.process.pid}")
    assert (second.report["outcome"], second.report["phases"]) == ("refused", []), "the refusal needs no image"
    said(purge, 3, "web1, web2, web3: closed", "status")
    assert [call for call in purged if call["path"].endswith("purge_all")] == []
    assert f"lock       {name}" in text
    assert "closed" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_close_takes_everything_back(rehearsal: Rehearsal, number: signal.Signals) -> None:
    before = rehearsal.status()["servers"]
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_EDGE__PROPAGATION="20")
    deploy.begins("claim")
    deploy.process.send_signal(number)
    ended = deploy.end()
    said(ended, 130, number.name)
    assert ended.report["outcome"] == "interrupted"
    assert ended.report["closed_seconds"] is None
    assert before == rehearsal.status()["servers"]


def test_a_signal_while_closed_puts_the_previous_release_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    slow = f"sleep 600; exec {sys.executable} -S server.py"  # `check` would wait for it
    site = come_from(repository(tmp_path / "r", start=slow))
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_CLUSTER__START_TIMEOUT="600", **site)
    deploy.begins("check")
    deploy.process.send_signal(signal.SIGTERM)
    ended = deploy.end()
    said(ended, 10, "SIGTERM", "the previous release serves again")
    assert before == {server["release"] for server in rehearsal.status()["servers"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_hook_runs_leaves_it_running_and_a_rollback_waits_for_it(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    go, started = tmp_path / "go", tmp_path / "started"
    site = repository(tmp_path / "r", deploy=f"echo $$ > {started}; until [ -e {go} ]; do sleep 0.02; done")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    deploy.begins("hook")
    eventually(lambda: started.exists() and started.read_text().strip())
    deploy.process.send_signal(number)
    ended = deploy.end()
    said(ended, 11, "still runs", "edgeguard rollback rehearsal")
    assert ended.report["outcome"] == "held"
    assert lives(int(started.read_text()))
    back = rehearsal.start("rollback", "rehearsal", "--json")
    back.seen(lambda event: event["event"] == "found")
    go.touch()
    undone = back.end()
    assert undone.code == 0, undone.err
    assert undone.report["outcome"] == "rolled-back"
    assert before == {server["release"] for server in rehearsal.status()["servers"]}


def test_an_api_that_fails_while_closed_rolls_nothing_back(rehearsal: Rehearsal) -> None:
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("close")
    rehearsal.control("POST", "faults", {"api": {"status": 503, "match": {"method": "PATCH"}}})
    deploy.begins("healthy")
    rehearsal.control("DELETE", "faults")
    ended = deploy.end()
    assert ended.code == 0, ended.err
    assert ended.report["outcome"] == "deployed"


def test_a_token_that_ends_while_closed_costs_no_visitor_anything(rehearsal: Rehearsal) -> None:
    """The cluster opens with the new release. Its claim stays, and ends by itself or with the next deploy."""
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_VISITORS__RATE="20")
    deploy.begins("close")
    try:
        ended = {rehearsal.ready["token"]: {"expires_at": "2020-01-01T00:00:00Z"}}
        rehearsal.control("POST", "plants", {"tokens": ended})
        after = deploy.end()
    finally:
        rehearsal.control("DELETE", "plants")
    said(after, 12, "401", "FASTLY_API_TOKEN")
    assert (after.report["outcome"], after.report["visitors"]["anonymous"]["errors"]) == ("deployed", 0)
    status = rehearsal.status()
    assert [server["open"] for server in status["servers"]] == [True] * 3
    assert status["grace"]["in_force"] > status["grace"]["base"]
    assert rehearsal.deploy().code == 0


def test_a_pipeline_s_claims_outlive_a_deploy(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """One is in the slot that this deploy uses, and one in the other slot."""
    edge, until = EdgeSide.open("rehearsal", config=rehearsal.config, state=tmp_path).edge, int(time.time()) + 600
    theirs = {slot: Claim(slot, until, 5000, new_nonce(HOOK)) for slot in DEPLOY_SLOTS}
    edge.write({slot: claim.value() for slot, claim in theirs.items()})
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("close")
    meanwhile = rehearsal.status()["grace"]
    ended, left = deploy.end(), edge.items()
    edge.write(dict.fromkeys(DEPLOY_SLOTS, FREE))
    assert ended.code == 0, ended.err
    assert (meanwhile["in_force"], meanwhile["hold"]) == (5000, True)
    assert {slot: left[slot] for slot in theirs} == {slot: claim.value() for slot, claim in theirs.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a limit be set on a process that runs")
def test_a_journal_that_cannot_grow_while_closed_does_not_stop_the_unwinding(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    go_on = tmp_path / "go-on"
    site = repository(tmp_path / "r", deploy=f"while [ ! -e {go_on} ]; do sleep 0.1; done")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    deploy.begins("hook")
    journal = max(rehearsal.state.glob("rehearsal/*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    with journal.open("a") as file:
        file.write("\n" * 100_000)  # so that no other file reaches the limit before it
    resource.prlimit(deploy.process.pid, resource.RLIMIT_FSIZE, (journal.stat().st_size,) * 2)
    go_on.touch()
    ended = deploy.end()
    said(ended, 10, "can't be written", "the previous release serves again")
    assert before == {server["release"] for server in rehearsal.status()["servers"]}
