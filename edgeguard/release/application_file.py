"""The application's file: `.platform.app.yaml` at the root of its repository, in the form of managed clusters.

Each key means what Upsun (Platform.sh) documents. An application's `warnings` name every key that isn't supported, by
its path; none is dropped silently.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import schedule
from edgeguard.errors import UsageError
from edgeguard.release.application import LONGEST_RUN, Application, Cron, Worker
from edgeguard.release.process_variables import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import tzinfo

    from edgeguard.settings import ApplicationSettings

FILE = ".platform.app.yaml"
LANGUAGES = ("python", "nodejs")
_SUPPORTED: dict[str, tuple[str, ...] | None] = {  # None: everything below it is read
    "name": None,
    "type": None,
    "source": ("root",),
    "build": ("flavor",),
    "dependencies": ("python3", "nodejs"),
    "hooks": ("build", "deploy", "post_deploy"),
    "web": ("commands", "upstream"),
    "mounts": None,
    "variables": None,
    "relationships": None,
    "crons": None,
    "workers": None,
    "timezone": None,
}
_SUPPORTED_BELOW = {"web.commands": ("start", "pre_start"), "web.upstream": ("socket_family", "protocol")}
_IN_A_WORKER = ("commands", "variables", "mounts", "relationships")
_IN_A_CRON = ("spec", "commands", "cmd", "timeout")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""What names an application, a worker or a cron: units and files are named after them."""


def parse(text: str | bytes, *, include: Callable[[str], bytes | None] = lambda _: None) -> Application:
    """The application that this file describes. `include` returns a file of the tree, for the tag `!include`.

    Raises:
        UsageError: the file isn't YAML, lacks a key that is needed, or has a key of the wrong form.
    """
    from edgeguard.release import strict_yaml  # noqa: PLC0415 (12 ms, and most commands need only what an image says)

    try:
        content = strict_yaml.Reader(include).read(text)
    except strict_yaml.Fault as exc:
        raise UsageError(f"{FILE}: {exc}", "Correct the file and commit it.") from exc
    if not isinstance(content, dict):
        raise UsageError(f"{FILE} has no keys", "It needs at least name, type and web.commands.start.")
    file = _File(content)
    name = file.text("name", needed=True)
    if not _NAME.fullmatch(name):
        raise _fault("name", "use letters, digits, - and _")
    application = Application(
        name=name,
        type=file.text("type", needed=True),
        start=file.text("web.commands.start", needed=True),
        pre_start=file.text("web.commands.pre_start") or None,
        socket=_socket(file),
        root=_inside(file.text("source.root"), "source.root"),
        flavor=file.text("build.flavor") or "default",
        dependencies=_dependencies(file),
        hooks={hook: said for hook in ("build", "deploy", "post_deploy") if (said := file.text(f"hooks.{hook}"))},
        mounts=_mounts(file),
        environment=_environment(file, "variables"),
        variables=_other_variables(file),
        workers=dict(_workers(file)),
        crons=dict(_crons(file, name)),
        timezone=file.text("timezone") or None,
        relationships=tuple(dict.fromkeys(str(name) for _, name, _ in _everywhere(file, "relationships"))),
        warnings=_warnings(file),
    )
    if application.flavor not in ("none", "default"):
        raise _fault("build.flavor", f"{application.flavor!r} is not supported; use none, and build in hooks.build")
    if application.language not in LANGUAGES and application.flavor != "none":
        raise _fault("type", f"there is no default build for {application.type!r}; set build.flavor to none")
    return application


def _fault(path: str, said: str) -> UsageError:
    return UsageError(f"{FILE}: {path}: {said}", "Correct the file and commit it.")


@dataclass(frozen=True)
class _File:
    """The parsed YAML, read by dotted paths."""

    content: Mapping[Any, Any]

    def get(self, path: str) -> object:
        found: object = self.content
        walked: list[str] = []
        for key in path.split("."):
            if found is None:
                return None
            if not isinstance(found, dict):
                raise _fault(".".join(walked), "a mapping is expected here")
            walked.append(key)
            found = found.get(key)
        return found

    def text(self, path: str, *, needed: bool = False) -> str:
        found = self.get(path)
        if found is None and needed:
            raise _fault(path, "this key is missing")
        if not isinstance(found, str | None) or "\0" in (found or ""):
            raise _fault(path, "text is expected here")
        if needed and not (found or "").strip():
            raise _fault(path, "this key is empty")
        return (found or "").strip()

    def mapping(self, path: str) -> Mapping[Any, Any]:
        found = self.get(path)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise _fault(path, "a mapping is expected here")
        return found


