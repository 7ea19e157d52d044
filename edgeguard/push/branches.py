"""Which branch of a repository deploys which environment, and what a push did to branches."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard import settings
from edgeguard.errors import UsageError
from edgeguard.release import git

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEADS = "refs/heads/"
_UPDATE = re.compile(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) (refs/[^\n]+)")
_MOST_SHOWN = 60  # characters of a commit's subject


def deploying(said: Sequence[str], config: Path) -> dict[str, str]:
    """The environments with their branches, from `ENV=BRANCH`. Each environment has a file with a cluster.

    Raises:
        UsageError: it is said in another way, twice, or of an environment or a branch that can't be.
    """
    found: dict[str, str] = {}
    for pair in said:
        name, equals, branch = pair.partition("=")
        if not equals or name in found:
            what = f"{name} is named twice" if equals else f"{pair!r} names no branch"
            raise UsageError(what, "Write each environment once with its branch: production=main.")
        settings.load(name, config)
        if branch.startswith("-") or git.answer(config, "check-ref-format", _HEADS + branch).returncode:
            raise UsageError(f"{branch!r} can't be a branch's name", "Name it as `git branch` shows it.")
        found[name] = branch
    return found


@dataclass(frozen=True)
class Update:
    """What a push did to one ref. `old` and `new` are commits; None: the ref was not there, or is no more."""

    ref: str
    old: str | None
    new: str | None

    @property
    def branch(self) -> str | None:
        """The branch; None where the ref is none."""
        return self.ref.removeprefix(_HEADS) if self.ref.startswith(_HEADS) else None


def updates(said: bytes) -> list[Update]:
    """What Git tells a post-receive hook, a line for each ref (githooks(5)).

    Raises:
        UsageError: these lines are not Git's.
    """
    found = []
    for line in os.fsdecode(said).split("\n"):
        if line:
            parts = _UPDATE.fullmatch(line)
            if parts is None:
                raise UsageError(
                    "what comes on stdin is not what Git tells its post-receive hook",
                    "`edgeguard git install` writes the hook, which calls this; --retry reads nothing.",
                )
            old, new = (None if set(commit) == {"0"} else commit for commit in parts.groups()[:2])
            found.append(Update(parts[3], old, new))
    return found


def is_forced(repository: Path, update: Update) -> bool:
    """Whether commits that were in the branch are in it no more."""
    if update.old is None or update.new is None:
        return False
    ancestor = git.answer(repository, "merge-base", "--is-ancestor", update.old, update.new, foreign=True)
    return ancestor.returncode != 0


def tip(repository: Path, branch: str) -> str | None:
    """The commit of a branch; None where there is no such branch."""
    found = git.answer(repository, "rev-parse", "--verify", "--quiet", f"{_HEADS}{branch}^{{commit}}", foreign=True)
    return None if found.returncode else found.stdout.decode().strip()


def subject(repository: Path, commit: str) -> str:
    """The first line of a commit's message, as far as it is shown."""
    found = git.answer(repository, "log", "-1", "--no-show-signature", "--format=%s", commit, foreign=True)
    text = found.stdout.decode(errors="replace").strip()
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
