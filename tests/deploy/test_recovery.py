"""A deploy that was killed or held is finished or undone from a machine that shares nothing with the first one."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from edgeguard.times import unix
from tests.deploy.rehearsal import come_from, eventually, repository, said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Ended, Rehearsal

STAYS = {"EDGEGUARD_CLUSTER__AFTER_HOOK_FAILURE": "stay-closed"}
LEASE = {"EDGEGUARD_CLUSTER__LEASE": "1"}


def elsewhere(rehearsal: Rehearsal, folder: Path, *arguments: str, **variables: str) -> Ended:
    """Run a command on another machine, which has the configuration and nothing else."""
    verb, *others = arguments
    return rehearsal.run(
        verb, "rehearsal", *others, "--json", "--state", str(folder / "elsewhere"), **LEASE, **variables
    )


def releases(rehearsal: Rehearsal) -> set[str]:
    return {server["release"] for server in rehearsal.status()["servers"]}


def killed(rehearsal: Rehearsal, phase: str, site: Path, **variables: str) -> str:
    """Deploy, and kill -9 as soon as a phase begins. Returns the deploy's id."""
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **come_from(site), **variables)
    name: str = deploy.seen(lambda event: event["event"] == "deploy")["deploy"]
    deploy.begins(phase)
    deploy.process.send_signal(signal.SIGKILL)
    deploy.end()
    return name


def held(rehearsal: Rehearsal, folder: Path, hook: str = "exit 1") -> tuple[str, Path]:
    """A deploy whose hook fails, and that stays closed. Returns its id and its repository."""
    site = repository(folder / "r", deploy=hook)
    ended = rehearsal.deploy_of(site, **STAYS)
    assert ended.code == 11, ended.err
    assert ended.report["outcome"] == "held"
    return str(ended.report["deploy"]), site


@pytest.mark.parametrize("phase", ["hook", "open"])  # every other moment: tests/crash
@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_killed_deploy_is_finished_or_undone(rehearsal: Rehearsal, tmp_path: Path, phase: str, command: str) -> None:
    before, starts = releases(rehearsal), tmp_path / "starts"
    name = killed(rehearsal, phase, repository(tmp_path / "r", deploy=f"echo >> {starts}; sleep 0.3"))
    refused = rehearsal.deploy()
    closed_since = rehearsal.status()["deploy"]["time_closed"]["since"]
    ended = elsewhere(rehearsal, tmp_path, command)
    said(refused, 3, name, f"edgeguard {command} rehearsal")
    if phase == "hook":
        assert ended.report["closed_seconds"] > unix(ended.report["started"]) - closed_since, "both runs' parts count"
    assert ended.code == 0, ended.err
    assert ended.report["deploy"] == name
    assert ended.report["ref"], "which ref it is of is known from anywhere"
    assert ended.report["outcome"] == {"resume": "deployed", "rollback": "rolled-back"}[command]
    assert releases(rehearsal) == ({ended.report["release"]} if command == "resume" else before)
    assert not starts.exists() or starts.read_text() == "\n"


def test_resume_of_what_was_never_staged_leaves_the_previous_release(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    killed(rehearsal, "preflight", repository(tmp_path / "r"))
    ended = elsewhere(rehearsal, tmp_path, "resume")
    said(ended, 10, "nothing was closed")
    assert releases(rehearsal) == before


def test_a_hook_whose_end_nobody_knows_is_asked_about(rehearsal: Rehearsal, tmp_path: Path) -> None:
    starts, alive = tmp_path / "starts", tmp_path / "alive"
    site = repository(tmp_path / "r", deploy=f"echo $PPID >> {starts}; echo $$ > {alive}; exec sleep 1000")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **come_from(site))
    deploy.begins("hook")
    eventually(lambda: alive.exists() and alive.read_text().strip())
    deploy.process.send_signal(signal.SIGKILL)
    deploy.end()
    runner, hook = int(starts.read_text()), int(alive.read_text())
    for pid in (runner, hook):  # as if the server had been restarted
        os.kill(pid, signal.SIGKILL)
    asked = elsewhere(rehearsal, tmp_path, "resume")
    status = rehearsal.run("status", "rehearsal").out
    said(asked, 11, "not known how the deploy hook", "--hook=again", "--hook=skip", "edgeguard rollback rehearsal")
    assert "the edge serves the copies it has until" in asked.err
    assert "is held" in status
    assert "1 day" in status
    assert starts.read_text() == f"{runner}\n"
    ended = elsewhere(rehearsal, tmp_path, "resume", "--hook=skip")
    assert ended.code == 0, ended.err
    assert starts.read_text() == f"{runner}\n"


