"""The border to Git: the environment in which it runs, what it answers, and the objects that it reads."""

from __future__ import annotations

import math
import os
import re
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeguard.errors import Interrupted
from edgeguard.machine import network, process
from edgeguard.release.remote import OPEN, Remote

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_HEAD = len(("object", "kind", "size"))
_PAIR = ((0, "KEY"), (1, "VALUE"))
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[^/:]+:[^:]", re.IGNORECASE)


def environment() -> dict[str, str]:
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


def environment_of(folder: Path, *, foreign: bool, remote: Remote = OPEN) -> dict[str, str]:
    """Git's environment for exactly this folder, and the place that it comes from. A repository in a folder above does
    not count."""
    own = {**environment(), "GIT_CEILING_DIRECTORIES": str(folder.parent.resolve()), **dict(remote.variables)}
    own = _extended(own, remote.settings)
    return trusting(own) if foreign else own


def trusting(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with which Git reads a repository of another user's, but fetches nothing for it and runs nothing
    that its settings name.

    Git 2.35.2 to 2.37 heed `safe.directory` in files alone (Git: Documentation/RelNotes/2.38.0), and go on to refuse.
    """
    more = (("safe.directory", "*"), ("core.fsmonitor", "false"), ("core.hooksPath", os.devnull))
    return {**_extended(environment, more), "GIT_ALLOW_PROTOCOL": "none"}


def _extended(environment: Mapping[str, str], more: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The environment with more of Git's settings, behind those that it has."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    first = int(count) if count.isdecimal() else 0
    given = {f"GIT_CONFIG_{what}_{first + n}": said[i] for n, said in enumerate(more) for i, what in _PAIR}
    return {**environment, **given, **({"GIT_CONFIG_COUNT": str(first + len(more))} if more else {})}


def is_url(said: str) -> bool:
    """Whether Git takes this for a URL (`host:path` is one, too), not for a path."""
    return _URL.match(said) is not None


class Object(NamedTuple):
    """An object of Git's. `content` begins with its `size` bytes."""

    name: str
    kind: str
    size: int
    content: IO[bytes]


@contextmanager
def read(folder: Path, named: str, *, cancelled: Callable[[], bool], foreign: bool) -> Iterator[Object | None]:
    """The object of this name, in Git's words for revisions, from one process of Git. None: there is none."""
    argv, environment = ["git", "-C", str(folder), "cat-file", "--batch"], environment_of(folder, foreign=foreign)
    try:
        with process.piped(argv, env=environment, deadline=math.inf, cancelled=cancelled) as (to, out):
            with suppress(BrokenPipeError):  # Git has ended: it can't read the repository
                os.write(to.fileno(), f"{named}\n".encode(errors="surrogateescape"))
            head = out.readline().decode(errors="replace").split()
            there = "\n" not in named and len(head) == _HEAD and head[2].isdigit()
            yield Object(head[0], head[1], int(head[2]), out) if there else None
    except process.Cancelled as exc:
        raise Interrupted("interrupted during the build, in git cat-file", "Nothing was touched.") from exc


def answer(
    folder: Path,
    *arguments: str,
    cancelled: Callable[[], bool] = lambda: False,
    foreign: bool = False,
    remote: Remote = OPEN,
) -> subprocess.CompletedProcess[bytes]:
    """Run Git in exactly this folder."""
    argv, environment = ["git", "-C", str(folder), *arguments], environment_of(folder, foreign=foreign, remote=remote)
    try:
        return process.answer(argv, env=environment, cancelled=cancelled)
    except process.Cancelled as exc:
        raise Interrupted(f"interrupted during the build, in git {arguments[0]}", "Nothing was touched.") from exc


def is_of_another_user(found: subprocess.CompletedProcess[bytes]) -> bool:
    """Whether Git refused a repository because another user owns it."""
    return found.returncode != 0 and b"safe.directory" in found.stderr


def said(found: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of Git's own error."""
    lines = found.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else f"git exits with {found.returncode}"
