"""Releases that can't be built or started, or whose hook fails: the previous release serves again."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

from edgeguard.cluster.local import LocalCluster
from edgeguard.settings import load
from tests.deploy.rehearsal import Rehearsal, come_from, eventually, lives, repository, said, untouched


def test_a_build_hook_that_fails_touches_nothing_and_its_output_is_shown(rehearsal: Rehearsal, tmp_path: Path) -> None:
    site = repository(tmp_path / "r", build="echo the compiler is on strike; exit 3")
    ended = untouched(rehearsal, lambda: rehearsal.deploy_of(site))
    said(ended, 8, "the compiler is on strike", "3")
    assert ended.report["exit_code"] == 8
    assert ended.report["grace"]["base"] == 1  # known before anything is claimed


def test_a_start_command_that_exits_at_once(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = rehearsal.status()["servers"][0]["release"]
    ended = rehearsal.deploy_of(repository(tmp_path / "r", start="echo no licence; exit 4"))
    trouble = "web1, web2, web3: the start command ended with code 4, 3 times; the previous release serves again"
    said(ended, 10, f"edgeguard: {trouble}\n  web1 wrote:\n  | no licence\n  The application's output is in ")
    assert f"  {trouble}.\n  web1 wrote:\n  | no licence\n  The app" in rehearsal.run("report", "rehearsal").out
    assert trouble in " ".join(rehearsal.run("history", "rehearsal").out.split())  # in lines that fit a terminal
    assert {before} == {server["release"] for server in rehearsal.status()["servers"]}
    assert ended.report["outcome"] == "rolled-back"


def test_a_start_command_that_never_answers(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = rehearsal.status()["servers"][0]["release"]
    ended = rehearsal.deploy_of(
        repository(tmp_path / "r", start="exec sleep 1000"), EDGEGUARD_CLUSTER__START_TIMEOUT="0.5"
    )
    said(ended, 10, "the previous release serves again")
    assert {before} == {server["release"] for server in rehearsal.status()["servers"]}


def test_a_hook_that_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
    ended = rehearsal.deploy_of(repository(tmp_path / "r", deploy="echo no such table; exit 5"))
    said(ended, 10, "no such table", "5", "the previous release serves again")


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(rehearsal: Rehearsal, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    site = repository(tmp_path / "r", deploy=f"sleep 1000 & echo $$ $! > {pids}; wait")
    ended = rehearsal.deploy_of(site, EDGEGUARD_CLUSTER__HOOK_TIMEOUT="0.5")
    said(ended, 10, "limit", "the previous release serves again")
    eventually(lambda: not [pid for pid in pids.read_text().split() if lives(int(pid))])


def test_a_gate_port_that_a_stranger_holds(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Another environment, on other servers, has a gate port on which another program already listens."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        text = (rehearsal.config / "rehearsal.toml").read_text()
        text, found = re.subn(r'"gate_port" = .*', f'"gate_port" = {port}', text)
        assert found == 1
        text = re.sub(r'\n"root" = .*', f'\n"root" = "{tmp_path}/other"', text)
        (tmp_path / "second.toml").write_text(text)
        try:
            ended = rehearsal.run(
                *("deploy", "second", "--json", "--config", str(tmp_path)),
                *("--accept", "no-previous-release", "--accept", "unguarded"),
                **come_from(repository(tmp_path / "r")),
            )
            said(ended, 6, str(port), "gate_port")
        finally:  # servers outlive every command
            LocalCluster("second", load("second", tmp_path).cluster).dismantle()
    eventually(lambda: not processes_of(str(tmp_path / "other")))


def processes_of(root: str) -> list[str]:
    """The processes of a cluster. Each has the cluster's root in its command line or its environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            if root.encode() in line + (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(line.replace(b"\0", b" ").decode())
    return found