def _inside(path: str, key: str) -> str:
    """A path below the folder that it is relative to, without slashes at its ends."""
    plain = PurePosixPath("/", path).relative_to("/")
    if ".." in plain.parts:
        raise _fault(key, f"{path!r} leads out of the application")
    return "" if plain == PurePosixPath() else str(plain)


def _socket(file: _File) -> bool:
    """Whether the web process listens on a unix socket, and is asked over HTTP there."""
    protocol = file.text("web.upstream.protocol")
    if protocol not in ("", "http"):
        raise _fault("web.upstream.protocol", f"{protocol!r} is not supported; use http")
    family = file.text("web.upstream.socket_family")
    if family not in ("", "tcp", "unix"):
        raise _fault("web.upstream.socket_family", f"{family!r} is neither tcp nor unix")
    return family == "unix"


def _mounts(file: _File) -> dict[str, str]:
    """Map each mount's folder to its place in the store of mounts (`source_path`, or else the same path). Workers run
    in the application's own tree, so theirs are beside the others."""
    mounts: dict[str, str] = {}
    for above, place, said in _everywhere(file, "mounts"):
        key = f"{above}.{place}"
        path = _inside(str(place), key)
        if not path:
            raise _fault(key, "a mount can't replace the application's root")
        if isinstance(said, str) and said.startswith("shared:files"):  # the older form: shared:files/<place>
            source: object = said.removeprefix("shared:files")
        elif isinstance(said, dict):
            source = said.get("source_path")
        else:
            raise _fault(key, "a mapping with source and source_path is expected here")
        if not isinstance(source, str | None):
            raise _fault(f"{key}.source_path", "text is expected here")
        found = path if source is None else _inside(source, f"{key}.source_path")
        if mounts.setdefault(path, found) != found:
            raise _fault(key, f"another mount of this folder has the place {mounts[path]!r}")
    for path in mounts:
        for other in mounts:
            if other != path and PurePosixPath(path).is_relative_to(other):
                raise _fault(f"mounts.{path}", f"lies in another mount, {other!r}, which is not supported")
    return mounts


def _everywhere(file: _File, key: str) -> Iterator[tuple[str, object, object]]:
    """What the application, and then each worker, has below this key: the key's path, a name, and its content."""
    for path in (key, *(f"workers.{worker}.{key}" for worker in _names(file, "workers"))):
        for name, said in file.mapping(path).items():
            yield path, name, said


def _names(file: _File, key: str) -> list[str]:
    """The names of the workers, or of the crons."""
    names = list(file.mapping(key))
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _fault(f"{key}.{name}", "use letters, digits, - and _ in its name")
    return names


def _workers(file: _File) -> Iterator[tuple[str, Worker]]:
    for name in _names(file, "workers"):
        path = f"workers.{name}"
        yield (
            name,
            Worker(
                start=file.text(f"{path}.commands.start", needed=True),
                pre_start=file.text(f"{path}.commands.pre_start") or None,
                environment=_environment(file, f"{path}.variables"),
            ),
        )


def _crons(file: _File, application: str) -> Iterator[tuple[str, Cron]]:
    where = _zone(file)
    for name in _names(file, "crons"):
        path = f"crons.{name}"
        spec = file.text(f"{path}.spec", needed=True)
        try:
            found = schedule.read(spec, f"{application} {name}")
        except ValueError as exc:
            raise _fault(f"{path}.spec", str(exc)) from exc
        if schedule.after(found, 0.0, where) is None:
            raise _fault(f"{path}.spec", "there is no such day")
        legacy = file.text(f"{path}.cmd")
        limit = file.get(f"{path}.timeout")
        if limit is not None and (type(limit) is not int or not 0 < limit <= LONGEST_RUN):
            raise _fault(f"{path}.timeout", f"a whole number of seconds from 1 to {LONGEST_RUN} is expected here")
        yield (
            name,
            Cron(
                schedule=spec,
                start=legacy or file.text(f"{path}.commands.start", needed=True),
                stop=file.text(f"{path}.commands.stop") or None,
                limit=limit if isinstance(limit, int) else LONGEST_RUN,
            ),
        )


