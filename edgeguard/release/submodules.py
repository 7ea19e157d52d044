"""Writes the whole tree of a release: a commit's, and in their places those of its submodules.

A submodule's commit is a part of the tree. Only its URL comes from `.gitmodules`, which whoever can push has written.
Git gets an URL from there as the address of a fetch, and by few protocols; it runs nothing that the file names.
"""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.release import git, mirrors
from edgeguard.release import remote as remotes
from edgeguard.release import source as sources
from edgeguard.release.tree import Tree, lfs_is_installed

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.release.remote import Remote
    from edgeguard.release.source import Source

FILE = ".gitmodules"
_NAMED = 3  # files in one warning, and submodules that have one each
_DEEPEST = 8  # submodules in submodules: a repository may name itself
_MOST = 256  # submodules of one release
_TOO_MANY = (
    f"edgeguard fetches at most {_MOST} submodules, at most {_DEEPEST} of them in each other. "
    "Commit the files in their place"
)
_CORRECT = f"Correct {FILE} and commit it"
_ORIGIN = "remote.origin.url"
_KEY = re.compile(r"submodule\.(.*)\.(path|url)", re.DOTALL)


@dataclass(frozen=True)
class Lacks:
    """What a release lacks: `pointers` are files without the content that LFS keeps, `submodules` are empty folders,
    each with the reason and the remedy."""

    pointers: list[str] = field(default_factory=list)
    submodules: dict[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths that lack content."""
        return (*self.pointers, *self.submodules)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for people about each thing that is not as they expect it."""
        said = [f"{path}: the submodule's folder is empty: {why}" for path, why in self.submodules.items()]
        if len(said) > _NAMED:
            said[_NAMED:] = [f"{len(said) - _NAMED} more submodules' folders are empty"]
        if self.pointers:
            more = f" and {len(self.pointers) - _NAMED} more" if len(self.pointers) > _NAMED else ""
            how = "Find out why `git lfs fetch` fails" if lfs_is_installed() else "Install git-lfs on this machine"
            said.append(
                f"{', '.join(self.pointers[:_NAMED])}{more}: the release has Git LFS pointers in place of the content. "
                f"{how}, and deploy again"
            )
        return tuple(said)


def write(source: Source, to: Path, deadline: float) -> Lacks:
    """Write the commit's tree and its submodules' into the folder `to`, which is empty. `deadline` is of the monotonic
    clock. What can't be fetched is left out.

    Raises:
        BuildFailed: an object is missing, a path can't be written, or the deadline has passed.
        Interrupted: the source was cancelled.
        OSError: the disk is full, or the folder can't be written.
    """
    lacks, count = Lacks(), 0
    waiting = deque([(source, PurePosixPath(), 0)])
    while waiting:
        whole, place, depth = waiting.popleft()
        written = Tree(whole, to / place, deadline).write()
        lacks.pointers.extend(str(place / path) for path in written.pointers)
        urls = _Urls(whole)
        for path, commit in written.submodules.items():
            count += 1
            if depth == _DEEPEST or count > _MOST:
                lacks.submodules[str(place / path)] = _TOO_MANY
                continue
            try:
                part = _fetched(whole, urls.named(path), commit, deadline)
            except UsageError as exc:
                lacks.submodules[str(place / path)] = f"{exc.message}. {exc.remedy}"
            else:
                waiting.append((part, place / path, depth + 1))
    return lacks


class _Urls:
    """What a tree's `.gitmodules` says: names and URLs by path. It is read when it is first needed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._said: dict[str, dict[str, str]] | None = None

    def named(self, path: str) -> tuple[str, str]:
        """The name and the URL of the submodule at this path.

        Raises:
            UsageError: there is none, or not one alone, or Git would not take it.
        """
        if self._said is None:
            self._said = {}
            for key, value in self._source.listed(FILE):
                if found := _KEY.fullmatch(key):
                    said = self._said.setdefault(found[1], {})
                    if said.setdefault(found[2], value) != value:
                        said[found[2]] = ""
        urls = [(name, said["url"]) for name, said in self._said.items() if said.get("path") == path and "url" in said]
        if len(urls) != 1:
            raise UsageError(f"{FILE} has {'more than one' if urls else 'no'} URL for it", _CORRECT)
        name, url = urls[0]
        if not name or not {"", ".", ".."}.isdisjoint(name.split("/")):
            raise UsageError(f"{FILE} names it {name!r}, which Git refuses", _CORRECT)
        usable = git.is_url(url) or url.startswith(("/", "./", "../"))
        if not usable or re.search(r"^-|//-|@-", url) or re.search(r"[\x00-\x1f\x7f]", unquote(url)):
            raise UsageError(f"{FILE} has no usable URL for it", _CORRECT)
        return name, url


def _fetched(whole: Source, named: tuple[str, str], commit: str, deadline: float) -> Source:
    """The commit of a submodule. Raises UsageError where it can't be had."""
    name, url = named
    if (there := whole.part(name, commit)) is not None:
        return there

    def over() -> bool:
        return whole.cancelled() or time.monotonic() > deadline

    try:
        remote = _remote(whole, url)
        folder = mirrors.fetched(commit, remote, whole.cache, cancelled=over)
    except Interrupted as exc:
        if whole.cancelled():
            raise
        raise BuildFailed(
            f"the build took longer than its limit and was ended while Git fetched the submodule {name}",
            "Look whether Git can fetch it, or raise application.build_timeout.",
        ) from exc
    if (part := sources.at(folder, commit, cache=whole.cache, cancelled=whole.cancelled)) is None:
        raise UsageError(f"{folder} has lost the commit {commit}", "Remove that folder, and deploy again")
    return replace(part, remote=remote)


def _remote(whole: Source, url: str) -> Remote:
    """Where to fetch a submodule. Whoever lets the whole in is asked for its parts at the same site, too.

    A relative URL is beside the repository from which the whole was cloned. Of protocols, Git gets HTTPS, SSH, and the
    one by which the whole came: what a URL names on this machine is fetched only for a repository on this machine.
    """
    origin = remotes.of(whole.origin())
    named = remotes.of(beside(origin.address, url) if url.startswith(("./", "../")) else url)
    own = next((remote for remote in (named, origin) if remote.settings), whole.remote)
    allowed = {"https", "ssh", *({_protocol(whole.remote.address)} & {"file", "http"})}
    if _protocol(named.address) not in allowed:
        raise UsageError(
            f"{FILE} names {named.address}, which is not fetched for this repository", "Name a URL of HTTPS"
        )
    return remotes.Remote(
        named.address,
        (*(pair for pair in own.settings if pair[0] != _ORIGIN), (_ORIGIN, named.address)),  # LFS asks the origin
        (*own.variables, ("GIT_ALLOW_PROTOCOL", ":".join(sorted(allowed)))),
    )


def _protocol(address: str) -> str:
    if not git.is_url(address):
        return "file"
    return address.partition("://")[0].lower() if "://" in address else "ssh"


def beside(origin: str, url: str) -> str:
    """The address that a relative URL means, as Git resolves it (Git: submodule--helper, relative_url).

    Raises:
        UsageError: it leads out of the origin.
    """
    site = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*|[^/:]+:(?!:)|", origin)
    first = site[0] if site else ""
    parts = [part for part in origin[len(first) :].split("/") if part]
    absolute = origin[len(first) :].startswith("/")
    for step in url.split("/"):
        if step == ".." and not parts:
            raise UsageError(f"{FILE} has the URL {url} for it, which leads out of {origin}", _CORRECT)
        if step == "..":
            parts.pop()
        elif step not in ("", "."):
            parts.append(step)
    return f"{first}{'/' if absolute else ''}{'/'.join(parts)}"
