"""From a Git tree to a frozen release: built once, at the path at which it runs, and found again when nothing changed.

An image is a folder `<root>/releases/<inputs>` with `app/` (the tree, built), `toolchain/` (first on PATH), `home/`
(HOME of the build), `manifest`, and, written last, `release.json`: without it the folder is an unfinished build.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from edgeguard.cluster.host import manifest
from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.machine import process
from edgeguard.release import application as applications
from edgeguard.release import source, toolchain
from edgeguard.release.application import Application
from edgeguard.release.build import Build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgeguard.release.source import Source
    from edgeguard.release.toolchain import Tool
    from edgeguard.settings import ApplicationSettings

FORMAT = 1
CONTENT = ("app", "toolchain")  # what a release's identity is made of
_FROZEN = ("app", "home", "toolchain")
_POLL = 0.05
_TOLD = 3  # differences in one message

# What package managers need to reach their registries from this machine. Everything else that a build may see of
# this process's environment has to be named in application.build_environment.
PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("npm_config_registry", "npm_config_cafile", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"),
)


@dataclass(frozen=True)
class Release:
    """A frozen image and where it came from. `digest` is its identity, `inputs` only finds it again.

    `differs` says what was changed in it since it was built, as far as somebody has looked.
    """

    digest: str
    inputs: str
    ref: str
    commit: str
    tree: str
    folder: Path
    application: Application
    reused: bool = False
    differs: tuple[str, ...] = ()


def build(
    settings: ApplicationSettings,
    *,
    ref: str | None,
    root: Path,
    in_use: Callable[[Release], bool],
    cancelled: Callable[[], bool],
    output: Callable[[str], None],
) -> Release:
    """The release of a commit (`ref`, or else the environment's branch), built unless its image is there already.

    Builds below one root take turns. A build that does not succeed leaves nothing behind. An image that was changed
    since it was built is built anew, unless it is `in_use`: then it is returned with what `differs`.

    Raises:
        UsageError: the repository, the ref, the application's file or this machine's tools can't be used.
        BuildFailed: a step failed (with the end of its output), the limit was reached, or the disk is full.
        Interrupted: `cancelled()` turned true.
    """
    root = root.absolute()
    come_from = source.resolve(settings.repository, ref or settings.branch, cache=root / "repositories")
    application = _application(come_from)
    tools = toolchain.find(application)
    passed = _passed_on(settings)
    inputs = _inputs(come_from, tools, root, {name: os.environ.get(name) for name in settings.build_environment})
    folder = root / "releases" / inputs
    with _refused_by_disk(folder):
        if (found := _found(folder, come_from, in_use)) is not None:
            return found
        with _turn(root, cancelled, output):
            if (found := _found(folder, come_from, in_use)) is not None:
                return found
            if (folder / "release.json").exists():
                output(f"{folder} is not as it was built: {in_short(verify(folder))}. It is built anew")
            remove(folder)
            try:
                Build(
                    come_from=come_from,
                    application=application,
                    folder=folder,
                    passed=passed,
                    limit=settings.build_timeout,
                    cancelled=cancelled,
                    output=output,
                ).run(tools)
                return _seal(folder, inputs, come_from, application)
            except BaseException:
                manifest.remove(folder)
                raise


def load(folder: Path) -> Release:
    """The release in this folder.

    Raises:
        UsageError: there is none, or it was not finished.
    """
    try:
        content = json.loads((folder / "release.json").read_text(encoding="utf-8"))
        content["application"] = Application.from_json(content["application"])
        return Release(**content, folder=folder)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{folder} holds no finished image", "Deploy again; it is rebuilt.") from exc


def find(root: Path, digest: str) -> Release | None:
    """The image of the release with this digest, if it is on this machine."""
    for folder in sorted((root.absolute() / "releases").glob("*/")):
        try:
            release = load(folder)
        except UsageError:
            continue
        if release.digest == digest:
            return release
    return None


def changed(then: Release, now: Release) -> list[str]:
    """The files of the application that differ between two images, by their paths in the tree.

    What differs in the toolchain alone is not told: virtual environments name their own folder all over. What decides
    on the toolchain is a file of the tree.

    Raises:
        UsageError: an image has lost its manifest.
    """
    try:
        old, new = ((release.folder / "manifest").read_text(encoding="utf-8") for release in (then, now))
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"the images can't be compared: {exc}", "Deploy again; they are rebuilt.") from exc
    return manifest.changed(old, new, "app")


def verify(folder: Path) -> list[str]:
    """What differs in an image from the day it was frozen, a sentence each; nothing if it is whole.

    Every file is read. In an image that is written to meanwhile, a file may vanish that was just there: that is told.
    """
    try:
        then = (folder / "manifest").read_text(encoding="utf-8")
        release = load(folder)
    except (OSError, ValueError, UsageError) as exc:
        return [str(exc)]
    if manifest.digest(then, CONTENT) != release.digest:
        return ["the manifest was changed"]
    try:
        return manifest.compare(then, folder, [part for part in _FROZEN if (folder / part).exists()])
    except OSError as exc:
        return [f"{exc.filename or folder} can't be read: {exc.strerror}"]


def in_short(differs: Sequence[str]) -> str:
    """The first few of many sentences, and how many more there are."""
    more = len(differs) - _TOLD
    return "; ".join(differs[:_TOLD]) + (f" (and {more} more)" if more > 0 else "")


def remove(folder: Path) -> None:
    """Remove an image. What is half removed is no image any more."""
    if folder.is_dir():
        folder.chmod(0o700)
        (folder / "release.json").unlink(missing_ok=True)
    manifest.remove(folder)


def _application(come_from: Source) -> Application:
    text = come_from.read(applications.FILE)
    if text is None:
        raise UsageError(
            f"{come_from.ref} of {come_from.folder} has no {applications.FILE}",
            "Commit one at the root of the repository, with at least name, type and web.commands.start.",
        )
    application = applications.parse(text)
    if not come_from.has_folder(application.root):
        raise UsageError(
            f"{applications.FILE}: source.root: the tree has no folder {application.root!r}",
            "Mend the file and commit it.",
        )
    return application


def _passed_on(settings: ApplicationSettings) -> dict[str, str]:
    for name in settings.build_environment:
        if process.is_ours(name):
            raise UsageError(f"application.build_environment: {name} never goes into a build", "Take it out.")
    names = (*PASSED_ON, *settings.build_environment)
    return {name: os.environ[name] for name in names if name in os.environ}


def _inputs(come_from: Source, tools: Sequence[Tool], root: Path, named: dict[str, str | None]) -> str:
    """A digest of what goes into a build. 128 bits of it name the folder; paths of scripts have limits."""
    what = {
        "format": FORMAT,
        "tree": come_from.tree,
        "tools": [(tool.language, tool.version) for tool in tools],
        "platform": (sys.platform, platform.machine()),
        "root": str(root),
        "environment": sorted(named.items()),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _found(folder: Path, come_from: Source, in_use: Callable[[Release], bool]) -> Release | None:
    """The image that an earlier build left, now for this commit: another one may have the same tree. None too where it
    was changed since, and can be built anew."""
    try:
        release = load(folder)
    except UsageError:
        return None
    differs = tuple(verify(folder))
    if differs and not in_use(release):
        return None
    return replace(release, ref=come_from.ref, commit=come_from.commit, reused=True, differs=differs)


@contextmanager
def _turn(root: Path, cancelled: Callable[[], bool], output: Callable[[str], None]) -> Iterator[None]:
    """Wait for the builds that others have under way below this root."""
    (root / "releases").mkdir(parents=True, exist_ok=True)
    with (root / "build.lock").open("w", encoding="utf-8") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    output("another build is under way, waiting for it")
                    told = True
            if cancelled():
                raise Interrupted("interrupted while waiting for another build", "Nothing was touched.")
            time.sleep(_POLL)
        yield


@contextmanager
def _refused_by_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        why = "the disk is full" if exc.errno in (errno.ENOSPC, errno.EDQUOT) else exc.strerror or str(exc)
        raise BuildFailed(
            f"the image can't be written to {folder}: {why}",
            "Make room there, or let cluster.root name another place.",
        ) from exc


def _seal(folder: Path, inputs: str, come_from: Source, application: Application) -> Release:
    """Freeze, and write down durably what there is; `release.json` last, since it says that the image is whole."""
    for part in _FROZEN:
        manifest.freeze(folder / part)
    content = manifest.take(folder, _FROZEN)
    release = Release(
        digest=manifest.digest(content, CONTENT),
        inputs=inputs,
        ref=come_from.ref,
        commit=come_from.commit,
        tree=come_from.tree,
        folder=folder,
        application=application,
    )
    said = {name: value for name, value in asdict(release).items() if name not in ("folder", "reused", "differs")}
    os.sync()  # every file of the image, before anything says that they are there
    _write(folder / "manifest", content)
    _write(folder / "release.json", json.dumps(said, indent=1) + "\n")
    folder.chmod(0o555)
    return release


def _write(path: Path, content: str) -> None:
    fresh = path.with_name(f".{path.name}.tmp")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.chmod(0o444)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
