"""The Git repository that a release comes from: it resolves a ref to a commit and finds the objects of its tree."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeguard.errors import Interrupted, UsageError
from edgeguard.machine import network, process
from edgeguard.release import remote as remotes
from edgeguard.release.remote import OPEN, Remote
from edgeguard.user import expanded

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

_HEAD = len(("object", "kind", "size"))
_PAIR = ((0, "KEY"), (1, "VALUE"))
_LARGEST = 1 << 20  # bytes of a file that is read whole


@dataclass(frozen=True)
class Source:
    """One commit of a repository. `folder` is where Git finds it: a work tree, a bare repository or a mirror.

    `foreign`: it belongs to another user, and Git reads it only as long as that runs no program of that user's.
    """

    folder: Path
    ref: str
    commit: str
    tree: str
    cancelled: Callable[[], bool] = lambda: False
    foreign: bool = False
    remote: Remote = field(default=OPEN, repr=False)

    def read(self, path: str) -> bytes | None:
        """A file of the tree, None if there is no such file. Raises UsageError where it is too large to be read."""
        with _object(self.folder, f"{self.tree}:{path}", cancelled=self.cancelled, foreign=self.foreign) as found:
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
        """Git, running on this repository, with a pipe to it and a pipe from it (`process.piped`).

        LFS runs programs that the repository's own settings name: of another user's it is left to Git to refuse that.
        """
        argv = ["git", "-C", str(self.folder), *arguments]
        environment = _environment(self.folder, foreign=self.foreign and arguments[0] != "lfs", remote=self.remote)
        return process.piped(argv, env=environment, deadline=deadline, cancelled=self.cancelled)

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return _git(self.folder, *arguments, cancelled=self.cancelled, foreign=self.foreign)


def resolve(repository: str, ref: str, *, cache: Path, cancelled: Callable[[], bool] = lambda: False) -> Source:
    """The commit that `ref` means. `repository` is a path, or a URL; a URL's mirror is kept in `cache`.

    Raises:
        UsageError: Git is missing, or the repository does not exist, can't be reached, or has no such ref.
        Interrupted: `cancelled()` turned true; so do the methods of the source.
    """
    remote = remotes.of(repository)
    repository_with_secrets, repository = repository, remote.address
    ask = partial(_git, cancelled=cancelled, remote=remote)
    if shutil.which("git") is None:
        raise UsageError("git can't be found", "Install Git, and have it on PATH.")
    folder = expanded(Path(repository.removeprefix("file://")), "application.repository")
    if not folder.exists():
        if remote.settings:  # earlier versions wrote the secrets into the mirror's configuration
            shutil.rmtree(_mirror_of(repository_with_secrets, cache), ignore_errors=True)
        folder = _mirror(repository, cache, ask)
    folder = folder.absolute()
    for foreign in (False, True):
        with _object(folder, f"{ref}^{{commit}}", cancelled=cancelled, foreign=foreign) as commit:
            if commit is not None:
                tree = commit.content.readline().decode().split()[1]  # a commit begins with "tree <object>"
                return Source(folder, ref, commit.name, tree, cancelled, foreign, remote)
        found = ask(folder, "rev-parse", "--git-dir", foreign=foreign)
        if not found.returncode:
            raise UsageError(
                f"{repository} has no commit {ref!r}",
                f"Name one of its branches, tags or commits; it has the branches {_branches(folder, foreign=foreign)}.",
            )
        if not _of_another_user(found):
            raise UsageError(
                f"{folder} is not a Git repository that can be read: {_said(found)}",
                "Name the top folder of a repository, or a bare repository.",
            )
    raise UsageError(
        f"{folder} belongs to another user, and this Git reads it for its owner alone",
        f"Run `git config --global --add safe.directory {folder}`.",
    )


def clone(repository: Path, to: Path) -> subprocess.CompletedProcess[bytes]:
    """Git's clone of a repository on this machine, also of another user's: Git itself runs none of its programs."""
    argv = ("git", "clone", "--quiet")
    done = process.answer([*argv, "--", str(repository), str(to)], env=git_environment())
    if not _of_another_user(done):
        return done
    reading = "--upload-pack=git -c safe.directory='*' upload-pack"  # it starts without the variables of the clone
    environment = {**trusting(git_environment()), "GIT_ALLOW_PROTOCOL": "file"}
    return process.answer([*argv, reading, "--", str(repository), str(to)], env=environment)


def git_environment() -> dict[str, str]:
    """The environment that Git runs with.

    Git asks for no password, its messages are in English, no object stands in for another, and LFS content is fetched.
    """
    return {
        **network.in_their_words(process.environment()),
        "GIT_LFS_SKIP_SMUDGE": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _environment(folder: Path, *, foreign: bool, remote: Remote = OPEN) -> dict[str, str]:
    """Git's environment for exactly this folder, and the place that it comes from. A repository in a folder above does
    not count."""
    own = {**git_environment(), "GIT_CEILING_DIRECTORIES": str(folder.parent.resolve()), **dict(remote.variables)}
    own = _with(own, remote.settings)
    return trusting(own) if foreign else own


def trusting(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with which Git reads a repository of another user's, but fetches nothing for it and runs nothing
    that its settings name.

    Git 2.35.2 to 2.37 heed `safe.directory` in files alone (Git: Documentation/RelNotes/2.38.0), and go on to refuse.
    """
    more = (("safe.directory", "*"), ("core.fsmonitor", "false"), ("core.hooksPath", os.devnull))
    return {**_with(environment, more), "GIT_ALLOW_PROTOCOL": "none"}


