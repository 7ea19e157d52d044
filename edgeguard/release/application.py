"""The application's file: `.platform.app.yaml` at the root of its repository, in the form of managed clusters.

Each key means what Upsun (Platform.sh) documents. `warnings` names every key that isn't supported, by its path; none
is dropped silently.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeguard.settings import ApplicationSettings

FILE = ".platform.app.yaml"
LANGUAGES = ("python", "nodejs")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MACHINE = "machine"
"""The folder of a toolchain with this machine's package managers, on PATH behind the toolchain's `bin`.

They are not in `bin`, since `npm install --global npm` refuses to replace a file there. `corepack enable` writes beside
the corepack that PATH finds first: here, instead of beside the machine's own.
"""

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
}
_SUPPORTED_BELOW = {"web.commands": ("start", "pre_start"), "web.upstream": ("socket_family", "protocol")}
_LATER = {
    "crons": "crons: not started yet, ignored",
    "workers": "workers: not started yet, ignored",
}
# For `sh`, a byte order mark would be part of the first command's name.
_READ_ENVIRONMENT = r"""if [ -f ./.environment ]; then
if (IFS= read -r line <./.environment; case $line in "$(printf '\357\273\277')"*) ;; *) exit 1 ;; esac); then
. /dev/stdin <<END
$(tail -c +4 ./.environment)
END
else . ./.environment; fi; fi
"""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("name", "type", "start", "root", "flavor"), str),
    "pre_start": str | None,
    "socket": bool,
    **dict.fromkeys(("dependencies", "hooks", "mounts", "environment", "variables"), dict),
    **dict.fromkeys(("relationships", "warnings"), list),
}


@dataclass(frozen=True)
class Application:
    """The application's file, checked.

    `root` is the application's folder in the tree ("" is the tree's own root). `mounts` maps a folder below `root` to
    its place in the environment's store of mounts. `environment` is `variables.env`; `variables` has all others, named
    `prefix:name`. `hooks` has only the hooks that the file defines. With `socket`, the web process listens on a unix
    socket.
    """

    name: str
    type: str
    start: str
    pre_start: str | None = None
    socket: bool = False
    root: str = ""
    flavor: str = "default"
    dependencies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hooks: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    relationships: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """The type without its version: `python` of `python:3.12`."""
        return self.type.partition(":")[0]

    @property
    def launch(self) -> str:
        """The command that runs a server: `pre_start`, and then `start` if `pre_start` succeeded."""
        return self.start if self.pre_start is None else f"(\n{self.pre_start}\n) || exit\n{self.start}"

    def folder(self, image: Path) -> Path:
        """The application's root in an image: where its commands run."""
        return image / "app" / self.root

    def to_json(self) -> dict[str, Any]:
        """The application as JSON can hold it; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Application:
        """The reverse of `to_json`. Raises KeyError and TypeError where no `to_json` made it."""
        if strange := [
            name for name, kind in _KINDS.items() if name in content and not isinstance(content[name], kind)
        ]:
            raise TypeError(f"{strange[0]} is none")
        for name in ("hooks", "mounts", "environment", "relationships", "warnings"):
            values = content[name].values() if isinstance(content[name], dict) else content[name]
            if not all(isinstance(value, str) for value in values):
                raise TypeError(f"{name} has a value that is no text")
        sequences = {name: tuple(content[name]) for name in ("relationships", "warnings")}
        return cls(**{**content, **sequences})


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
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise _fault("name", "use letters, digits, - and _")
    environment, variables = _variables(file)
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
        environment=environment,
        variables=variables,
        relationships=tuple(str(relationship) for relationship in file.mapping("relationships")),
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
    """Map each mount's folder to its place in the store of mounts (`source_path`, or else the same path)."""
    mounts: dict[str, str] = {}
    for place, said in file.mapping("mounts").items():
        key = f"mounts.{place}"
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
        mounts[path] = path if source is None else _inside(source, f"{key}.source_path")
    for path in mounts:
        for other in mounts:
            if other != path and PurePosixPath(path).is_relative_to(other):
                raise _fault(f"mounts.{path}", f"lies in another mount, {other!r}, which is not supported")
    return mounts


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


def _variables(file: _File) -> tuple[dict[str, str], dict[str, Any]]:
    """`variables.env` as environment variables, and all others as `prefix:name`.

    An environment variable that isn't text becomes JSON, as Upsun does it.
    """
    environment: dict[str, str] = {}
    others: dict[str, Any] = {}
    for prefix, below in file.mapping("variables").items():
        if not isinstance(below, dict):
            raise _fault(f"variables.{prefix}", "a mapping is expected here")
        for name, value in below.items():
            if prefix != "env":
                others[f"{prefix}:{name}"] = value
                continue
            said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
            if not _VARIABLE.fullmatch(str(name)) or "\0" in said:
                raise _fault(f"variables.env.{name}", "this can't be an environment variable")
            environment[str(name)] = said
    try:
        return environment, json.loads(json.dumps(others, default=str))  # as JSON will give it back
    except (TypeError, ValueError) as exc:
        raise _fault("variables", f"this can't be written as JSON: {exc}") from exc


