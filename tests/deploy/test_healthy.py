"""A new release is healthy if it stays so; and after the commit too, nothing is believed unseen."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.deploy.rehearsal import come_from, commit, eventually, repository, said
from tests.deploy.test_recovery import LEASE, elsewhere, killed, releases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal


def at_the_gate(rehearsal: Rehearsal) -> int:
    """The status that the gate answers with; 0 for no answer."""
    try:
        with urllib.request.urlopen(rehearsal.gate_url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return 0


def end_the_gate(rehearsal: Rehearsal) -> None:
    os.kill(int((rehearsal.root / "gate" / "daemon.lock").read_text()), signal.SIGKILL)
    eventually(lambda: at_the_gate(rehearsal) == 0)


def changed(site: Path, old: str, new: str) -> Path:
    """The site, whose server has this text in the place of another."""
    server = site / "server.py"
    assert old in server.read_text()
    server.write_text(server.read_text().replace(old, new))
    commit(site)
    return site


def answering(site: Path, status: str) -> Path:
    """The site, whose server answers with the status that this expression gives."""
    return changed(site, "self.send_response(200)", f"self.send_response({status})")


def test_a_release_that_crashes_soon_after_the_opening_is_taken_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    site = changed(  # the servers' check has no query; what is asked through the front door has one
        repository(tmp_path / "r"),
        "self.end_headers()",
        'self.end_headers()\n        if "edgeguard=" in self.path: os._exit(9)',
    )
    ended = rehearsal.deploy_of(site)

    said(ended, 10, "died", "the previous release serves again")
    assert releases(rehearsal) == before


def test_a_page_that_is_broken_beside_a_good_health_page_is_taken_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = releases(rehearsal)
    site = changed(
        repository(tmp_path / "r"),
        "self.send_response(200)",
        'self.send_response(500 if "/page/3" in self.path else 200)',
    )
    ended = rehearsal.deploy_of(site)

    said(ended, 10, "/page/3 answers 500 through the front door", "the previous release serves again")
    assert releases(rehearsal) == before


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_gate_that_died_after_the_commit_is_started_before_the_claim_goes(
    rehearsal: Rehearsal, tmp_path: Path, command: str
) -> None:
    name = killed(rehearsal, "purge", repository(tmp_path / "r"))
    end_the_gate(rehearsal)
    assert "its gate is dead" in rehearsal.run("status", "rehearsal").out
    ended = elsewhere(rehearsal, tmp_path, command)

    assert ended.code == 0, ended.err
    assert at_the_gate(rehearsal) == 200
    assert name in ended.out


def test_a_sick_site_after_the_commit_keeps_its_claim_and_needs_a_person(rehearsal: Rehearsal, tmp_path: Path) -> None:
    sick = str(tmp_path / "sick")
    site = answering(repository(tmp_path / "r"), f"500 if os.path.exists({sick!r}) else 200")
    name = killed(rehearsal, "purge", site)
    (tmp_path / "sick").touch()
    refused = elsewhere(rehearsal, tmp_path, "resume", EDGEGUARD_EDGE__HEALTHY_TIMEOUT="0.5")
    status = rehearsal.status()
    (tmp_path / "sick").unlink()
    ended = elsewhere(rehearsal, tmp_path, "resume")

    said(refused, 11, "has committed, but", "edgeguard resume rehearsal")
    assert (status["deploy"]["id"], status["deploy"]["phase"]) == (name, "committed")
    assert status["grace"]["in_force"] > status["grace"]["base"]
    assert ended.code == 0, ended.err


def test_signals_after_the_commit_change_no_exit_code(rehearsal: Rehearsal, tmp_path: Path) -> None:
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **come_from(repository(tmp_path / "r")))
    deploy.seen(lambda event: event["event"] == "committed")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) * 3:
        if deploy.process.poll() is None:
            deploy.process.send_signal(number)
    ended = deploy.end()

    assert ended.code == 0, ended.err
    assert re.search(r'"event": "report".*"exit_code": 0', ended.out)
