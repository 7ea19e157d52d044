"""Images: a release is built from a Git tree, at the path where it runs, and frozen. A tree is built once.

An image is a folder `<root>/releases/<inputs>`. It has `app/` (the built tree), `toolchain/` (first on PATH), `home/`
(HOME of the build, of which each server has a writable copy), `manifest` and `release.json`. The last is written last:
a folder without it is an unfinished build.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files, images, manifest, strict_json
from edgeguard.cluster.host.generations import Runs, Task
from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.machine import network, process
from edgeguard.release import application as applications
from edgeguard.release import choice, process_variables, submodules, toolchain
from edgeguard.release.application import Application
from edgeguard.release.build import Build
from edgeguard.release.source import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeguard.release.source import Source
    from edgeguard.release.toolchain import Tool
    from edgeguard.settings import ApplicationSettings

FORMAT = 5
_POLL = 0.05

# Package managers need these variables to reach their registries from this machine. A build sees another variable of
# this process's environment only if application.build_environment names it.
PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("npm_config_registry", "npm_config_cafile", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"),
)


@dataclass(frozen=True)
class Release:
    """A frozen image and its origin. `digest` identifies its content; `inputs` identifies what it was built from.

    `lacks` are the files without the content that Git LFS keeps, and the empty folders of submodules. `differs` has a
    sentence for each change since it was built; it is empty also where nobody has looked.
    """

    digest: str
    inputs: str
    ref: str
    commit: str
    tree: str
    folder: Path
    application: Application
    lacks: tuple[str, ...] = ()
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
    verify: bool = True,
) -> Release:
    """The release of a commit (`ref`, or else the environment's branch). It is built unless its image is there already.

    Builds below one root take turns. A build that fails leaves nothing behind. An image that was changed since it was
    built is built anew, unless it is `in_use`: then it is returned, and `differs` lists the changes. Without `verify`,
    nobody looks for changes: an image that is there is returned. An image that lacks content is built anew, too; while
    it is in use, beside it, once what it lacks can be had.

    Raises:
        UsageError: the repository, the ref, the application's file or this machine's tools can't be used.
        BuildFailed: a step failed (with the end of its output), the limit was reached, or the disk is full.
        Interrupted: `cancelled()` turned true.
    """
    root = root.absolute()
    source = resolve(settings.repository, ref or settings.branch, cache=root / "repositories", cancelled=cancelled)
    application = choice.application(source, settings.name, settings.ignore)
    source = replace(source, root=application.root)
    tools = toolchain.find(application)
    passed = _passed_on(settings)
    named = {name: os.environ.get(name) for name in settings.build_environment}
    inputs = partial(_inputs, source, application, tools, root, named, network=settings.build_network)
    places = [root / "releases" / inputs(beside=beside) for beside in (False, True)]
    look = partial(_there, places, source, in_use, verify=verify)
    with _refused_by_disk(places[0]):
        if (there := look()) and not there[0].lacks:
            return there[0]
        with _turn(root, cancelled, output):
            there = look()
            free = [place for place in places if place not in [release.folder for release in there]]
            if there and not (there[0].lacks and free and _more_is_there(there[0], source, settings.build_timeout)):
                return there[0]
            folder = free[0]
            if (folder / "release.json").exists() and (differs := images.verify(folder)):
                output(f"{folder} is not as it was built: {images.in_short(differs)}. It is built anew")
            images.remove(folder)
            try:
                building = Build(
                    tools=tools,
                    source=source,
                    application=application,
                    folder=folder,
                    passed=passed,
                    network=settings.build_network,
                    limit=settings.build_timeout,
                    cancelled=cancelled,
                    output=output,
                )
                lacks = building.run()
                warnings = application.warnings + lacks.warnings + building.warnings
                application = replace(application, warnings=warnings)
                return _seal(folder, source, application, lacks.paths)
            except BaseException:
                manifest.remove(folder)
                raise


def load(folder: Path) -> Release:
    """The release in this folder.

    Raises:
        UsageError: there is no image, or its build was not finished.
    """
    try:
        content = strict_json.read_object((folder / "release.json").read_bytes())
        return _release(folder, content)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{folder} holds no finished image", "Deploy again; the image is built anew.") from exc


def _release(folder: Path, content: dict[str, Any]) -> Release:
    """The release that `release.json` describes so. Raises KeyError and TypeError where no `_seal` wrote it."""
    lacks = [*content.pop("pointers", []), *content.get("lacks", [])]  # `pointers` is in images of format 2
    texts = [*(content[name] for name in ("digest", "inputs", "ref", "commit", "tree")), *lacks]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a value is no text")
    content |= {"application": Application.from_json(content["application"]), "lacks": tuple(lacks)}
    return Release(**content, folder=folder)


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

    Differences in the toolchain alone are left out: virtual environments contain their own path in many files. A file
    of the tree decides what is in the toolchain.

    Raises:
        UsageError: an image has lost its manifest.
    """
    try:
        old, new = ((release.folder / "manifest").read_text(encoding="utf-8") for release in (then, now))
        return manifest.changed(old, new, "app")
    except (OSError, ValueError) as exc:
        folders = " and ".join(str(release.folder / "manifest") for release in (then, now))
        raise UsageError(
            f"the images can't be compared by {folders}: {exc}", "Deploy again; the images are built anew."
        ) from exc


def runs(release: Release, settings: ApplicationSettings, user: str | None) -> Runs:
    """What a generation of this release starts, as this user of the servers (None: edgeguard's own). The application's
    mounts are beside the images, below the root."""
    application, mounts = release.application, release.folder.parent.parent / "mounts"
    return Runs(
        folder=application.folder(release.folder),
        start=tuple(applications.shell(application.launch)),
        hooks={
            name: tuple(applications.shell(command))
            for name, command in application.hooks.items()
            if name in ("deploy", "post_deploy")
        },
        folders=tuple(mounts / place for place in application.mounts.values()),
        socket=application.socket,
        user=user,
        tasks=(*_workers(application, settings), *_crons(application)),
        timezone=application.timezone,
    )


def _workers(application: Application, settings: ApplicationSettings) -> Iterator[Task]:
    for name, worker in application.workers.items():
        start = applications.shell(worker.launch)
        yield Task(
            f"worker-{name}",
            tuple(start),
            variables=process_variables.of_worker(worker, settings),
            stop=tuple(applications.shell(worker.stop)) if worker.stop else None,
        )


def _crons(application: Application) -> Iterator[Task]:
    for name, cron in application.crons.items():
        yield Task(
            f"cron-{name}",
            tuple(applications.shell(cron.start)),
            schedule=cron.schedule,
            hashed=f"{application.name} {name}",
            stop=tuple(applications.shell(cron.stop)) if cron.stop else None,
            limit=cron.limit,
        )


def _passed_on(settings: ApplicationSettings) -> dict[str, str]:
    for name in settings.build_environment:
        if process.is_ours(name):
            raise UsageError(f"application.build_environment: {name} never goes into a build", "Take it out.")
    names = (*PASSED_ON, *settings.build_environment)
    return network.in_their_words({name: os.environ[name] for name in names if name in os.environ})


def _inputs(
    source: Source,
    application: Application,
    tools: Sequence[Tool],
    root: Path,
    named: dict[str, str | None],
    *,
    network: bool,
    beside: bool,
) -> str:
    """A digest of everything that a build depends on: 128 bits, since it names the folder and paths have limits."""
    what = {
        "format": FORMAT,
        "tree": source.released,
        "application": {**application.to_json(), "warnings": None},
        "tools": [(tool.language, tool.version) for tool in tools],
        "platform": (sys.platform, platform.machine()),
        "root": str(root),
        "environment": sorted(named.items()),
        **({} if network else {"network": False}),
        **({"beside": True} if beside else {}),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _found(folder: Path, source: Source, in_use: Callable[[Release], bool], *, verify: bool) -> Release | None:
    """The image that an earlier build left, as the release of this commit: other commits may have the same tree.

    None where there is no such image, or where it was changed since, or lacks content, and is not in use.
    """
    try:
        release = load(folder)
    except UsageError:
        return None
    differs = tuple(images.verify(folder)) if verify else ()
    if (differs or release.lacks) and not in_use(release):
        return None
    return replace(release, ref=source.ref, commit=source.commit, reused=True, differs=differs)


def _there(places: Sequence[Path], source: Source, in_use: Callable[[Release], bool], *, verify: bool) -> list[Release]:
    """The images in these folders, those first that lack nothing."""
    found = [there for place in places if (there := _found(place, source, in_use, verify=verify)) is not None]
    return sorted(found, key=lambda release: bool(release.lacks))


def _more_is_there(release: Release, source: Source, limit: float) -> bool:
    """Whether something that an image lacks can be had by now."""
    with tempfile.TemporaryDirectory(dir=release.folder.parent.parent) as folder:
        return submodules.write(source, Path(folder), time.monotonic() + limit).paths != release.lacks


@contextmanager
def _turn(root: Path, cancelled: Callable[[], bool], output: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other build runs below this root, and hold off others meanwhile."""
    (root / "releases").mkdir(parents=True, exist_ok=True)
    with open(root / "build.lock", "w", encoding="utf-8", opener=files.only_ours) as lock:
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


def _seal(folder: Path, source: Source, application: Application, lacks: tuple[str, ...]) -> Release:
    """Freeze the image, and write its manifest and `release.json` durably. The latter, written last, marks it whole."""
    for part in images.FROZEN:
        manifest.freeze(folder / part)
    content = manifest.take(folder, images.FROZEN)
    release = Release(
        digest=manifest.digest(content, images.CONTENT),
        inputs=folder.name,
        ref=source.ref,
        commit=source.commit,
        tree=source.released,
        folder=folder,
        application=application,
        lacks=lacks,
    )
    said = {name: value for name, value in asdict(release).items() if name not in ("folder", "reused", "differs")}
    os.sync()  # the files of the image must be durable before the manifest names them
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
