"""The Git repository that a release comes from: it resolves a ref to a commit and finds the objects of its tree."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.release import git, mirrors
from edgeguard.release import remote as remotes
from edgeguard.release.remote import OPEN, Remote
from edgeguard.user import expanded

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_LARGEST = 1 << 20  # bytes of a file that is read whole


@dataclass(frozen=True)
class Source:
    """One commit of a repository. `folder` is where Git finds it: a work tree, a bare repository or a mirror. `cache`
    keeps what is fetched from others.

    `root` is the folder of the tree that is released; "" is all of it.

    `foreign`: it belongs to another user, and Git reads it only as long as that runs no program of that user's.
    """

    folder: Path
    ref: str
    commit: str
    tree: str
    cache: Path
    cancelled: Callable[[], bool] = lambda: False
    foreign: bool = False
    remote: Remote = field(default=OPEN, repr=False)
    root: str = ""

    @cached_property
    def released(self) -> str:
        """The object of the folder that is released, which has no other content where it is the same."""
        if not self.root:
            return self.tree
        return self._git("rev-parse", "--verify", f"{self.tree}:{self.root}").stdout.decode().strip()

    def read(self, path: str) -> bytes | None:
        """A file of the tree, None if there is no such file. Raises UsageError where it is too large to be read."""
        with git.read(self.folder, f"{self.tree}:{path}", cancelled=self.cancelled, foreign=self.foreign) as found:
            if found is None or found.kind != "blob":
                return None
            if found.size > _LARGEST:
                raise UsageError(f"{path} is larger than {_LARGEST >> 20} MiB, which nobody reads", "Make it smaller.")
            return found.content.read(found.size)

    def has_folder(self, path: str) -> bool:
        """Whether the tree has this folder; "" is its root."""
        return not path or self._git("cat-file", "-t", f"{self.tree}:{path}").stdout == b"tree\n"

    def paths(self) -> list[str]:
        """The paths of all files, links and submodules of the tree, in the order of their bytes."""
        listed = self._git("ls-tree", "-r", "-z", "--name-only", "--full-tree", self.tree).stdout.split(b"\0")
        return [os.fsdecode(path) for path in filter(None, listed)]

    def entries(self) -> list[tuple[str, str, str]]:
        """The files, links and submodules of the folder that is released: mode, object and path in the tree."""
        below = (f"{self.root}/",) if self.root else ()
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", self.tree, "--", *below).stdout.split(b"\0")
        found = []
        for line in filter(None, listed):
            head, _, path = line.partition(b"\t")
            mode, _kind, named = head.decode().split()
            found.append((mode, named, os.fsdecode(path)))
        return found

    def listed(self, path: str) -> list[tuple[str, str]]:
        """The keys and values of a file of the tree in the format of Git's settings; none if there is no such file.

        Raises:
            UsageError: the file can't be read.
        """
        if self.read(path) is None:
            return []
        found = self._git("config", "--blob", f"{self.tree}:{path}", "--no-includes", "--null", "--list")
        if found.returncode:
            raise UsageError(f"Git can't read {path}: {git.said(found)}", "Correct it and commit it.")
        pairs = (os.fsdecode(line).partition("\n") for line in found.stdout.split(b"\0") if line)
        return [(key, value) for key, _, value in pairs]

    def origin(self) -> str:
        """The repository from which this one was cloned; its own folder, if from none."""
        said = os.fsdecode(self._git("config", "--get", "remote.origin.url").stdout.removesuffix(b"\n"))
        return said if git.is_url(said) else os.path.normpath(self.folder / said)

    def part(self, name: str, commit: str) -> Source | None:
        """A submodule's commit, where `git submodule update` has fetched it into this repository."""
        said = self._git("rev-parse", "--git-path", f"modules/{name}").stdout.removesuffix(b"\n")
        folder = self.folder / os.fsdecode(said)
        found = at(folder, commit, cache=self.cache, cancelled=self.cancelled, foreign=self.foreign)
        return found and replace(found, remote=Remote(str(folder)))

    def uses_lfs(self) -> bool:
        """Whether an attribute of the tree has Git LFS keep the content of files."""
        at = ("filter=lfs", self.tree, "--", ":(glob)**/.gitattributes")
        return self._git("grep", "--quiet", "--no-recurse-submodules", "--fixed-strings", *at).returncode == 0

    def piped(self, *arguments: str, deadline: float) -> AbstractContextManager[tuple[IO[bytes], IO[bytes]]]:
        """Git, running on this repository, with a pipe to it and a pipe from it (`process.piped`).

        LFS runs programs that the repository's own settings name: of another user's it is left to Git to refuse that.
        """
        argv = ["git", "-C", str(self.folder), *arguments]
        environment = git.environment_of(
            self.folder, foreign=self.foreign and arguments[0] != "lfs", remote=self.remote
        )
        return process.piped(argv, env=environment, deadline=deadline, cancelled=self.cancelled)

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return git.answer(self.folder, *arguments, cancelled=self.cancelled, foreign=self.foreign, remote=self.remote)


