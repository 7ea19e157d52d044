"""Which of a tree's files describes the application, and which application of several is meant.

Applications are described, as managed clusters have it, by each `.platform.app.yaml` (its folder is the application's),
by `.platform/applications.yaml` (several, as a list or by name), or by the files of `.upsun`, where `applications` maps
names to them. A tree with both forms is one that moves from one platform to the other, or that serves both: clusters of
servers of one's own belong to the first, so the files of `.upsun` are not read then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from posixpath import basename, dirname, join, normpath
from typing import TYPE_CHECKING, Any

from edgeguard.errors import UsageError
from edgeguard.release import application_file
from edgeguard.release.application_file import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeguard.release.application import Application
    from edgeguard.release.source import Source

SEVERAL = ".platform/applications.yaml"
UPSUN = ".upsun/config.yaml"
_UPSUN = re.compile(r"\.upsun/[^/]+\.ya?ml")
_ROUTES = ".platform/routes.yaml"


@dataclass(frozen=True)
class Described:
    """One application in a tree: its name, the file that describes it, and its part of that file.

    `root` is its folder where `said` names none. `warnings` are about keys of the file beside the applications.
    """

    name: str
    file: str
    said: Mapping[Any, Any]
    root: str = ""
    warnings: tuple[str, ...] = ()


def application(source: Source, name: str | None = None, ignore: Sequence[str] = ()) -> Application:
    """The application that this tree describes; of several the one with this name. `ignore` has keys of it that would
    be refused, and that somebody else takes care of.

    Raises:
        UsageError: there is none, or not this one, or not one alone; or its description can't be used.
    """
    chosen = find(source, name)
    found = application_file.described(chosen.said, chosen.file, name=chosen.name, root=chosen.root, ignore=ignore)
    if not source.has_folder(found.root):
        raise UsageError(
            f"{chosen.file}: source.root: the tree has no folder {found.root!r}", "Correct the file and commit it."
        )
    return replace(found, warnings=found.warnings + chosen.warnings)


def find(source: Source, name: str | None = None) -> Described:
    """The application that this tree describes, as its file has it; of several the one with this name.

    Raises:
        UsageError: a file isn't YAML of this form, or there is no such application, or not one alone.
    """
    there = _all(source, name)
    if not there:
        raise UsageError(
            f"{source.ref} of {source.folder} has no {FILE}, no {SEVERAL} and no {UPSUN}",
            f"Commit one, such as a {FILE} at the root of the repository with name, type and web.commands.start.",
        )
    names = sorted({one.name for one in there})
    wanted = [one for one in there if name in (None, one.name)]
    if not wanted:
        raise UsageError(
            f"there is no application {name!r} in this commit; it has {', '.join(names)}", "Correct application.name."
        )
    if len({one.name for one in wanted}) > 1:
        raise UsageError(
            f"this commit has several applications: {', '.join(names)}",
            "Choose one by application.name in the environment's file; each is an environment of its own.",
        )
    if len(wanted) > 1:
        files = " and ".join(one.file for one in wanted)
        raise UsageError(f"two applications have the name {wanted[0].name!r}, in {files}", "Rename one of them.")
    return wanted[0]


def files(paths: Sequence[str]) -> list[str]:
    """Those of these paths of a tree at which applications are described."""
    return [path for path in paths if basename(path) == FILE or path == SEVERAL or _UPSUN.fullmatch(path)]


def _all(source: Source, name: str | None) -> list[Described]:
    paths = source.paths()
    own = [path for path in paths if basename(path) == FILE]
    upsun = [path for path in paths if _UPSUN.fullmatch(path)]
    found = [_alone(source, path) for path in own]
    if SEVERAL in paths:
        found += _of_table(SEVERAL, _content(source, SEVERAL, name), ())
    if not found:
        return _of_upsun(source, upsun, name)
    read = ", ".join([*own, *([SEVERAL] if SEVERAL in paths else [])])
    passed_over = (f"{', '.join(upsun)}: not read, since there is {read}",) if upsun else ()
    routes = _routes(_content(source, _ROUTES, name)) if _ROUTES in paths else ()
    return [Described(one.name, one.file, one.said, one.root, (*passed_over, *routes)) for one in found]


def _alone(source: Source, path: str) -> Described:
    """The application of a `.platform.app.yaml`: where the file says nothing else, it is the folder of the file."""
    said = _content(source, path, None)
    if not isinstance(said, dict):
        raise UsageError(f"{path} has no keys", "It needs at least name, type and web.commands.start.")
    name = said.get("name")
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{path}: name: this key is missing, or no text", "Correct the file and commit it.")
    return Described(name.strip(), path, said, dirname(path))


def _of_table(path: str, said: object, warnings: tuple[str, ...]) -> Iterator[Described]:
    """The applications of a file of several: a list, or a mapping of names."""
    if isinstance(said, list):
        pairs: list[tuple[object, object]] = [(one.get("name") if isinstance(one, dict) else None, one) for one in said]
    elif isinstance(said, dict):
        pairs = [(one.get("name", name) if isinstance(one, dict) else name, one) for name, one in said.items()]
    else:
        raise UsageError(f"{path} has no applications", "Describe them there, as a list or by their names.")
    for number, (name, one) in enumerate(pairs, 1):
        if not isinstance(name, str) or not isinstance(one, dict):
            raise UsageError(f"{path}: application {number} has no name or no keys", "Correct the file and commit it.")
        yield Described(name.strip(), path, one, "", warnings)


def _of_upsun(source: Source, paths: Sequence[str], name: str | None) -> list[Described]:
    """The applications of the files of `.upsun`. Their three keys are one mapping each; a later file's name wins."""
    merged: dict[str, dict[Any, Any]] = {"applications": {}, "services": {}, "routes": {}}
    files: dict[str, str] = {}
    unknown = []
    for path in paths:
        said = _content(source, path, name)
        for key, below in (said if isinstance(said, dict) else {}).items():
            if key not in merged:
                unknown.append(f"{path}: {key}: not supported, ignored")
            elif not isinstance(below, dict | None):
                raise UsageError(f"{path}: {key}: a mapping is expected here", "Correct the file and commit it.")
            else:
                merged[key].update(below or {})
                files.update(dict.fromkeys(below or {}, path) if key == "applications" else {})
    services = ", ".join(str(service) for service in merged["services"])
    warnings = (
        *unknown,
        *(
            (f"services: {services}: application.relationships in the environment's file says where they are",)
            * bool(services)
        ),
        *_routes(merged["routes"]),
    )
    return [one for key, said in merged["applications"].items() for one in _of_table(files[key], {key: said}, warnings)]


