"""Repositories of other users, as container jobs have them: Git refuses those unless its caller trusts them."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.release.source import Source, clone, resolve
from edgeguard.release.tree import Tree
from tests.release.test_tree import git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["work tree", "bare"])
def repository(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that Git takes for another user's, and that runs a program where Git trusts its settings."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "page").write_text("the page\n", encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=one")
    if request.param == "bare":
        bare = tmp_path / "bare.git"
        git(folder, "clone", "--quiet", "--bare", str(folder), str(bare))
        folder = bare
    git(folder, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    git(folder, "config", "core.sshCommand", f"touch {tmp_path}/ran; false")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # Git's own tests use it
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    return folder


def test_git_itself_refuses_it(repository: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize("url", ["{}", "file://{}"])
def test_a_repository_of_another_user_is_read(repository: Path, tmp_path: Path, url: str) -> None:
    source = resolve(url.format(repository), "main", cache=tmp_path / "cache")
    (tmp_path / "to").mkdir()
    Tree(source, tmp_path / "to", time.monotonic() + 60).write()

    assert (tmp_path / "to/page").read_text(encoding="utf-8") == "the page\n"
    assert source.read("page") == b"the page\n"
    assert not (tmp_path / "settings").exists()


def test_a_branch_that_it_does_not_have_is_named_with_those_there_are(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(str(repository), "nowhere", cache=tmp_path)
    assert "the branches main" in caught.value.remedy


def test_nothing_is_fetched_or_run_for_it(repository: Path, tmp_path: Path) -> None:
    """A partial clone fetches what it lacks, by the program that its settings name."""
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", "ssh://example.invalid/x"),
        ("remote.origin.promisor", "true"),
    ):
        subprocess.run(["git", "config", "--file", _settings(repository), name, value], check=True)
    found: Source = resolve(str(repository), "main", cache=tmp_path)
    with pytest.raises(UsageError):
        resolve(str(repository), "0" * 39 + "1", cache=tmp_path)

    assert found.foreign
    assert found.read("missing") is None
    assert not (tmp_path / "ran").exists()


def test_it_is_cloned(repository: Path, tmp_path: Path) -> None:
    assert clone(repository, tmp_path / "clone").returncode == 0
    assert (tmp_path / "clone/page").read_text(encoding="utf-8") == "the page\n"
    assert not (tmp_path / "ran").exists()


def _settings(repository: Path) -> str:
    own = repository / "config"
    return str(own if own.exists() else repository / ".git/config")