def _zone(file: _File) -> tzinfo:
    try:
        return schedule.zone(file.text("timezone") or None)
    except ValueError as exc:
        raise _fault("timezone", str(exc)) from exc


def _dependencies(file: _File) -> dict[str, dict[str, str]]:
    """The tools for the build: {"python3" | "nodejs": {package: version}}. The version "*" is any version."""
    found: dict[str, dict[str, str]] = {}
    for language in ("python3", "nodejs"):
        for package, version in file.mapping(f"dependencies.{language}").items():
            key = f"dependencies.{language}.{package}"
            if not isinstance(version, str):
                raise _fault(key, "write the version in quotes")
            if str(package).startswith("-") or version.startswith("-"):
                raise _fault(key, "this is not a package and its version")
            found.setdefault(language, {})[str(package)] = version
    return found


def _environment(file: _File, path: str) -> dict[str, str]:
    """`env` below this key, as environment variables. What isn't text becomes JSON, as Upsun does it."""
    found: dict[str, str] = {}
    for name, value in file.mapping(f"{path}.env").items():
        said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        if not NAME.fullmatch(str(name)) or "\0" in said:
            raise _fault(f"{path}.env.{name}", "this can't be an environment variable")
        found[str(name)] = said
    return found


def _other_variables(file: _File) -> dict[str, Any]:
    """All variables but `env`, as `prefix:name`."""
    others: dict[str, Any] = {}
    for prefix, below in file.mapping("variables").items():
        if not isinstance(below, dict):
            raise _fault(f"variables.{prefix}", "a mapping is expected here")
        if prefix != "env":
            others.update({f"{prefix}:{name}": value for name, value in below.items()})
    try:
        found: dict[str, Any] = json.loads(json.dumps(others, default=str))  # as JSON will give it back
    except (TypeError, ValueError) as exc:
        raise _fault("variables", f"this can't be written as JSON: {exc}") from exc
    return found


def _warnings(file: _File) -> tuple[str, ...]:
    said: list[str] = []
    for key in file.content:
        below = _SUPPORTED.get(key, ())
        if key not in _SUPPORTED:
            said.append(f"{key}: not supported, ignored")
        elif below is not None:
            said += [f"{key}.{name}: not supported, ignored" for name in file.mapping(key) if name not in below]
    for path, known in _SUPPORTED_BELOW.items():
        said += [f"{path}.{name}: not supported, ignored" for name in file.mapping(path) if name not in known]
    if "php" in file.mapping("variables"):
        said.append("variables.php: PHP is not set up by them; they are in PLATFORM_VARIABLES alone")
    for above, place, mount in _everywhere(file, "mounts"):
        if isinstance(mount, dict) and mount.get("source") not in ("local", "tmp", None):
            said.append(f"{above}.{place}.source: {mount['source']!r} is not supported, treated as local")
    return (*said, *_warnings_of_tasks(file))


def _warnings_of_tasks(file: _File) -> Iterator[str]:
    known = {
        **{f"workers.{name}": _IN_A_WORKER for name in file.mapping("workers")},
        **{f"workers.{name}.commands": ("start", "pre_start") for name in file.mapping("workers")},
        **{f"workers.{name}.variables": ("env",) for name in file.mapping("workers")},
        **{f"crons.{name}": _IN_A_CRON for name in file.mapping("crons")},
        **{f"crons.{name}.commands": ("start", "stop") for name in file.mapping("crons")},
    }
    for path, names in known.items():
        for name in file.mapping(path):
            if name not in names:
                yield f"{path}.{name}: not supported, ignored"


def warnings(application: Application, settings: ApplicationSettings) -> tuple[str, ...]:
    """A sentence for each key that is ignored, and for each relationship that the environment's settings lack."""
    missing = [name for name in application.relationships if name not in settings.relationships]
    return application.warnings + tuple(
        f"relationships.{name}: application.relationships in the environment's file has no such name"
        for name in missing
    )