def test_a_held_cluster_says_how_to_go_on_and_resume_with_again_does(rehearsal: Rehearsal, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    name, _ = held(rehearsal, tmp_path, f"[ -e {mended} ]")
    status = rehearsal.run("status", "rehearsal").out
    still = elsewhere(rehearsal, tmp_path, "resume", **STAYS)
    mended.touch()
    ended = elsewhere(rehearsal, tmp_path, "resume", "--hook=again", **STAYS)
    for part in (
        f"free, but {name} is unfinished",
        "is held",
        "resume rehearsal",
        "rollback rehearsal",
        f"--supersede {name}",
        "1 day",
    ):
        assert part in status
    said(still, 11, "hook", "--hook=again")
    assert ended.code == 0, ended.err


def test_a_held_cluster_can_be_rolled_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    name, _ = held(rehearsal, tmp_path)
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    assert (ended.code, ended.report["deploy"]) == (0, name), ended.err
    assert releases(rehearsal) == before


def test_a_fix_supersedes_a_held_deploy(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    name, _ = held(rehearsal, tmp_path)
    fix = repository(tmp_path / "fix", deploy="echo fixed")
    wrong = rehearsal.deploy_of(fix, "--supersede", "another")
    broken = rehearsal.deploy_of(repository(tmp_path / "broken", build="exit 3"), "--supersede", name)
    ended = elsewhere(rehearsal, tmp_path, "deploy", "--supersede", name, **come_from(fix))
    said(wrong, 3, name)
    assert wrong.report["phases"] == [], "the refusal needs no image"
    said(broken, 8, f"; the cluster is closed, as {name} left it\n", f"--supersede {name}")
    assert ended.code == 0, ended.err
    first, last = json.loads(rehearsal.run("history", "rehearsal", "--json").out)["history"][-2:]
    assert (first["id"], first["still_closed"]) == (name, True)
    waited = unix(broken.report["ended"]) - unix(broken.report["started"])
    assert last["closed_seconds"] == ended.report["closed_seconds"] > first["closed_seconds"] + waited
    assert {ended.report["previous"]} == before
    assert releases(rehearsal) == {ended.report["release"]}


def test_rollback_to_an_earlier_release_from_anywhere(rehearsal: Rehearsal, tmp_path: Path) -> None:
    [first] = releases(rehearsal)
    assert rehearsal.deploy_of(repository(tmp_path / "r", start="exec true; echo other")).code != 0
    deployed = rehearsal.deploy_of(repository(tmp_path / "s"))
    assert deployed.code == 0, deployed.err
    ended = elsewhere(rehearsal, tmp_path, "rollback", "--to", first)
    assert (ended.code, ended.report["outcome"]) == (0, "rolled-back"), ended.err
    assert releases(rehearsal) == {first}
    told = json.loads(elsewhere(rehearsal, tmp_path, "history").out)["history"][-2:]
    assert [(run["command"], run["outcome"]) for run in told] == [("deploy", "deployed"), ("rollback", "rolled-back")]


def test_resume_with_nothing_unfinished_says_so(rehearsal: Rehearsal, tmp_path: Path) -> None:
    ended = elsewhere(rehearsal, tmp_path, "resume")
    told = json.loads(ended.out)
    assert (ended.code, told["unfinished"], told["serves"]) == (0, None, True)


def test_a_living_deploy_is_left_alone(rehearsal: Rehearsal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    site = repository(tmp_path / "r", deploy=f"until [ -e {go} ]; do sleep 0.02; done")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **come_from(site))
    deploy.begins("hook")
    refused = [elsewhere(rehearsal, tmp_path, command) for command in ("resume", "rollback")]
    go.touch()
    assert deploy.end().code == 0
    for ended in refused:
        said(ended, 3, "is alive", f"pid {deploy.process.pid}")


def test_a_cluster_is_closed_and_opened_by_hand(rehearsal: Rehearsal, tmp_path: Path) -> None:
    urllib.request.urlopen(rehearsal.ready["edge_url"], timeout=10).close()  # so that there is a copy
    closed = rehearsal.run("cluster", "close", "rehearsal", "--for", "2h", "--reason", "the database moves", "--json")
    assert closed.code == 0, closed.err
    status = json.loads(rehearsal.run("status", "rehearsal", "--json", EDGEGUARD_VISITORS__ANONYMOUS='["/"]').out)
    refused = rehearsal.deploy()
    twice = rehearsal.run("cluster", "close", "rehearsal", "--for", "1h", "--reason", "again")
    opened = rehearsal.run("cluster", "open", "rehearsal", "--state", str(tmp_path))
    assert [server["open"] for server in status["servers"]] == [False] * 3
    assert status["grace"]["in_force"] >= 7200
    assert 7000 < status["runway"] <= status["grace"]["in_force"] + 2
    assert refused.report["phases"] == [], "the refusal needs no image"
    said(refused, 3, "by hand", "the database moves", "edgeguard cluster open rehearsal")
    said(twice, 3, "by hand")
    assert opened.code == 0, opened.err
    assert re.search(r"is open, after \d+\.\d s closed, healthy", opened.out)


def test_a_person_can_wait_with_the_grace_renewed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    site = repository(tmp_path / "r", deploy="exit 1")
    waiting = rehearsal.start("deploy", "rehearsal", "--json", "--wait", **LEASE, **STAYS, **come_from(site))
    waiting.seen(lambda event: event["event"] == "warning" and "waiting" in event["text"])
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    assert ended.code == 0, ended.err
    waited = waiting.end()
    assert waited.code == 11


def test_a_fix_that_fails_too_leaves_the_cluster_closed_and_its_grace_long(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """It fails in its claim, before anything of it is visible; or by a signal, in the midst of the swap."""
    before = releases(rehearsal)
    name, _ = held(rehearsal, tmp_path)
    grace = rehearsal.status()["grace"]["in_force"]
    fix = come_from(repository(tmp_path / "fix", deploy="true"))
    unconfirmed = elsewhere(
        rehearsal, tmp_path, "deploy", "--supersede", name, EDGEGUARD_EDGE__CONFIRM_TIMEOUT="0", **fix, **STAYS
    )
    between = rehearsal.status()
    deploy = rehearsal.start("deploy", "rehearsal", "--json", "--supersede", name, **LEASE, **fix, **STAYS)
    deploy.begins("swap")
    deploy.process.send_signal(signal.SIGINT)
    interrupted = deploy.end()
    after = rehearsal.status()
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    assert unconfirmed.code == 9, unconfirmed.err
    assert (between["deploy"]["id"], between["grace"]["in_force"]) == (name, grace)
    said(interrupted, 11, "stays closed", f"--supersede {interrupted.report['deploy']}")
    assert [server["open"] for server in after["servers"]] == [False] * 3
    assert after["grace"]["in_force"] == grace
    assert ended.code == 0, ended.err
    assert releases(rehearsal) == before


def test_a_resume_that_is_stopped_says_that_it_is_still_closed_and_skips_no_hook_that_never_began(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """A pipeline's claim, over which the deploy wrote its own, is also back at the end."""
    starts = tmp_path / "starts"
    assert rehearsal.run("hook", "pre", "rehearsal", "--for", "10m", "--id", "deploy0").code == 0
    for phase in ("build", "swap"):  # the first one makes the epoch odd or even, so that one of them is deploy0's
        killed(rehearsal, phase, repository(tmp_path / phase, deploy=f"echo >> {starts}"))
        if phase == "build":
            elsewhere(rehearsal, tmp_path, "resume")
    stopped = rehearsal.start("resume", "rehearsal", "--json", **LEASE, EDGEGUARD_EDGE__PROPAGATION="30")
    stopped.begins("claim")
    stopped.process.send_signal(signal.SIGTERM)
    interrupted = stopped.end()
    status = rehearsal.run("status", "rehearsal").out
    ended = elsewhere(rehearsal, tmp_path, "resume", "--hook=skip")
    claims = rehearsal.status()["grace"]["claims"]
    given_back = rehearsal.run("hook", "post", "rehearsal", "deploy0")
    said(interrupted, 11, "still closed", "edgeguard rollback rehearsal")
    assert "1 day" in status
    assert ended.code == 0, ended.err
    assert starts.read_text() == "\n"
    assert [claim["id"] for claim in claims] == ["deploy0"]
    assert given_back.code == 0, given_back.err


def test_a_wall_clock_that_jumps_while_closed_ends_no_claim(rehearsal: Rehearsal, tmp_path: Path) -> None:
    flag, go, shift = tmp_path / "flag", tmp_path / "go", tmp_path / "shift"
    shift.mkdir()
    (shift / "sitecustomize.py").write_text(
        "import os, time\nnow = time.time\n"
        f"time.time = lambda: now() - (18_000 if os.path.exists({str(flag)!r}) else 0)\n"
    )
    site = come_from(repository(tmp_path / "r", deploy=f"until [ -e {go} ]; do sleep 0.02; done"))
    hold = {"EDGEGUARD_CLAIM__HOLD": "3"}  # renewed each second
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **hold, **site, PYTHONPATH=str(shift))
    deploy.begins("hook")
    before = rehearsal.status()["grace"]
    flag.touch()
    eventually(lambda: rehearsal.status()["grace"]["claims"] != before["claims"])
    after = rehearsal.status()["grace"]
    go.touch()
    ended = deploy.end()
    assert (after["in_force"], after["hold"]) == (before["in_force"], True)
    assert after["claims"][0]["until"] > before["claims"][0]["until"]
    assert ended.code == 0, ended.err


def test_a_close_by_hand_that_was_killed_is_ended_by_opening(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    too_long = rehearsal.run("cluster", "close", "rehearsal", "--for", "9d", "--reason", "the database moves")
    closing = ("cluster", "close", "rehearsal", "--for", "1h", "--reason", "the database moves")
    close = rehearsal.start(*closing, **LEASE, EDGEGUARD_EDGE__PROPAGATION="30")
    eventually(lambda: rehearsal.status()["grace"]["claims"])
    close.process.send_signal(signal.SIGKILL)
    close.end()
    refused = [rehearsal.deploy(**LEASE), elsewhere(rehearsal, tmp_path, "rollback")]
    opening = rehearsal.start("cluster", "open", "rehearsal", EDGEGUARD_CLUSTER__LEASE="60")
    time.sleep(1)  # it waits for the dead process's lease
    opening.process.send_signal(signal.SIGTERM)
    interrupted = opening.end()
    opened = rehearsal.run("cluster", "open", "rehearsal", **LEASE)
    said(too_long, 2, "9 days", "ceiling")
    for ended in refused:
        said(ended, 3, "edgeguard cluster open rehearsal")
    assert interrupted.code == 11, interrupted.err
    assert "SIGTERM" in interrupted.err
    assert opened.code == 0, opened.err
    assert releases(rehearsal) == before


@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_an_unwinding_that_stops_half_way_leaves_one_long_claim(
    rehearsal: Rehearsal, tmp_path: Path, command: str
) -> None:
    go, started = tmp_path / "go", tmp_path / "started"
    script = f"touch {started}; until [ -e {go} ]; do sleep 0.02; done; exit 1"
    rolls_back = {"EDGEGUARD_CLUSTER__AFTER_HOOK_FAILURE": "rollback"}
    before, site = releases(rehearsal), repository(tmp_path / "r", deploy=script)
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **rolls_back, **come_from(site))
    eventually(started.exists)
    obstacle = rehearsal.root / "servers" / "web2" / "current.next" / "in the way"
    obstacle.mkdir(parents=True)
    try:
        if command == "rollback":
            deploy.process.send_signal(signal.SIGKILL)
            deploy.end()
        go.touch()
        stuck = deploy.end() if command == "deploy" else elsewhere(rehearsal, tmp_path, "rollback")
        status = rehearsal.run("status", "rehearsal").out
    finally:
        obstacle.rmdir()
        obstacle.parent.rmdir()
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    said(stuck, 11, "taking back swap failed", "web2", "the edge serves the copies it has until ", "edgeguard rollback")
    assert "1 day until" in status
    assert ended.code == 0, ended.err
    assert releases(rehearsal) == before
