"""A server that is lost before or during a closure: its folder is gone, and nobody supervises its processes."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import hooks
from edgeguard.cluster.local import LocalCluster
from edgeguard.deploy.lost_servers import as_it_is
from edgeguard.environment import Environment
from edgeguard.errors import Refused
from tests.deploy.rehearsal import come_from, eventually, repository, said, untouched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal

LEASE = {"EDGEGUARD_CLUSTER__LEASE": "1"}
STAYS = {"EDGEGUARD_CLUSTER__AFTER_HOOK_FAILURE": "stay-closed"}


@contextmanager
def lost(rehearsal: Rehearsal, server: str) -> Iterator[None]:
    """This server's host can't be reached in the block, and the old release runs on there. Afterwards it is back."""
    folder, aside = rehearsal.root / "servers" / server, rehearsal.root / f"{server}-is-away"
    os.kill(int((folder / "supervisor" / "daemon.lock").read_text()), signal.SIGKILL)
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def servers(rehearsal: Rehearsal) -> list[tuple[str, bool]]:
    return [(server["name"], server["open"]) for server in rehearsal.status()["servers"]]


def test_a_server_lost_before_a_deploy_is_left_out_by_a_person_and_comes_back_with_all(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    site = repository(tmp_path / "r", deploy="true")
    failing = repository(tmp_path / "f", deploy="exit 1")
    with lost(rehearsal, "web3"):
        refused = untouched(rehearsal, lambda: rehearsal.deploy_of(site))
        away = rehearsal.status()
        deployed = rehearsal.deploy_of(site, "--without", "web3")
        text = rehearsal.run("status", "rehearsal").out
        closed = rehearsal.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "a disk")
        opened = rehearsal.run("cluster", "open", "rehearsal", "--json")
        purged = rehearsal.run("purge", "rehearsal", "--key", "news")
    said(refused, 6, "web3", "--without web3")
    assert ([*away["unreadable"]], away["without"], away["lock"], away["deploy"]) == (["web3"], [], None, None)
    assert deployed.code == 0, deployed.err
    assert deployed.report["without"] == ["web3"]
    assert "web3       left out" in text
    assert "without web3" in rehearsal.run("report", "rehearsal", deployed.report["deploy"]).out
    assert (closed.code, opened.code, purged.code) == (0, 0, 0), closed.err + opened.err + purged.err
    assert json.loads(opened.out)["without"] == ["web3"]
    assert servers(rehearsal) == [("web1", True), ("web2", True)]
    back = rehearsal.deploy_of(failing)
    said(back, 10, "the previous release serves again")
    assert servers(rehearsal) == [("web1", True), ("web2", True)]
    whole = rehearsal.deploy_of(site)
    assert (whole.code, whole.report["without"]) == (0, []), whole.err
    assert rehearsal.status()["without"] == []


@pytest.mark.parametrize("command", ["resume", "rollback"])
def test_a_server_lost_while_closed_keeps_all_closed_until_a_person_says_so(
    rehearsal: Rehearsal, tmp_path: Path, command: str
) -> None:
    go, started = tmp_path / "go", tmp_path / "started"
    site = repository(tmp_path / "r", deploy=f"touch {started}; until [ -e {go} ]; do sleep 0.02; done")
    before = {server["release"] for server in rehearsal.status()["servers"]}
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **STAYS, **come_from(site))
    eventually(started.exists)
    with lost(rehearsal, "web3"):
        go.touch()
        held = deploy.end()
        waits = rehearsal.run(command, "rehearsal", "--json", **LEASE)
        closed = servers(rehearsal)
        ended = rehearsal.run(command, "rehearsal", "--json", "--without", "web3", **LEASE)
    said(held, 11, "web3")
    said(waits, 6, "web3", "--without web3")
    assert closed == [("web1", False), ("web2", False)]
    assert ended.code == 0, ended.err
    after = rehearsal.status()
    assert (after["without"], [server["open"] for server in after["servers"]]) == (["web3"], [True, True])
    assert ({server["release"] for server in after["servers"]} == before) == (command == "rollback")
    back = rehearsal.deploy()
    assert back.code == 0, back.err


def test_a_server_lost_while_the_hook_runs_there_has_to_be_fenced(rehearsal: Rehearsal, tmp_path: Path) -> None:
    started = tmp_path / "started"
    site = repository(tmp_path / "r", deploy=f"touch {started}; sleep 1000")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **LEASE, **come_from(site))
    eventually(started.exists)
    deploy.process.send_signal(signal.SIGKILL)
    deploy.end()
    with lost(rehearsal, "web1"):
        refused = rehearsal.run("rollback", "rehearsal", "--json", "--without", "web1", **LEASE)
        fenced = ("--without", "web1", "--i-have-fenced", "web1")
        asked = rehearsal.run("resume", "rehearsal", "--json", *fenced, **LEASE)
        ended = rehearsal.run("resume", "rehearsal", "--json", *fenced, "--hook=skip", **LEASE)
    said(refused, 4, "web1: the deploy hook", "--i-have-fenced web1")
    said(asked, 11, "web1", "--hook=again", "--hook=skip")
    assert ended.code == 0, ended.err
    assert servers(rehearsal) == [("web2", True), ("web3", True)]
    hooks.end(rehearsal.root / "servers" / "web1")  # it still ran
    assert rehearsal.deploy().code == 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--without", "web9"), "web9"),
        (("--i-have-fenced", "web3"), "--without web3"),
        (("--without", "web1", "--without", "web2", "--without", "web3"), "none to open"),
    ],
)
def test_nonsense_about_lost_servers(rehearsal: Rehearsal, options: tuple[str, ...], part: str) -> None:
    said(rehearsal.deploy(*options), 2, part)


class OwnGates(LocalCluster):
    """A gate on each host."""

    one_gate = False


def test_a_server_with_a_gate_of_its_own_has_to_be_fenced(rehearsal: Rehearsal) -> None:
    here = Environment.open("rehearsal", config=rehearsal.config)
    environment = replace(here, cluster=OwnGates(here.name, here.settings.cluster))
    with pytest.raises(Refused, match="web3: no gate stands in front") as caught:
        as_it_is(environment, without=["web3"])
    assert "--i-have-fenced web3" in caught.value.remedy
    assert as_it_is(environment, without=["web3"], fenced=["web3"]).cluster.left_out == ("web3",)
