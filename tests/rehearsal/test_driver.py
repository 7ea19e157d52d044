"""Rehearsals with other drivers than `local`: the sample scripts behind HAProxy, and a driver of another package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts import commands_world
from tests.story.rehearsal import edgeguard, environment, rehearsing, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

needs_haproxy = pytest.mark.skipif(
    not (shutil.which("haproxy") and shutil.which("socat")) and not os.environ.get("CI"),
    reason="the sample scripts need haproxy and socat: scripts/test installs them",
)


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
            **{"cluster.options": settings["options"], "doctor": {"origin": self.origin}},
        )
        self.options = ("--driver", "commands", "--driver-config", str(self.file), "--hook-seconds", "2")

    def hook_notes(self) -> list[str]:
        """The beginnings and ends of the bundled application's deploy hook, in order."""
        path = self.root / "mounts" / "var" / "hooks.log"
        return [line.split()[1] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def release(self) -> str:
        """The release that the gate lets a visitor see."""
        with urllib.request.urlopen(f"{self.origin}/", timeout=10) as answer:
            return str(answer.headers["X-Release"])


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
    assert scripts.release() == ended.last["release"][:12]
    assert list(folder.iterdir()) == []


@needs_haproxy
@pytest.mark.parametrize("phase", ["swap", "hook"])
def test_scripts_whose_deploy_was_killed_are_resumed(scripts: Scripts, folder: Path, phase: str) -> None:
    with rehearsing(folder, *scripts.options) as rehearsal:
        before = scripts.release()
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
                if (event["event"], event.get("name")) == ("phase", phase):
                    break
            if phase == "hook":
                until(lambda: scripts.hook_notes()[-1] == "started")
            deploy.kill()
            deploy.wait()

        resumed = rehearsal.edgeguard("resume", "rehearsal", "--state", folder / "second")

        assert deploy.returncode == -signal.SIGKILL
        assert resumed.code == 0, resumed.said
        assert scripts.hook_notes() == ["started", "done"] * 2
        assert scripts.release() == resumed.last["release"][:12] != before
