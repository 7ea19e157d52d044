"""The Git repository that a release comes from: it resolves a ref to a commit and finds the objects of its tree."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeguard.errors import Interrupted, UsageError
from edgeguard.machine import process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_HEAD = len(("object", "kind", "size"))
_LARGEST = 1 << 20  # bytes of a file that is read whole


@dataclass(frozen=True)
class Source:
    """One commit of a repository. `folder` is where Git finds it: a work tree, a bare repository or a mirror."""

    folder: Path
    ref: str
    commit: str
    tree: str
    cancelled: Callable[[], bool] = lambda: False

    def read(self, path: str) -> bytes | None:
        """A file of the tree, None if there is no such file. Raises UsageError where it is too large to be read."""
        with _object(self.folder, f"{self.tree}:{path}", cancelled=self.cancelled) as found:
            if found is None or found.kind != "blob":
                return None
            if found.size > _LARGEST:
                raise UsageError(f"{path} is larger than {_LARGEST >> 20} MiB, which nobody reads", "Make it smaller.")
            return found.content.read(found.size)

    def has_folder(self, path: str) -> bool:
        """Whether the tree has this folder; "" is its root."""
        return not path or self._git("cat-file", "-t", f"{self.tree}:{path}").stdout == b"tree\n"

    def entries(self) -> list[tuple[str, str, str]]:
        """The files, links and submodules of the tree: mode, object and path."""
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", self.tree).stdout.split(b"\0")
        found = []
        for line in filter(None, listed):
            head, _, path = line.partition(b"\t")
            mode, _kind, named = head.decode().split()
            found.append((mode, named, os.fsdecode(path)))
        return found

    def uses_lfs(self) -> bool:
        """Whether an attribute of the tree has Git LFS keep the content of files."""
        at = (self.tree, "--", ":(glob)**/.gitattributes")
        return self._git("grep", "--quiet", "--fixed-strings", "filter=lfs", *at).returncode == 0

    def piped(self, *arguments: str, deadline: float) -> AbstractContextManager[tuple[IO[bytes], IO[bytes]]]:
        """Git, running on this repository, with a pipe to it and a pipe from it (`process.piped`)."""
        argv = ["git", "-C", str(self.folder), *arguments]
        return process.piped(argv, env=_environment(self.folder), deadline=deadline, cancelled=self.cancelled)

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return _git(self.folder, *arguments, cancelled=self.cancelled)


def resolve(repository: str, ref: str, *, cache: Path, cancelled: Callable[[], bool] = lambda: False) -> Source:
    """The commit that `ref` means. `repository` is a path, or a URL; a URL's mirror is kept in `cache`.

    Raises:
        UsageError: Git is missing, or the repository does not exist, can't be reached, or has no such ref.
        Interrupted: `cancelled()` turned true; so do the methods of the source.
    """
    ask = partial(_git, cancelled=cancelled)
    if shutil.which("git") is None:
        raise UsageError("git can't be found", "Install Git, and have it on PATH.")
    folder = Path(repository).expanduser()
    if not folder.exists():
        folder = _mirror(repository, cache, ask)
    folder = folder.absolute()
    with _object(folder, f"{ref}^{{commit}}", cancelled=cancelled) as commit:
        if commit is not None:
            tree = commit.content.readline().decode().split()[1]  # a commit begins with "tree <object>"
            return Source(folder, ref, commit.name, tree, cancelled)
    found = ask(folder, "rev-parse", "--git-dir")
    if found.returncode:
        raise UsageError(
            f"{folder} is not a Git repository that can be read: {_said(found)}",
            "Name the top folder of a repository, or a bare repository.",
        )
    raise UsageError(
        f"{repository} has no commit {ref!r}",
        f"Name one of its branches, tags or commits; it has the branches {_branches(folder)}.",
    )


def git_environment() -> dict[str, str]:
    """The environment that Git runs with.

    Git asks for no password, its messages are in English, no object stands in for another, and LFS content is fetched.
    """
    return {
        **process.environment(),
        "GIT_LFS_SKIP_SMUDGE": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _environment(folder: Path) -> dict[str, str]:
    """Git's environment for exactly this folder. A repository in a folder above does not count."""
    return {**git_environment(), "GIT_CEILING_DIRECTORIES": str(folder.parent.resolve())}


class _Object(NamedTuple):
    """An object of Git's. `content` begins with its `size` bytes."""

    name: str
    kind: str
    size: int
    content: IO[bytes]


@contextmanager
def _object(folder: Path, named: str, *, cancelled: Callable[[], bool]) -> Iterator[_Object | None]:
    """The object of this name, in Git's words for revisions, from one process of Git. None: there is none."""
    argv = ["git", "-C", str(folder), "cat-file", "--batch"]
    try:
        with process.piped(argv, env=_environment(folder), deadline=math.inf, cancelled=cancelled) as (to, out):
            with suppress(BrokenPipeError):  # Git has ended: it can't read the repository
                os.write(to.fileno(), f"{named}\n".encode(errors="surrogateescape"))
            head = out.readline().decode(errors="replace").split()
            there = "\n" not in named and len(head) == _HEAD and head[2].isdigit()
            yield _Object(head[0], head[1], int(head[2]), out) if there else None
    except process.Cancelled as exc:
        raise Interrupted("interrupted during the build, in git cat-file", "Nothing was touched.") from exc


def _git(
    folder: Path, *arguments: str, cancelled: Callable[[], bool] = lambda: False
) -> subprocess.CompletedProcess[bytes]:
    """Run Git in exactly this folder."""
    try:
        return process.answer(["git", "-C", str(folder), *arguments], env=_environment(folder), cancelled=cancelled)
    except process.Cancelled as exc:
        raise Interrupted(f"interrupted during the build, in git {arguments[0]}", "Nothing was touched.") from exc


def _said(found: subprocess.CompletedProcess[bytes]) -> str:
    lines = found.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else f"git exits with {found.returncode}"


def _branches(folder: Path) -> str:
    found = _git(folder, "for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads").stdout.decode(
        errors="replace"
    )
    return ", ".join(found.split()) or "(none)"


def _mirror(url: str, cache: Path, ask: Callable[..., subprocess.CompletedProcess[bytes]]) -> Path:
    """A bare mirror of the repository at a URL, brought up to date."""
    if not re.match(r"[a-z][a-z0-9+.-]*://|[^/:]+:[^:]", url, re.IGNORECASE) or url.startswith("-"):
        raise UsageError(f"there is no repository {url}", "Name a folder that exists, or a URL that git can clone.")
    if re.match(r"[^/]*//[^/@]*:[^/@]*@", url):
        raise UsageError("the repository's URL has a password in it", "Leave it to Git's credential helper.")
    mirror = cache / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.git"
    cache.mkdir(parents=True, exist_ok=True)
    if mirror.exists():
        found = ask(mirror, "fetch", "--quiet", "--prune", "--", "origin")
    else:
        fresh = Path(tempfile.mkdtemp(dir=cache))
        try:
            found = ask(cache, "clone", "--quiet", "--mirror", "--", url, str(fresh))
        except Interrupted:
            shutil.rmtree(fresh)
            raise
        try:
            fresh.rename(mirror)  # fails if another process has made the mirror meanwhile
        except OSError:
            shutil.rmtree(fresh)
        if found.returncode:
            shutil.rmtree(mirror, ignore_errors=True)
    if found.returncode:
        raise UsageError(f"the repository can't be fetched: {_said(found)}", "Try `git ls-remote` on its URL.")
    return mirror
