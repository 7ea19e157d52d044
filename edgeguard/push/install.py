"""The post-receive hook of a bare repository: made, and kept as it should be."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard import settings
from edgeguard.errors import UsageError
from edgeguard.release import git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OURS = "# Written by `edgeguard git install`, which replaces it."
_LARGEST = 2**16  # bytes of a hook of ours


@dataclass(frozen=True)
class Installation:
    """A bare repository (an absolute path), and the command that its hook runs."""

    repository: Path
    deploying: Mapping[str, str]
    config: Path
    state: Path
    refuse: bool

    @property
    def command(self) -> str:
        """The command line of the hook, quoted for a shell."""
        argv = [sys.executable, "-P", "-m", "edgeguard", "git", "receive", str(self.repository)]
        argv += [f"{name}={branch}" for name, branch in self.deploying.items()]
        argv += ["--config", str(self.config), "--state", str(self.state), *(["--busy", "refuse"] * self.refuse)]
        return shlex.join(argv)

    @property
    def hook(self) -> str:
        """The text of the hook. From its first line on, a pusher who hangs up doesn't end it: the branch has moved."""
        return f'#!/bin/sh\n{_OURS}\ntrap "" HUP INT TERM\nexec {self.command} "$@"\n'

    def acts(self) -> list[str]:
        """What `install` would do, a sentence each. Writes nothing.

        Raises:
            UsageError: this is no bare repository and no place for one, its hooks are shared, or it has a post-receive
                hook of somebody else's.
        """
        made = [] if self._is_there() else [f"make the bare repository {self.repository}"]
        path = self.repository / "hooks" / "post-receive" if made else self._hook_path()
        there = self._hook_there(path)
        if there == self.hook:
            return made
        return [*made, f"{'write' if there is None else 'rewrite'} its hook {path}"]

    def install(self) -> list[str]:
        """Do it, and return what was done. Repeating it changes nothing. Raises as `acts` does, and where it can't be
        written."""
        done = self.acts()
        try:
            if not self._is_there():
                self._make()
            path = self._hook_path()
            if self._hook_there(path) != self.hook:
                path.parent.mkdir(exist_ok=True)
                fresh = path.with_name(f".post-receive.{os.getpid()}")
                fresh.write_text(self.hook, encoding="utf-8", errors="surrogateescape")
                fresh.chmod(0o755)
                fresh.replace(path)
        except OSError as exc:
            raise UsageError(
                f"{exc.filename or self.repository} can't be written: {exc.strerror}",
                "Install as the user who owns the repository, and as whom people push.",
            ) from exc
        return done

    def advice(self) -> list[str]:
        """What would surprise later: a deploy by hand takes another source, or a push by SSH finds no token."""
        said = []
        for name, branch in self.deploying.items():
            found = settings.load(name, self.config)
            source = found.application
            if os.path.realpath(source.repository.removeprefix("file://")) != os.path.realpath(self.repository):
                said.append(f"a deploy of {name} by hand takes application.repository, which is another one")
            if source.branch != branch:
                said.append(f"a deploy of {name} by hand takes application.branch, which is {source.branch}")
            if found.edge.token_file is None:
                said.append(
                    f"{name} has no edge.token_file: a push over SSH has no FASTLY_API_TOKEN in its environment"
                )
        return said

    def _is_there(self) -> bool:
        """Whether the bare repository is there. Raises UsageError where something else is."""
        folder = self.repository
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        found = self._git("rev-parse", "--is-bare-repository") if folder.is_dir() else ""
        if found != "true":
            raise UsageError(
                f"{folder} is no bare repository",
                "Name one, or a path where there is nothing yet. Git refuses pushes to a branch that is checked out.",
            )
        return True

    def _make(self) -> None:
        self.repository.mkdir(parents=True, exist_ok=True)
        first = next(iter(self.deploying.values()))
        made = git.answer(self.repository, "init", "--quiet", "--bare", f"--initial-branch={first}")
        if made.returncode:
            raise UsageError(f"{self.repository} can't be made: {git.said(made)}", "See what Git says.")

    def _hook_path(self) -> Path:
        """Where Git looks for the hook. Raises UsageError where that is a place of other repositories, too."""
        said = self._git("rev-parse", "--git-path", "hooks/post-receive")
        path = self.repository / said
        if not path.resolve().is_relative_to(self.repository.resolve()) and not path.is_symlink():
            raise UsageError(
                f"Git's core.hooksPath leads to {path.parent}, which other repositories may use, too",
                f"Run `git -C {shlex.quote(str(self.repository))} config core.hooksPath hooks`.",
            )
        return path

    def _hook_there(self, path: Path) -> str | None:
        """The text of the hook that is there, which is ours. Raises UsageError where it is somebody else's."""
        if not os.path.lexists(path):
            return None
        text = ""
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                text = os.fsdecode(file.read(_LARGEST))
        if text.split("\n")[1:2] != [_OURS]:
            raise UsageError(
                f"{path} is a hook of somebody else's, and stays as it is",
                f"Let it call this with what it reads on stdin: {self.command}",
            )
        return text

    def _git(self, *arguments: str) -> str:
        found = git.answer(self.repository, *arguments)
        if git.is_of_another_user(found):
            raise UsageError(
                f"{self.repository} belongs to another user",
                "Install as the user who owns it, and as whom people push.",
            )
        return os.fsdecode(found.stdout).strip()


def installation(
    repository: Path, deploying: Mapping[str, str], *, config: Path, state: Path, refuse: bool
) -> Installation:
    """The installation for a repository, with all paths made absolute."""
    paths: Sequence[Path] = [path.absolute() for path in (repository, config, state)]
    return Installation(paths[0], deploying, paths[1], paths[2], refuse)