def resolve(repository: str, ref: str, *, cache: Path, cancelled: Callable[[], bool] = lambda: False) -> Source:
    """The commit that `ref` means. `repository` is a path, or a URL; a URL's mirror is kept in `cache`.

    Raises:
        UsageError: Git is missing, or the repository does not exist, can't be reached, or has no such ref.
        Interrupted: `cancelled()` turned true; so do the methods of the source.
    """
    remote = remotes.of(repository)
    repository_with_secrets, repository = repository, remote.address
    ask = partial(git.answer, cancelled=cancelled, remote=remote)
    if shutil.which("git") is None:
        raise UsageError("git can't be found", "Install Git, and have it on PATH.")
    folder = expanded(Path(repository.removeprefix("file://")), "application.repository")
    if not folder.exists():
        if remote.settings:  # earlier versions wrote the secrets into the mirror's configuration
            mirrors.forget(repository_with_secrets, cache)
        folder = mirrors.whole(repository, cache, ask)
    folder = folder.absolute()
    for foreign in (False, True):
        if source := at(folder, ref, cache=cache, cancelled=cancelled, foreign=foreign):
            return replace(source, remote=remote)
        found = ask(folder, "rev-parse", "--git-dir", foreign=foreign)
        if not found.returncode:
            raise UsageError(
                f"{repository} has no commit {ref!r}",
                f"Name one of its branches, tags or commits; it has the branches {_branches(folder, foreign=foreign)}.",
            )
        if not git.is_of_another_user(found):
            raise UsageError(
                f"{folder} is not a Git repository that can be read: {git.said(found)}",
                "Name the top folder of a repository, or a bare repository.",
            )
    raise UsageError(
        f"{folder} belongs to another user, and this Git reads it for its owner alone",
        f"Run `git config --global --add safe.directory {folder}`.",
    )


def clone(repository: Path, to: Path) -> subprocess.CompletedProcess[bytes]:
    """Git's clone of a repository on this machine, also of another user's: Git itself runs none of its programs."""
    argv = ("git", "clone", "--quiet")
    done = process.answer([*argv, "--", str(repository), str(to)], env=git.environment())
    if not git.is_of_another_user(done):
        return done
    reading = "--upload-pack=git -c safe.directory='*' upload-pack"  # it starts without the variables of the clone
    environment = {**git.trusting(git.environment()), "GIT_ALLOW_PROTOCOL": "file"}
    return process.answer([*argv, reading, "--", str(repository), str(to)], env=environment)


def at(folder: Path, ref: str, *, cache: Path, cancelled: Callable[[], bool], foreign: bool = False) -> Source | None:
    """The commit that `ref` means in this folder, if there is one."""
    with git.read(folder, f"{ref}^{{commit}}", cancelled=cancelled, foreign=foreign) as commit:
        if commit is None:
            return None
        tree = commit.content.readline().decode().split()[1]  # a commit begins with "tree <object>"
        return Source(folder, ref, commit.name, tree, cache, cancelled, foreign)


def _branches(folder: Path, *, foreign: bool) -> str:
    arguments = ("for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads")
    found = git.answer(folder, *arguments, foreign=foreign).stdout.decode(errors="replace")
    return ", ".join(found.split()) or "(none)"
