"""After the processes of hosts are gone, `status` says so and names the command, and that one starts what served."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from edgeguard.cluster.host import processes
from tests.deploy.rehearsal import come_from, repository, said
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


def test_an_environment_that_was_never_deployed_has_nothing_to_open(rehearsal: Rehearsal, tmp_path: Path) -> None:
    ended = rehearsal.run("cluster", "open", "rehearsal", EDGEGUARD_CLUSTER__ROOT=str(tmp_path / "root"))
    said(ended, 2, "nothing was ever opened", "edgeguard deploy rehearsal")