def _routes(said: object) -> tuple[str, ...]:
    """A sentence on the routes that do something, since only the front door of the environment leads here."""
    routes = said.items() if isinstance(said, dict) else ()
    acting = [str(url) for url, route in routes if isinstance(route, dict) and route.get("type") == "redirect"]
    return (f"routes: redirects are the edge's to make, and these are ignored: {', '.join(acting)}",) * bool(acting)


def _content(source: Source, path: str, name: str | None) -> object:
    """What a file of the tree says. A path of `!include` is relative to the application's folder (Upsun:
    learn/overview/yaml), to that of the file, or to the tree.

    The folders are in the file that includes, so it is read once without what it includes.
    """
    text = source.read(path)
    if text is None:
        raise UsageError(f"{path} is no file", "Commit it as a file.")
    if b"!include" not in text:
        return application_file.content(text, path, lambda _: None)
    folders = dict.fromkeys((*_roots(application_file.content(text, path, lambda _: b""), name), dirname(path), ""))

    def include(said: str) -> bytes | None:
        for folder in folders:
            place = normpath(join("/", folder, said.lstrip("/") if said.startswith("/") else said)).lstrip("/")
            if (found := source.read(place)) is not None:
                return found
        return None

    return application_file.content(text, path, include)


def _roots(said: object, name: str | None) -> Iterator[str]:
    """The folders of the applications in a file, that of the chosen one first."""
    said = said.get("applications", said) if isinstance(said, dict) else said
    apart: list[tuple[object, object]] = []
    if isinstance(said, dict):
        apart = [(None, said), *said.items()]
    elif isinstance(said, list):
        apart = [(one.get("name") if isinstance(one, dict) else None, one) for one in said]
    for _, one in sorted(apart, key=lambda pair: pair[0] != name):
        source = one.get("source") if isinstance(one, dict) else None
        root = source.get("root") if isinstance(source, dict) else None
        if isinstance(root, str) and root.strip("/"):
            yield root.strip("/")
