"""A rehearsal among other things: in a hook of Git's."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edgeguard.standin import repository as repositories
from tests.story.worlds import world

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Found:
    """What was there when a world had stood."""

    repository: Path
    before: str  # how the repository was


def look(repository: Path) -> str:
    """All that a rehearsal might change in somebody's repository."""
    script = "git for-each-ref; git symbolic-ref HEAD; git status --short; git config --local --list; git worktree list"
    done = subprocess.run(["sh", "-c", script], cwd=repository, capture_output=True, check=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("surroundings")
    folder = place / "world"
    folder.mkdir()
    repository = repositories.bundled(place / "repository")
    subprocess.run(["git", "-C", str(repository), "branch", "--move", "main"], check=True)
    before = look(repository)
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("GIT_DIR", str(repository / ".git"))
        surroundings.setenv("GIT_INDEX_FILE", str(repository / ".git/index"))
        with world(folder, "--hook-seconds", "0", str(repository)) as here:
            assert here.ready
    return Found(repository, before)


def test_a_repository_in_git_s_own_variables_stays_as_it_is(found: Found) -> None:
    assert look(found.repository) == found.before
