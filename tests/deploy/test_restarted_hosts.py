"""After the processes of hosts are gone, `status` says so and names the command, and that one starts what served."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import processes
from tests.deploy.rehearsal import come_from, eventually, repository, said
from tests.deploy.test_healthy import at_the_gate, end_the_gate
from tests.deploy.test_recovery import LEASE, elsewhere, killed, releases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal

SERVERS = ("web1", "web2", "web3")


def end_server(rehearsal: Rehearsal, name: str) -> None:
    """End the supervisor and the application of a server at once, and lose what was not durable on its disk."""
    folder = rehearsal.root / "servers" / name
    with suppress(ValueError, ProcessLookupError):
        os.kill(int((folder / "supervisor" / "daemon.lock").read_text()), signal.SIGKILL)
    while pids := processes.running(folder):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    (folder / "supervisor" / "actual.json").write_bytes(b"")


def restart(rehearsal: Rehearsal) -> None:
    """Every process of every host is gone, as after a power cut."""
    end_the_gate(rehearsal)
    (rehearsal.root / "gate" / "actual.json").write_bytes(b"")
    for name in SERVERS:
        end_server(rehearsal, name)


def test_what_served_is_started_without_the_hook(rehearsal: Rehearsal, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    assert rehearsal.deploy_of(repository(tmp_path / "r", deploy=f"echo >> {starts}")).code == 0
    served = releases(rehearsal)

    def opened() -> None:
        status = rehearsal.run("status", "rehearsal").out
        for ask in ("resume", "rollback"):  # with nothing unfinished they change nothing, and name the command
            asked = rehearsal.run(ask, "rehearsal")
            by_hand = "closed by hand" in status
            assert by_hand or (asked.code, "edgeguard cluster open rehearsal" in asked.out) == (0, True), asked.err
        ended = rehearsal.run("cluster", "open", "rehearsal", "--state", str(tmp_path))
        assert "edgeguard cluster open rehearsal" in status
        assert ended.code == 0, ended.err
        assert "not everything runs" in ended.err
        assert at_the_gate(rehearsal) == 200
        assert "not every server serves" not in rehearsal.run("status", "rehearsal").out

    end_the_gate(rehearsal)
    opened()
    end_server(rehearsal, "web2")
    opened()
    restart(rehearsal)
    opened()
    closing = ("cluster", "close", "rehearsal", "--for", "1h", "--reason", "a new kernel")
    assert rehearsal.run(*closing).code == 0
    restart(rehearsal)
    opened()
    assert releases(rehearsal) == served
    assert starts.read_text() == "\n"


def test_an_unfinished_deploy_is_resumed_after_a_restart(rehearsal: Rehearsal, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    killed(rehearsal, "check", repository(tmp_path / "r", deploy=f"echo >> {starts}"))
    restart(rehearsal)
    status = rehearsal.run("status", "rehearsal").out
    refused = rehearsal.run("cluster", "open", "rehearsal", **LEASE)
    ended = elsewhere(rehearsal, tmp_path, "resume")
    assert "edgeguard resume rehearsal" in status
    said(refused, 3, "edgeguard resume rehearsal")
    assert ended.code == 0, ended.err
    assert at_the_gate(rehearsal) == 200
    assert starts.read_text() == "\n"


@pytest.mark.parametrize(
    ("died_in", "command", "code"),
    [("claim", "rollback", 0), ("preflight", "rollback", 0), ("preflight", "resume", 10), ("claim", "resume", 0)],
)
def test_what_served_serves_again_when_a_deploy_that_had_closed_nothing_is_ended(
    rehearsal: Rehearsal, tmp_path: Path, died_in: str, command: str, code: int
) -> None:
    before = releases(rehearsal)
    for ending in (end_the_gate, restart):
        place = tmp_path / ending.__name__
        name = killed(rehearsal, died_in, repository(place / "r"))
        ending(rehearsal)
        only = ("--deploy", name) if (command, died_in) == ("rollback", "claim") else ()
        ended = elsewhere(rehearsal, place, command, *only)
        status = rehearsal.status()
        assert ended.code == code, ended.err
        assert at_the_gate(rehearsal) == 200
        assert all(server["open"] and server["gate"] and server["supervisor"] for server in status["servers"])
        assert status["deploy"] is None
        assert status["grace"]["in_force"] == status["grace"]["base"]
        if code == 10:
            said(ended, 10, "was started and serves again")
    if (died_in, command) != ("claim", "resume"):
        assert releases(rehearsal) == before


def test_a_resume_that_dies_while_it_starts_what_served_is_called_once_more(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = releases(rehearsal)
    killed(rehearsal, "preflight", repository(tmp_path / "r"))
    end_the_gate(rehearsal)
    resume = rehearsal.start("resume", "rehearsal", "--json", **LEASE)
    resume.begins("drain")
    resume.process.send_signal(signal.SIGKILL)
    resume.end()
    ended = elsewhere(rehearsal, tmp_path, "resume")
    said(ended, 10, "was started and serves again")
    assert (at_the_gate(rehearsal), releases(rehearsal)) == (200, before)


def test_a_deploy_and_the_one_in_whose_place_it_came_are_undone_over_a_dead_gate(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before, site = releases(rehearsal), repository(tmp_path / "r")
    first = killed(rehearsal, "claim", site)
    assert rehearsal.run("unlock", "rehearsal", first, **LEASE).code == 0
    deploy = rehearsal.start("deploy", "rehearsal", "--json", "--supersede", first, **LEASE, **come_from(site))
    deploy.begins("claim")
    deploy.process.send_signal(signal.SIGKILL)
    deploy.end()
    end_the_gate(rehearsal)
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    assert (ended.code, at_the_gate(rehearsal)) == (0, 200), ended.err
    assert (releases(rehearsal), rehearsal.status()["deploy"]) == (before, None)


def test_a_rollback_over_a_server_that_cannot_start_says_so_and_holds_behind_a_long_grace(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sick = tmp_path / "sick"
    start = f"test ! -e {sick} -o $EDGEGUARD_SERVER != web3 && exec python3 -S server.py"
    assert rehearsal.deploy(**come_from(repository(tmp_path / "r", start=start))).code == 0
    site = repository(tmp_path / "next")
    killed(rehearsal, "claim", site)
    sick.touch()
    end_server(rehearsal, "web3")
    stopped = elsewhere(rehearsal, tmp_path, "rollback")
    grace, left = rehearsal.status()["grace"], rehearsal.status()["deploy"]
    sick.unlink()
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    said(stopped, 11, "web3", "edgeguard rollback rehearsal")
    assert grace["in_force"] > grace["base"]
    assert left is not None
    assert (ended.code, at_the_gate(rehearsal)) == (0, 200), ended.err


def test_a_rollback_over_a_process_that_keeps_dying_closes_nothing_and_says_so(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sick = tmp_path / "sick"
    start = f"test ! -e {sick} -o $EDGEGUARD_SERVER != web3 && exec python3 -S server.py"
    assert rehearsal.deploy(**come_from(repository(tmp_path / "r", start=start))).code == 0
    killed(rehearsal, "claim", repository(tmp_path / "next"))
    sick.touch()
    for pid in processes.running(rehearsal.root / "servers" / "web3"):
        os.kill(pid, signal.SIGKILL)
    ended = elsewhere(rehearsal, tmp_path, "rollback")
    status = rehearsal.status()
    sick.unlink()
    said(ended, 6, "had closed nothing", "web3", "edgeguard cluster open rehearsal")
    assert status["deploy"] is None
    assert all(server["open"] for server in status["servers"])
    eventually(lambda: rehearsal.run("cluster", "open", "rehearsal").code == 0)  # its supervisor makes pauses


def test_a_server_that_cannot_start_again_keeps_all_closed_behind_a_long_grace(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    sick = tmp_path / "sick"
    start = f"test ! -e {sick} -o $EDGEGUARD_SERVER != web3 && exec python3 -S server.py"
    assert rehearsal.deploy(**come_from(repository(tmp_path / "r", start=start))).code == 0
    sick.touch()
    end_server(rehearsal, "web3")
    refused = rehearsal.run("cluster", "open", "rehearsal")
    grace = rehearsal.status()["grace"]
    sick.unlink()
    ended = rehearsal.run("cluster", "open", "rehearsal")
    said(refused, 6, "web3", "the cluster is closed", "edgeguard cluster open rehearsal", "--without")
    assert grace["in_force"] > grace["base"]
    assert ended.code == 0, ended.err


def test_an_opening_that_is_interrupted_leaves_a_long_claim(rehearsal: Rehearsal, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    start = f"while test -e {slow} -a $EDGEGUARD_SERVER = web3; do sleep 0.1; done; exec python3 -S server.py"
    assert rehearsal.deploy(**come_from(repository(tmp_path / "r", start=start))).code == 0
    slow.touch()
    end_server(rehearsal, "web3")
    opening = rehearsal.start("cluster", "open", "rehearsal", EDGEGUARD_CLUSTER__START_TIMEOUT="60")
    eventually(lambda: at_the_gate(rehearsal) == 500)
    opening.process.send_signal(signal.SIGTERM)
    interrupted = opening.end()
    status = rehearsal.run("status", "rehearsal").out
    slow.unlink()
    ended = rehearsal.run("cluster", "open", "rehearsal")
    said(interrupted, 11, "SIGTERM", "still closed", "the edge serves the copies it has until")
    assert "1 day" in status
    assert ended.code == 0, ended.err


def test_an_environment_that_was_never_deployed_has_nothing_to_open(rehearsal: Rehearsal, tmp_path: Path) -> None:
    ended = rehearsal.run("cluster", "open", "rehearsal", EDGEGUARD_CLUSTER__ROOT=str(tmp_path / "root"))
    said(ended, 2, "nothing was ever opened", "edgeguard deploy rehearsal")