def _with(environment: Mapping[str, str], more: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The environment with more of Git's settings, behind those that it has."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    given = {f"GIT_CONFIG_{what}_{first + n}": said[i] for n, said in enumerate(more) for i, what in _PAIR}
    return {**environment, **given, **({"GIT_CONFIG_COUNT": str(first + len(more))} if more else {})}


class _Object(NamedTuple):
    """An object of Git's. `content` begins with its `size` bytes."""

    name: str
    kind: str
    size: int
    content: IO[bytes]


@contextmanager
def _object(folder: Path, named: str, *, cancelled: Callable[[], bool], foreign: bool) -> Iterator[_Object | None]:
    """The object of this name, in Git's words for revisions, from one process of Git. None: there is none."""
    argv, environment = ["git", "-C", str(folder), "cat-file", "--batch"], _environment(folder, foreign=foreign)
    try:
        with process.piped(argv, env=environment, deadline=math.inf, cancelled=cancelled) as (to, out):
            with suppress(BrokenPipeError):  # Git has ended: it can't read the repository
                os.write(to.fileno(), f"{named}\n".encode(errors="surrogateescape"))
            head = out.readline().decode(errors="replace").split()
            there = "\n" not in named and len(head) == _HEAD and head[2].isdigit()
            yield _Object(head[0], head[1], int(head[2]), out) if there else None
    except process.Cancelled as exc:
        raise Interrupted("interrupted during the build, in git cat-file", "Nothing was touched.") from exc


def _git(
    folder: Path,
    *arguments: str,
    cancelled: Callable[[], bool] = lambda: False,
    foreign: bool = False,
    remote: Remote = OPEN,
) -> subprocess.CompletedProcess[bytes]:
    """Run Git in exactly this folder."""
    argv, environment = ["git", "-C", str(folder), *arguments], _environment(folder, foreign=foreign, remote=remote)
    try:
        return process.answer(argv, env=environment, cancelled=cancelled)
    except process.Cancelled as exc:
        raise Interrupted(f"interrupted during the build, in git {arguments[0]}", "Nothing was touched.") from exc


def _of_another_user(found: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether Git refused a repository because another user owns it."""
    return found.returncode != 0 and b"safe.directory" in found.stderr


def _said(found: subprocess.CompletedProcess[bytes]) -> str:
    lines = found.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else f"git exits with {found.returncode}"


def _branches(folder: Path, *, foreign: bool) -> str:
    arguments = ("for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads")
    found = _git(folder, *arguments, foreign=foreign).stdout.decode(errors="replace")
    return ", ".join(found.split()) or "(none)"


def _mirror_of(url: str, cache: Path) -> Path:
    return cache / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.git"


def _mirror(url: str, cache: Path, ask: Callable[..., subprocess.CompletedProcess[bytes]]) -> Path:
    """A bare mirror of the repository at a URL, brought up to date."""
    if not re.match(r"[a-z][a-z0-9+.-]*://|[^/:]+:[^:]", url, re.IGNORECASE) or url.startswith("-"):
        raise UsageError(f"there is no repository {url}", "Name a folder that exists, or a URL that git can clone.")
    mirror = _mirror_of(url, cache)
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
