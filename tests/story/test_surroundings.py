"""A rehearsal among other things: in a hook of Git's, beside a live environment, in a terminal that goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edgeguard.environment import Environment
from edgeguard.rehearsal import repository as repositories
from edgeguard.rehearsal.scene import Scene
from edgeguard.rehearsal.world import World
from edgeguard.release.application_file import FILE
from edgeguard.testing import local
from edgeguard.testing.acts import deploy, lock
from edgeguard.testing.world import SERVERS
from tests.staying_rehearsal import PATIENCE
from tests.story.rehearsal import Rehearsal, processes, rehearsing

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Found:
    """The state while a rehearsal ran."""

    repository: Path
    elsewhere: Path
    before: str  # how the repository was
    standing: list[str]  # the servers in the rehearsal's own folder


def look(repository: Path) -> str:
    """Everything in a person's repository that a rehearsal might change."""
    script = "git for-each-ref; git symbolic-ref HEAD; git status --short; git config --local --list; git worktree list"
    done = subprocess.run(["sh", "-c", script], cwd=repository, capture_output=True, check=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("surroundings")
    folder, elsewhere = place / "rehearsal", place / "live"
    folder.mkdir()
    repository = repositories.bundled(place / "repository")
    subprocess.run(["git", "-C", str(repository), "branch", "--move", "main"], check=True)
    before = look(repository)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("GIT_DIR", str(repository / ".git"))
        surroundings.setenv("GIT_INDEX_FILE", str(repository / ".git/index"))
        surroundings.setenv("EDGEGUARD_CLUSTER__ROOT", str(elsewhere))
        surroundings.setenv("EDGEGUARD_STATE", str(elsewhere))
        surroundings.setenv("EDGEGUARD_CONFIG", str(elsewhere))
        surroundings.setenv("FASTLY_API_TOKEN", "SomebodyElses")
        with rehearsing(folder, "--hook-seconds", "0", str(repository)) as rehearsal:
            standing = sorted(path.name for path in (rehearsal.root / "servers").glob("*"))
    return Found(repository, elsewhere, before, standing)


def test_variables_for_another_environment_lead_nowhere(found: Found) -> None:
    assert found.standing == ["web1", "web2", "web3"]
    assert not found.elsewhere.exists()


def test_a_repository_in_git_s_own_variables_stays_as_it_is(found: Found) -> None:
    assert look(found.repository) == found.before


def test_an_end_is_the_end_of_what_is_in_the_world_s_own_folder(tmp_path: Path) -> None:
    """All of it, also a server that its settings know nothing of; and nothing else, whatever they say."""
    ours = World(Scene(), lambda _: None)
    with local.World("local", tmp_path / "live") as live, local.World("local", ours.folder / "cluster") as lost:
        for cluster in (live, lost):
            deploy(cluster, lock(cluster), cluster.generation("one"))
        ours.environment = opened(tmp_path, live)
        ours.end()

        assert [state.open for state in live.cluster.state()] == [True] * 3
        assert [lost.supervisor(name).pid() for name in SERVERS] == [None] * 3
        assert not ours.folder.exists()


def terminal_goes_away(rehearsal: Rehearsal) -> None:
    """The terminal's shell and the system both send SIGHUP."""
    for _ in range(2):
        rehearsal.process.send_signal(signal.SIGHUP)


def test_a_terminal_that_goes_away_ends_it_whole(tmp_path: Path, plain: Path) -> None:
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    with rehearsing(folder, str(plain)) as rehearsal:
        terminal_goes_away(rehearsal)
        rehearsal.process.wait(PATIENCE)

        assert list(folder.iterdir()) == []
        assert sys.platform != "linux" or processes(folder) == set()


def test_nohup_lets_it_stay(tmp_path: Path, plain: Path) -> None:
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # children inherit it
    try:
        with rehearsing(folder, str(plain)) as rehearsal:
            terminal_goes_away(rehearsal)
            assert [server["open"] for server in rehearsal.edgeguard("status", "rehearsal").last["servers"]] == [
                True
            ] * 3
    finally:
        signal.signal(signal.SIGHUP, before)
    assert list(folder.iterdir()) == []


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A repository whose application needs no toolchain, which takes no time to build."""
    repository = tmp_path / "repository"
    repository.mkdir()
    start = f"exec {sys.executable} -m http.server --bind 127.0.0.1 $PORT"
    said = {"name": "a", "type": "plain", "build": {"flavor": "none"}, "web": {"commands": {"start": start}}}
    (repository / FILE).write_text(json.dumps(said), encoding="utf-8")
    git = [
        "git",
        "-C",
        str(repository),
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.invalid",
        "-c",
        "commit.gpgSign=false",
    ]
    for command in ("init --quiet --initial-branch=main", "add --all", "commit --quiet --message=one"):
        subprocess.run([*git, *command.split()], check=True)
    return repository


def opened(folder: Path, live: local.World) -> Environment:
    """An environment whose cluster is a live one, and names a single one of its servers."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text("token", encoding="utf-8")
    tables = f"""
        [application]
        repository = "/nowhere"
        branch = "main"
        [cluster]
        root = "{live.root}"
        servers = ["web1"]
        options = {{ gate_port = {live.address[1]} }}
        [edge]
        service = "a"
        url = "http://127.0.0.1:1"
        health_url = "http://127.0.0.1:1/health"
        token_file = "{token}"
    """
    (folder / "live.toml").write_text(tables, encoding="utf-8")
    return Environment.open("live", config=folder, state=folder / "state")
