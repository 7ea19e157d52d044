"""An application as one of its repository's files describes it, in the form of managed clusters.

Each key means what Upsun (Platform.sh) documents. `choice` finds the file, and `unsupported` says what becomes of the
keys that are not read here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import schedule
from edgeguard.errors import UsageError
from edgeguard.release import unsupported
from edgeguard.release.application import LONGEST_RUN, Application, Cron, Worker
from edgeguard.release.process_variables import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from edgeguard.settings import ApplicationSettings

FILE = ".platform.app.yaml"
LANGUAGES = ("python", "nodejs")
_MOUNTS = ("local", "tmp", "temporary", "storage", "instance", "service")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""What names an application, a worker or a cron: units and files are named after them."""


def parse(text: str | bytes, *, include: Callable[[str], bytes | None] = lambda _: None) -> Application:
    """The application that a file of its own describes. `include` returns a file of the tree, for the tag `!include`.

    Raises:
        UsageError: the file isn't YAML, lacks a key that is needed, or has a key that can't be used.
    """
    return described(content(text, FILE, include), FILE)


def content(text: str | bytes, file: str, include: Callable[[str], bytes | None]) -> object:
    """The content of this file of the tree. Raises UsageError where it isn't YAML."""
    from edgeguard.release import strict_yaml  # noqa: PLC0415 (12 ms, and most commands need only what an image says)

    try:
        return strict_yaml.Reader(include).read(text)
    except strict_yaml.Fault as exc:
        raise UsageError(f"{file}: {exc}", "Correct the file and commit it.") from exc


def described(
    said: object, place: str, *, name: str | None = None, root: str = "", ignore: Sequence[str] = ()
) -> Application:
    """The application that `said` describes; `place`, its file, names it in messages.

    `name` and `root` hold where `said` has none: its key in a file of several, and the folder of its own file. `ignore`
    has keys that would be refused, and that somebody else takes care of.

    Raises:
        UsageError: a key that is needed is missing, or a key can't be used.
    """
    if not isinstance(said, dict):
        raise UsageError(f"{place} has no keys", "It needs at least name, type and web.commands.start.")
    file = _File(said, place)
    file.mapping("web.locations")
    name = file.text("name", needed=name is None) or name or ""
    if not _NAME.fullmatch(name):
        raise file.fault("name", "use letters, digits, - and _")
    refused, ignored = unsupported.keys(said)
    wanted = [fault for fault in refused if not any(f"{fault.path}.".startswith(f"{key}.") for key in ignore)]
    kind = _type(file)
    if wanted:
        raise UsageError(
            f"{place}: {wanted[0].path}: {wanted[0].said}",
            f"{wanted[0].remedy}; or name it in application.ignore, where that is done already.",
        )
    return Application(
        name=name,
        type=kind,
        start=file.text("web.commands.start", needed=True),
        pre_start=file.text("web.commands.pre_start") or None,
        post_start=file.text("web.commands.post_start") or None,
        socket=_socket(file),
        root=file.inside(file.text("source.root"), "source.root") if file.get("source.root") is not None else root,
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
        warnings=(*ignored, *(f"{fault.path}: ignored, as application.ignore says" for fault in refused)),
    )


def _type(file: _File) -> str:
    """The type and its version. It is looked at first: with a type that can't be built, no other key helps."""
    if file.get("stack") is not None:
        raise file.fault("stack", "composable images are not supported; name one language in type")
    found, flavor = file.text("type", needed=True), file.text("build.flavor") or "default"
    if flavor not in ("none", "default"):
        raise file.fault("build.flavor", f"{flavor!r} is not supported; use none, and build in hooks.build")
    if found.partition(":")[0] not in LANGUAGES and flavor != "none":
        raise file.fault(
            "type",
            f"there is no default build for {found!r}; install what it needs on the servers and the machine that "
            "builds, set build.flavor to none, and build in hooks.build",
        )
    return found


@dataclass(frozen=True)
class _File:
    """One application's part of the parsed YAML, read by dotted paths. `place` names it in messages."""

    content: Mapping[Any, Any]
    place: str

    def fault(self, path: str, said: str) -> UsageError:
        """What to raise where this key can't be used."""
        return UsageError(f"{self.place}: {path}: {said}", "Correct the file and commit it.")

    def get(self, path: str) -> object:
        found: object = self.content
        walked: list[str] = []
        for key in path.split("."):
            if found is None:
                return None
            if not isinstance(found, dict):
                raise self.fault(".".join(walked), "a mapping is expected here")
            walked.append(key)
            found = found.get(key)
        return found

    def text(self, path: str, *, needed: bool = False) -> str:
        found = self.get(path)
        if found is None and needed:
            raise self.fault(path, "this key is missing")
        if not isinstance(found, str | None) or "\0" in (found or ""):
            raise self.fault(path, "text is expected here")
        if needed and not (found or "").strip():
            raise self.fault(path, "this key is empty")
        return (found or "").strip()

    def mapping(self, path: str) -> Mapping[Any, Any]:
        found = self.get(path)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self.fault(path, "a mapping is expected here")
        return found

    def inside(self, path: str, key: str) -> str:
        """A path below the folder that it is relative to, without slashes at its ends."""
        plain = PurePosixPath("/", path).relative_to("/")
        if ".." in plain.parts:
            raise self.fault(key, f"{path!r} leads out of the application")
        return "" if plain == PurePosixPath() else str(plain)


