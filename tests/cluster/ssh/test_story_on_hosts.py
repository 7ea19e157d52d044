"""Deploys on three real hosts, one after the other, as people see them: what fails, what goes on, who may come.

One rehearsal and one lab serve all tests, in their order. Visitors ask at the edge from the first deploy to the last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import needs, network
from tests.lab.lab import Lab
from tests.observer import Visitor, bundled_pages
from tests.staying_rehearsal import PATIENCE, staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)

SERVERS = ("web1", "web2", "web3")
QUICK = {"EDGEGUARD_CLUSTER__LEASE": "3", "EDGEGUARD_EDGE__PROPAGATION": "0.1", "EDGEGUARD_VISITORS__RATE": "5"}
APPLICATION = """\
name: lighthouse
type: "python:3"
hooks:
    build: python3 render.py
    deploy: eval "$HOOK"
web:
    commands:
        start: '[ "$SICK" != "$EDGEGUARD_SERVER" ] || exit 3; exec python3 server.py'
"""


@dataclass(frozen=True)
class Ended:
    code: int
    report: dict[str, Any]
    said: str

    @property
    def result(self) -> tuple[int, str]:
        return self.code, self.report["outcome"]

    @property
    def failed(self) -> list[str]:
        """The phases that did."""
        return [phase["name"] for phase in self.report["phases"] if phase["outcome"] == "failed"]


class Site:
    """The environment, and how it is deployed. Each deploy has the same image, and variables of its own."""

    def __init__(self, lab: Lab, ready: dict[str, Any], folder: Path) -> None:
        self.lab = lab
        self.root = lab.folder / "cluster"
        self.ready = ready
        self._folder = folder
        self._deploys = 0
        self.lost = float("inf")
        """The time at which a host was lost."""

    def start(
        self, *words: str, here: str = "one", hook: str = "true", sick: str = "", **settings: str
    ) -> subprocess.Popen[str]:
        """Start a command of edgeguard on the machine `here`, with a hook and a server on which nothing starts."""
        self._deploys += 1
        variables = {"env:HOOK": hook, "env:SICK": sick, "env:NUMBER": str(self._deploys)}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "edgeguard", *words, "--json", "--state", str(self._folder / here)],
            env={
                **os.environ,
                "PATH": f"/usr/bin:{os.environ['PATH']}",
                "EDGEGUARD_CONFIG": self.ready["config"],
                "EDGEGUARD_APPLICATION__VARIABLES": json.dumps(variables),
                **QUICK,
                **settings,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: Any) -> Ended:  # noqa: ANN401 (as `start`)
        return ended(self.start(*words, **more))

    def deploy(self, *words: str, **more: Any) -> Ended:  # noqa: ANN401 (as `start`)
        return self.run("deploy", "rehearsal", *words, **more)

    def status(self) -> dict[str, Any]:
        return self.run("status", "rehearsal", here="another").report

    def open(self) -> list[bool]:
        return [server["open"] for server in self.status()["servers"]]


def ended(command: subprocess.Popen[str]) -> Ended:
    out, said = command.communicate(timeout=PATIENCE)
    return Ended(command.returncode, json.loads(([*out.splitlines()] or ["{}"])[-1]), said)


def begins(command: subprocess.Popen[str], phase: str) -> None:
    """Read its events to the beginning of a phase."""
    assert command.stdout is not None
    for line in command.stdout:
        event = json.loads(line)
        if (event["event"], event.get("phase")) == ("begin", phase):
            return
    raise AssertionError(command.communicate())


def plugged(lab: Lab, word: str, host: str) -> None:
    """Take a host off both networks (`unplug`), or put it back (`plug`)."""
    for net in (network.ADMIN, network.VISITORS):
        lab.tell(f"{word} {network.interface(net, host)}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab, folder = Lab("story"), tmp_path_factory.mktemp("story")
    lab.down()
    lab.up(SERVERS)
    environment = {**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"}
    driver = ("--driver", "ssh", "--driver-config", str(lab.driver_config))
    try:
        with staying_rehearsal(folder / "log", *driver, "--hook-seconds", "0", environment=environment) as rehearsal:
            repository = Path(rehearsal.ready["repository"])
            (repository / ".platform.app.yaml").write_text(APPLICATION)
            subprocess.run(["git", "-C", repository, "commit", "-qam", "What fails is a variable"], check=True)
            yield Site(lab, rehearsal.ready, folder)
    finally:
        lab.down()


@pytest.fixture(scope="module", autouse=True)
def anonymous(site: Site) -> Iterator[None]:
    """A visitor who sees no error, whatever happens to the deploys. What a lost host owes is another matter."""
    with Visitor(site.ready["edge_url"], bundled_pages(3), patience=10) as visitor:
        yield
    assert [answer for answer in visitor.answers if answer.broken and answer.ended < site.lost] == []
    assert len(visitor.answers) > 100


def test_one_of_two_runners_is_refused_and_a_failed_hook_is_followed_by_a_fix(site: Site) -> None:
    first = site.start("deploy", "rehearsal", hook="echo half of it; sleep 4; exit 7")
    begins(first, "hook")
    second = site.deploy(here="another")
    found = ended(first)
    fixed = site.deploy("--supersede", found.report["deploy"])

    assert second.result == (3, "refused"), second.said
    assert (found.result, found.failed) == ((11, "held"), ["hook"]), found.said
    assert "half of it" in found.report["error"]
    assert fixed.result == (0, "deployed"), fixed.said
    assert site.open() == [True] * 3


def test_a_release_that_dies_on_one_host_is_rolled_back_by_a_person(site: Site) -> None:
    before = site.status()["opened"]
    found = site.deploy(sick="web3")
    back = site.run("rollback", "rehearsal", here="another")

    assert (found.result, found.failed) == ((11, "held"), ["check"]), found.said
    assert "web3" in found.report["error"]
    assert back.code == 0, back.said
    assert site.status()["opened"] == before
    assert site.open() == [True] * 3


def test_a_gate_that_was_changed_meanwhile_keeps_all_closed_until_it_is_mended(site: Site) -> None:
    found = site.deploy(hook=f"echo '# mine' >> {site.root}/servers/web1/gate/haproxy.cfg")
    closed = site.open()
    mended = site.run("cluster", "prepare", "rehearsal")
    resumed = site.run("resume", "rehearsal", here="another")

    assert (found.result, found.failed) == ((11, "held"), ["open"]), found.said
    assert "cluster prepare" in found.report["remedy"]
    assert closed == [False] * 3
    assert mended.code == 0, mended.said
    assert resumed.result == (0, "deployed"), resumed.said
    assert site.open() == [True] * 3


def test_a_runner_that_dies_in_its_hook_is_followed_from_another_machine(site: Site) -> None:
    first = site.start("deploy", "rehearsal", hook=f"echo ran >> {site.root}/ran; sleep 2")
    begins(first, "hook")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    deploy = site.status()["deploy"]["id"]
    unlocked = site.run("unlock", "rehearsal", deploy, here="another")
    resumed = site.run("resume", "rehearsal", here="another")

    assert unlocked.code == 0, unlocked.said
    assert resumed.result == (0, "deployed"), resumed.said
    assert [site.lab.ssh(server, f"cat {site.root}/ran").stdout for server in SERVERS] == ["ran\n", "", ""]
    assert site.open() == [True] * 3


def test_a_lost_host_is_left_out_and_comes_back(site: Site) -> None:
    site.lost = time.time()
    plugged(site.lab, "unplug", "web2")
    refused = site.deploy()
    unfenced = site.deploy("--without", "web2")
    away = site.deploy("--without", "web2", "--i-have-fenced", "web2")
    status = site.status()
    plugged(site.lab, "plug", "web2")
    back = site.deploy()

    assert refused.code == 6, refused.said
    assert "web2" in refused.report["error"]
    assert unfenced.code == 4, unfenced.said
    assert "--i-have-fenced web2" in unfenced.said
    assert away.result == (0, "deployed"), away.said
    assert (status["without"], [server["name"] for server in status["servers"]]) == (["web2"], ["web1", "web3"])
    assert back.result == (0, "deployed"), back.said
    assert len({server["release"] for server in back.report["servers"]}) == 1
    assert site.open() == [True] * 3
