"""Rehearsals with other drivers than `local`: the sample scripts behind HAProxy, and a driver of another package."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.testing.local import free_port
from tests.contracts import commands_world
from tests.story.rehearsal import edgeguard, environment, processes, rehearsing, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

needs_haproxy = pytest.mark.skipif(
    not (shutil.which("haproxy") and shutil.which("socat")) and not os.environ.get("CI"),
    reason="the sample scripts need haproxy and socat: scripts/test installs them",
)
MOTTOS = ("A light that stays on", "Seen from far out")  # of the bundled application, and of its next release


class Scripts:
    """The sample scripts with ports of their own, and the file that gives them to a rehearsal."""

    def __init__(self, folder: Path, world: commands_world.World) -> None:
        self.world = world
        self.origin = f"http://127.0.0.1:{world.address[1]}"
        settings = world.settings()
        self.root = Path(settings["root"])
        self.file = written(
            folder / "scripts.toml",
            cluster={"root": str(self.root), "lease": 10},
            **{"cluster.options": settings["options"], "cluster.options.limits": {"stage": "10m"}},
            doctor={"origin": self.origin},
        )
        self.options = ("--driver", "commands", "--driver-config", str(self.file), "--hook-seconds", "2")

    def hook_notes(self) -> list[str]:
        """The beginnings and ends of the bundled application's deploy hook, in order."""
        path = self.root / "mounts" / "var" / "hooks.log"
        return [line.split()[1] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def motto(self) -> str:
        """The motto of the bundled site, as a visitor of the gate reads it: each release has its own."""
        with urllib.request.urlopen(f"{self.origin}/", timeout=10) as answer:
            return str(re.findall(r"<footer>(.*) · release", answer.read().decode())[0])


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    with commands_world.World("commands", tmp_path / "site") as world:
        yield Scripts(tmp_path, world)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the temporary files of everything that a test runs."""
    made = tmp_path / "temporary"
    made.mkdir()
    return made


def written(path: Path, **tables: Mapping[str, Any]) -> Path:
    """A file of TOML."""
    lines = []
    for table, content in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {json.dumps(value, default=str)}" for key, value in content.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def said_at_the_scene(events: list[dict[str, Any]]) -> str:
    return "\n".join(event["text"] for event in events if event["event"] == "scene")


@needs_haproxy
def test_scripts_deploy_the_bundled_site_and_visitors_notice_nothing(scripts: Scripts, folder: Path) -> None:
    """The servers go on when the rehearsal has ended, which it says."""
    ended = edgeguard("rehearse", *scripts.options, "--json", folder=folder)

    assert ended.code == 0, ended.said
    assert ended.last["visitors"]["anonymous"]["errors"] == 0
    assert ended.last["visitors"]["authenticated"]["errors"] > 0
    assert ended.last["release"] != ended.last["previous"]
    assert {server["name"]: server["release"] for server in ended.last["servers"]} == dict.fromkeys(
        ("web1", "web2", "web3"), ended.last["release"]
    )
    assert scripts.hook_notes() == ["started", "done"] * 2
    assert "the rest of its servers stays as it is" in said_at_the_scene(ended.events)
    assert scripts.motto() == MOTTOS[1]
    assert list(folder.iterdir()) == []


@needs_haproxy
def test_a_release_that_fails_only_through_the_gate_fails_through_another_gate_too(
    scripts: Scripts, folder: Path
) -> None:
    ended = edgeguard("rehearse", *scripts.options, "--fail", "healthy", "--json", folder=folder)

    assert ended.code == 11, ended.said
    assert {phase["name"]: phase["outcome"] for phase in ended.last["phases"]}["healthy"] == "failed"
    assert ended.last["visitors"]["anonymous"]["errors"] == 0


@needs_haproxy
@pytest.mark.parametrize("phase", ["swap", "hook"])
def test_scripts_whose_deploy_was_killed_are_resumed(scripts: Scripts, folder: Path, phase: str) -> None:
    with rehearsing(folder, *scripts.options) as rehearsal:
        assert scripts.motto() == MOTTOS[0]
        config = rehearsal.ready["config"]
        with subprocess.Popen(
            [sys.executable, "-m", "edgeguard", "deploy", "rehearsal", "--config", config, "--json"],
            env=environment(folder) | {"XDG_STATE_HOME": str(folder / "first")},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as deploy:
            assert deploy.stdout is not None
            for line in deploy.stdout:
                event = json.loads(line)
                if (event["event"], event.get("phase")) == ("begin", phase):
                    break
            if phase == "hook":
                until(lambda: scripts.hook_notes()[-1] == "started")
            deploy.kill()
            deploy.wait()

        resumed = rehearsal.edgeguard("resume", "rehearsal", "--state", folder / "second")

        assert deploy.returncode == -signal.SIGKILL
        assert resumed.code == 0, resumed.said
        assert scripts.hook_notes() == ["started", "done"] * 2
        assert scripts.motto() == MOTTOS[1]


OURS = """
from pathlib import Path
from edgeguard.cluster.local import LocalCluster

class OurCluster(LocalCluster):
    def dismantle(self):
        super().dismantle()
        Path(__file__).with_name("dismantled").touch()
"""


def test_a_driver_of_another_package_is_found_and_dismantled(tmp_path: Path, folder: Path) -> None:
    package, root = tmp_path / "package", tmp_path / "root"
    (package / "ours-1.dist-info").mkdir(parents=True)
    (package / "ours-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (package / "ours-1.dist-info" / "entry_points.txt").write_text("[edgeguard.drivers]\nours = ours:OurCluster\n")
    (package / "ours.py").write_text(OURS)
    port = free_port()
    file = written(
        tmp_path / "ours.toml",
        cluster={"driver": "ours", "servers": ["one", "two"], "root": str(root)},
        **{"cluster.options": {"gate_port": port}},
        doctor={"origin": f"http://127.0.0.1:{port}"},
    )

    ended = edgeguard(
        *("rehearse", "--driver-config", file, "--hook-seconds", "0", "--fail", "check", "--json"),
        folder=folder,
        PYTHONPATH=str(package),
    )

    assert ended.code == 11, ended.said
    assert [server["name"] for server in ended.last["servers"]] == ["one", "two"]
    assert (package / "dismantled").exists()
    assert processes(root) == set()
    assert "the driver ours dismantles what it can" in said_at_the_scene(ended.events)


PLACE = 'root = "/nowhere"\n[doctor]\norigin = "http://127.0.0.1:1"\n'


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        pytest.param(None, "--driver nobodys", "there is no driver 'nobodys'", id="unknown"),
        pytest.param(None, "--driver commands", "Name a file that has its table [cluster]", id="no file"),
        pytest.param("[cluster", "--driver commands", "can't be read", id="no TOML"),
        pytest.param("[cluster]", "--driver commands", "needs cluster.root and doctor.origin", id="no place"),
        pytest.param(f"[cluster]\n{PLACE}", "", "Leave them out", id="the place of local"),
        pytest.param(f"[edge]\n[cluster]\n{PLACE}", "--driver commands", "edge: unknown key", id="a site's own file"),
        pytest.param(f"[cluster]\nsevers = []\n{PLACE}", "--driver commands", "cluster.severs", id="unknown key"),
        pytest.param('[cluster]\ndriver = "commands"', "--driver local", "is for the driver 'commands'", id="two"),
        pytest.param('[cluster]\nservers = ["a"]', "--servers 2", "--servers says how many", id="servers twice"),
        pytest.param(
            f"[cluster]\n{PLACE}",
            "--driver commands --fail swap",
            "--fail can be claim, hook, check, healthy",
            id="a failure that needs help",
        ),
    ],
)
def test_what_can_t_be_rehearsed_is_refused_before_anything_starts(
    tmp_path: Path, folder: Path, content: str | None, options: str, said: str
) -> None:
    arguments = options.split()
    if content is not None:
        file = tmp_path / "driver.toml"
        file.write_text(content, encoding="utf-8")
        arguments += ["--driver-config", str(file)]

    ended = edgeguard("rehearse", "--json", *arguments, folder=folder)

    assert ended.code == 2
    assert said in ended.said
    assert list(folder.iterdir()) == []