def _socket(file: _File) -> bool:
    """Whether the web process listens on a unix socket, and is asked over HTTP there."""
    protocol = file.text("web.upstream.protocol")
    if protocol not in ("", "http"):
        raise file.fault("web.upstream.protocol", f"{protocol!r} is not supported; use http")
    family = file.text("web.upstream.socket_family")
    if family not in ("", "tcp", "unix"):
        raise file.fault("web.upstream.socket_family", f"{family!r} is neither tcp nor unix")
    return family == "unix"


def _mounts(file: _File) -> dict[str, str]:
    """Map each mount's folder to its place in the store of mounts (`source_path`, or else the same path). Workers run
    in the application's own tree, so theirs are beside the others."""
    mounts: dict[str, str] = {}
    for above, place, said in _everywhere(file, "mounts"):
        key = f"{above}.{place}"
        path = file.inside(str(place), key)
        if not path:
            raise file.fault(key, "a mount can't replace the application's root")
        source = _source(file, key, said)
        found = path if source is None else file.inside(source, f"{key}.source_path")
        if mounts.setdefault(path, found) != found:
            raise file.fault(key, f"another mount of this folder has the place {mounts[path]!r}")
    for path in mounts:
        for other in mounts:
            if other != path and PurePosixPath(path).is_relative_to(other):
                raise file.fault(f"mounts.{path}", f"lies in another mount, {other!r}, which is not supported")
    return mounts


def _source(file: _File, key: str, said: object) -> str | None:
    """The place that a mount names in the store, if it names one. The older form is `shared:files/<place>`."""
    if isinstance(said, str) and said.startswith("shared:files"):
        return said.removeprefix("shared:files")
    if not isinstance(said, dict):
        raise file.fault(key, "a mapping with source and source_path is expected here")
    if said.get("source", "local") not in _MOUNTS:
        raise file.fault(f"{key}.source", f"{said['source']!r} is none of {', '.join(_MOUNTS)}")
    place = said.get("source_path")
    if not isinstance(place, str | None):
        raise file.fault(f"{key}.source_path", "text is expected here")
    return place


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
            raise file.fault(f"{key}.{name}", "use letters, digits, - and _ in its name")
    return names


def _workers(file: _File) -> Iterator[tuple[str, Worker]]:
    for name in _names(file, "workers"):
        path = f"workers.{name}"
        yield (
            name,
            Worker(
                start=file.text(f"{path}.commands.start", needed=True),
                pre_start=file.text(f"{path}.commands.pre_start") or None,
                post_start=file.text(f"{path}.commands.post_start") or None,
                stop=file.text(f"{path}.commands.stop") or None,
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
            raise file.fault(f"{path}.spec", str(exc)) from exc
        if schedule.after(found, 0.0, where) is None:
            raise file.fault(f"{path}.spec", "there is no such day")
        legacy = file.text(f"{path}.cmd")
        limit = file.get(f"{path}.timeout")
        if limit is not None and (type(limit) is not int or not 0 < limit <= LONGEST_RUN):
            raise file.fault(f"{path}.timeout", f"a whole number of seconds from 1 to {LONGEST_RUN} is expected here")
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
        raise file.fault("timezone", str(exc)) from exc


def _dependencies(file: _File) -> dict[str, dict[str, str]]:
    """The tools for the build: {"python3" | "nodejs": {package: version}}. The version "*" is any version."""
    found: dict[str, dict[str, str]] = {}
    for language in ("python3", "nodejs"):
        for package, version in file.mapping(f"dependencies.{language}").items():
            key = f"dependencies.{language}.{package}"
            if not isinstance(version, str):
                raise file.fault(key, "write the version in quotes")
            if str(package).startswith("-") or version.startswith("-"):
                raise file.fault(key, "this is not a package and its version")
            found.setdefault(language, {})[str(package)] = version
    return found


def _environment(file: _File, path: str) -> dict[str, str]:
    """`env` below this key, as environment variables. What isn't text becomes JSON, as Upsun does it."""
    found: dict[str, str] = {}
    for name, value in file.mapping(f"{path}.env").items():
        said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        if not NAME.fullmatch(str(name)) or "\0" in said:
            raise file.fault(f"{path}.env.{name}", "this can't be an environment variable")
        found[str(name)] = said
    return found


def _other_variables(file: _File) -> dict[str, Any]:
    """All variables but `env`, as `prefix:name`."""
    others: dict[str, Any] = {}
    for prefix, below in file.mapping("variables").items():
        if not isinstance(below, dict):
            raise file.fault(f"variables.{prefix}", "a mapping is expected here")
        if prefix != "env":
            others.update({f"{prefix}:{name}": value for name, value in below.items()})
    try:
        found: dict[str, Any] = json.loads(json.dumps(others, default=str))  # as JSON will give it back
    except (TypeError, ValueError) as exc:
        raise file.fault("variables", f"this can't be written as JSON: {exc}") from exc
    return found


def warnings(application: Application, settings: ApplicationSettings) -> tuple[str, ...]:
    """A sentence for each key that is ignored, and for each relationship that the environment's settings lack."""
    missing = [name for name in application.relationships if name not in settings.relationships]
    return application.warnings + tuple(
        f"relationships.{name}: application.relationships in the environment's file has no such name"
        for name in missing
    )
