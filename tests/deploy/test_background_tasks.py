"""Background tasks over a deploy: none runs while the cluster is closed, and those of what serves run afterwards."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import processes
from tests.deploy.rehearsal import eventually, repository
from tests.deploy.test_recovery import STAYS, elsewhere, killed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal

SERVERS = ("web1", "web2", "web3")


def site(folder: Path, name: str, *, deploy: str = "true", cron: str = "") -> Path:
    """A site with a worker of this name that ignores SIGTERM, and perhaps a cron of every minute."""
    crons = f"crons: {{{cron}: {{spec: '* * * * *', cmd: 'true'}}}}\n" if cron else ""
    work = json.dumps("trap '' TERM; while :; do sleep 0.2; done")
    return repository(
        folder, deploy=deploy, more=f"workers:\n    {name}:\n        commands:\n            start: {work}\n{crons}"
    )


def working(rehearsal: Rehearsal) -> dict[str, set[str]]:
    """The workers that have processes, by server: read from the processes themselves."""
    found = {}
    for server in SERVERS:
        tasks = processes.of_tasks(rehearsal.root / "servers" / server)
        found[server] = {one.name for one in tasks.values() if one is not None}
    return found


def all_work(rehearsal: Rehearsal, name: str) -> bool:
    return working(rehearsal) == {server: {f"worker-{name}"} for server in SERVERS}


NOTHING: dict[str, set[str]] = {server: set() for server in SERVERS}


@pytest.fixture
def one(rehearsal: Rehearsal, tmp_path: Path) -> Rehearsal:
    """The rehearsal with a release whose worker is `one`."""
    ended = rehearsal.deploy_of(site(tmp_path / "one", "one"))
    assert ended.code == 0, ended.err
    eventually(lambda: all_work(rehearsal, "one"))
    return rehearsal


def test_a_deploy_ends_those_of_before_and_the_report_names_the_crons_that_were_skipped(
    one: Rehearsal, tmp_path: Path
) -> None:
    until_the_next_minute = "sleep $((61 - $(date +%s) % 60))"
    seen = tmp_path / "seen"
    look = f"grep -l EDGEGUARD_TASK={one.root} /proc/[0-9]*/environ 2>/dev/null | wc -l > {seen}"
    ended = one.deploy_of(site(tmp_path / "two", "two", deploy=f"{look}; {until_the_next_minute}", cron="tick"))
    assert ended.code == 0, ended.err
    assert seen.read_text().strip() == "0"
    [(name, moments)] = ended.report["skipped"].items()
    assert name == "tick"
    assert 1 <= len(moments) <= 2  # two, if a minute ended between the stop of the tasks and the hook
    assert all(moment.endswith(":00.000Z") for moment in moments)
    eventually(lambda: all_work(one, "two"))
    [told] = [task for task in json.loads(one.run("tasks", "rehearsal", "--json").out)["tasks"] if task["next"]]
    assert (told["server"], told["name"]) == ("web1", "tick")
    assert one.deploy_of(repository(tmp_path / "none")).code == 0
    assert working(one) == NOTHING
    assert "no background tasks" in one.run("tasks", "rehearsal").out


def test_a_deploy_that_fails_lets_those_of_before_run_again(one: Rehearsal, tmp_path: Path) -> None:
    failed = one.deploy_of(site(tmp_path / "two", "two", deploy="exit 1"))
    assert failed.code == 10, failed.err
    eventually(lambda: all_work(one, "one"))
    held = one.deploy_of(site(tmp_path / "three", "three", deploy="exit 1"), **STAYS)
    assert held.code == 11, held.err
    assert working(one) == NOTHING
    assert "No task runs before the cluster opens" in one.run("tasks", "rehearsal").out
    assert one.run("rollback", "rehearsal").code == 0
    eventually(lambda: all_work(one, "one"))


@pytest.mark.parametrize("phase", ["stop-tasks", "close", "open"])
@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_after_a_deploy_that_was_killed_those_of_what_serves_run(
    one: Rehearsal, tmp_path: Path, phase: str, command: str
) -> None:
    killed(one, phase, site(tmp_path / "two", "two"))
    ended = elsewhere(one, tmp_path, command)
    assert ended.code == 0, ended.err
    eventually(lambda: all_work(one, "two" if command == "resume" else "one"))


def test_a_closure_by_hand_stops_them_and_what_kept_them_is_started_again(one: Rehearsal) -> None:
    assert one.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "r").code == 0
    assert working(one) == NOTHING
    assert one.run("cluster", "open", "rehearsal").code == 0
    eventually(lambda: all_work(one, "one"))
    lock = one.root / "servers" / "web2" / "tasks" / "daemon.lock"
    os.kill(int(lock.read_text()), signal.SIGKILL)
    assert "web2: what keeps the tasks running is dead; edgeguard cluster open" in one.run("tasks", "rehearsal").out
    assert one.run("cluster", "open", "rehearsal").code == 0
    eventually(lambda: all_work(one, "one"))