def _warnings(file: _File) -> tuple[str, ...]:
    said: list[str] = []
    for key, value in file.content.items():
        below = _SUPPORTED.get(key, ())
        if key not in _SUPPORTED:
            said.append(f"{key}: not supported, ignored")
        elif below is not None:
            said += [f"{key}.{name}: not supported, ignored" for name in file.mapping(key) if name not in below]
        if key in _LATER and value:
            said.append(_LATER[key])
    for path, known in _SUPPORTED_BELOW.items():
        said += [f"{path}.{name}: not supported, ignored" for name in file.mapping(path) if name not in known]
    for place, mount in file.mapping("mounts").items():
        if isinstance(mount, dict) and mount.get("source") not in ("local", "tmp", None):
            said.append(f"mounts.{place}.source: {mount['source']!r} is not supported, treated as local")
    return tuple(said)


def warnings(application: Application, settings: ApplicationSettings) -> tuple[str, ...]:
    """A sentence for each key that is ignored, and for each relationship that the environment's settings lack."""
    missing = [name for name in application.relationships if name not in settings.relationships]
    return application.warnings + tuple(
        f"relationships.{name}: application.relationships in the environment's file has no such name"
        for name in missing
    )


def shell(command: str) -> list[str]:
    """The argv that runs a command of the application in `sh`. Its `.environment`, if it has one, is read before.

    The working directory must be the application's root. `sh` stays the parent of the command, so signals have to go
    to the process group.
    """
    return ["sh", "-c", f"{_READ_ENVIRONMENT}{command}"]


def runtime_variables(
    application: Application,
    *,
    settings: ApplicationSettings,
    environment: str,
    branch: str,
    tree: str,
    image: Path,
    front_door: str,
    entropy: str,
) -> dict[str, str]:
    """The environment of the application's processes, without the variables that differ between servers.

    Those are PORT or SOCKET, EDGEGUARD_SERVER and HOME; the HOME here is the image's, for servers that have none of
    their own. A variable named `env:NAME` in the settings becomes the environment variable NAME (in capitals); others
    are in PLATFORM_VARIABLES only. The settings override the application's file, and nothing overrides the PLATFORM_
    names (Upsun: development/variables).

    Raises:
        UsageError: a variable's name or a relationship's URL can't be used. The message shows no values.
    """
    direct: dict[str, str] = {}
    listed: dict[str, Any] = dict(application.variables)
    for name, value in settings.variables.items():
        prefix, _, rest = name.partition(":")
        if prefix != "env":
            listed[name] = value
        elif _VARIABLE.fullmatch(rest) and "\0" not in value:
            direct[rest.upper()] = value
        else:
            raise UsageError(
                f"application.variables: {name!r} can't be an environment variable",
                "After env: use letters, digits and _.",
            )
    return {
        "LANG": "C.UTF-8",
        **interpreter(application, image),
        "PYTHONDONTWRITEBYTECODE": "1",  # the tree is read-only by its mode bits, but root could write all the same
        **application.environment,
        **direct,
        "HOME": str(image / "home"),
        "PATH": search_path(image),
        "PLATFORM_APPLICATION_NAME": application.name,
        "PLATFORM_APP_DIR": str(application.folder(image)),
        "PLATFORM_BRANCH": branch,
        "PLATFORM_ENVIRONMENT": environment,
        "PLATFORM_PROJECT_ENTROPY": entropy,
        "PLATFORM_ROUTES": encoded(_routes(application, front_door)),
        "PLATFORM_TREE_ID": tree,
        "PLATFORM_VARIABLES": encoded(listed),
        "PLATFORM_RELATIONSHIPS": encoded(
            {name: [_endpoint(name, url)] for name, url in settings.relationships.items()}
        ),
    }


def interpreter(application: Application, image: Path) -> dict[str, str]:
    """The variable by which uv takes the toolchain's Python, in builds and at run time. On PATH, uv passes over an
    interpreter of a virtual environment, as the toolchain's is, and takes another one that it finds."""
    if application.language != "python" and "python3" not in application.dependencies:
        return {}
    return {"UV_PYTHON": str(image / "toolchain" / "bin" / "python")}


def search_path(image: Path) -> str:
    """PATH in builds and at run time: the image's toolchain, and then the system's programs."""
    toolchain = image / "toolchain"
    return f"{toolchain / 'bin'}:{toolchain / MACHINE}:{SYSTEM_PATH}"


def encoded(content: Mapping[str, Any]) -> str:
    """Base64 of JSON: the form of the PLATFORM_ variables."""
    return base64.b64encode(json.dumps(content).encode()).decode()


def _routes(application: Application, front_door: str) -> dict[str, Any]:
    """The one route of an environment in the reference's form: its front door, which leads to this application.

    A user and a password in the URL are left out: they are for those who ask, and no part of the site's address.
    """
    parts = urlsplit(front_door)
    host = parts.netloc.rpartition("@")[2]
    route: dict[str, Any] = {
        "primary": True,
        "id": None,
        "attributes": {},
        "type": "upstream",
        "upstream": application.name,
        "original_url": f"{parts.scheme}://{{default}}/",
    }
    return {f"{parts.scheme}://{host}/": route}


def _endpoint(name: str, url: str) -> dict[str, Any]:
    """A relationship's endpoint in the reference's form, from a URL such as `postgresql://user:password@host:5432/main`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.scheme or not parts.hostname:
        raise UsageError(
            f"application.relationships.{name}: this is not a URL",
            "Write scheme://user:password@host:port/path.",
        )
    return {
        "rel": name,
        "service": name,
        "scheme": parts.scheme,
        "host": parts.hostname,
        "hostname": parts.hostname,
        "port": port,
        "username": None if parts.username is None else unquote(parts.username),
        "password": None if parts.password is None else unquote(parts.password),
        "path": unquote(parts.path.removeprefix("/")),
        "query": dict(parse_qsl(parts.query)),
        "fragment": parts.fragment or None,
    }
