"""Mirrors: bare repositories that keep what was fetched from elsewhere, in a folder of the state."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.errors import Interrupted, UsageError
from edgeguard.release import git

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from edgeguard.release.remote import Remote

_FETCH = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance")
_SHA1 = 40  # digits of such an object's name


def forget(url: str, cache: Path) -> None:
    """Remove the mirror of a URL. Harmless where there is none."""
    shutil.rmtree(_place(url, cache), ignore_errors=True)


def whole(url: str, cache: Path, ask: Callable[..., subprocess.CompletedProcess[bytes]]) -> Path:
    """A bare mirror of the repository at a URL, brought up to date."""
    if not git.is_url(url) or url.startswith("-"):
        raise UsageError(f"there is no repository {url}", "Name a folder that exists, or a URL that git can clone.")
    mirror = _place(url, cache)
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
        raise UsageError(f"the repository can't be fetched: {git.said(found)}", "Try `git ls-remote` on its URL.")
    return mirror


def fetched(commit: str, remote: Remote, cache: Path, *, cancelled: Callable[[], bool]) -> Path:
    """A bare repository that has this commit of another one. It is fetched unless it is there already.

    Raises:
        UsageError: it can't be fetched.
        Interrupted: `cancelled()` turned true.
    """
    mirror, address = _place(remote.address, cache, ".commits.git"), remote.address
    ask = partial(git.answer, cancelled=cancelled, remote=remote)

    def there() -> bool:
        with git.read(mirror, f"{commit}^{{commit}}", cancelled=cancelled, foreign=False) as found:
            return found is not None

    if mirror.exists() and there():
        return mirror
    kind = "sha256" if len(commit) > _SHA1 else "sha1"
    cache.mkdir(parents=True, exist_ok=True)
    ask(cache, "init", "--quiet", "--bare", "--template=", f"--object-format={kind}", "--", str(mirror))
    done = ask(mirror, *_FETCH, "--depth=1", "--", address, f"+{commit}:refs/commits/{commit}")
    if done.returncode:  # some servers hand out branches and tags alone
        done = ask(mirror, *_FETCH, "--", address, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    if there():
        return mirror
    if done.returncode:
        raise UsageError(
            f"{address} can't be fetched: {git.said(done)}",
            f"Find out why `git ls-remote {address}` fails, and deploy again",
        )
    raise UsageError(f"{address} has no commit {commit}", "Push it there, and deploy again")


def _place(address: str, cache: Path, suffix: str = ".git") -> Path:
    return cache / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}{suffix}"
