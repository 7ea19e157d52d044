"""The environment variables of an application's processes, as managed clusters give them."""

from __future__ import annotations

import base64
import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from edgeguard.errors import UsageError
from edgeguard.release import given

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeguard.release.application import Application, Worker
    from edgeguard.settings import ApplicationSettings

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MACHINE = "machine"
"""The folder of a toolchain with this machine's package managers, on PATH behind the toolchain's `bin`.

They are not in `bin`, since `npm install --global npm` refuses to replace a file there. `corepack enable` writes beside
the corepack that PATH finds first: here, instead of beside the machine's own.
"""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What can be an environment variable."""
MOST = 1 << 20
"""Bytes of all variables of a process. The kernel has 2 MiB for them and for the command's arguments, where a stack may
have 8 MiB, as by default (execve(2))."""


def runtime(
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
        UsageError: a variable's name, its length or a relationship's URL can't be used, or a value is not where the
            settings say. The message shows no values.
    """
    direct: dict[str, str] = {}
    listed: dict[str, Any] = dict(application.variables)
    for name, value in given.variables(settings).items():
        prefix, _, rest = name.partition(":")
        if prefix != "env":
            listed[name] = value
        elif NAME.fullmatch(rest) and "\0" not in value:
            direct[rest.upper()] = value
        else:
            raise UsageError(
                f"application.variables: {name!r} can't be an environment variable",
                "After env: use letters, digits and _.",
            )
    found = {
        "LANG": "C.UTF-8",
        **interpreter(application, image),
        "PYTHONDONTWRITEBYTECODE": "1",  # the tree is read-only by its mode bits, but root could write all the same
        **application.environment,
        **direct,
        "HOME": str(image / "home"),
        "PATH": search_path(image),
        "PLATFORM_APPLICATION": encoded(described(application)),
        "PLATFORM_APPLICATION_NAME": application.name,
        "PLATFORM_APP_DIR": str(application.folder(image)),
        "PLATFORM_BRANCH": branch,
        "PLATFORM_ENVIRONMENT": environment,
        "PLATFORM_PROJECT_ENTROPY": entropy,
        "PLATFORM_ROUTES": encoded(_routes(application, front_door)),
        "PLATFORM_TREE_ID": tree,
        "PLATFORM_VARIABLES": encoded(listed),
        "PLATFORM_RELATIONSHIPS": encoded(
            {name: [_endpoint(name, url)] for name, url in given.relationships(settings).items()}
        ),
    }
    _refuse_too_long(found)
    return found


def _refuse_too_long(variables: Mapping[str, str]) -> None:
    """Refuse what no process can be given. In the form of `surrogateescape`, a byte that is no UTF-8 counts as one."""
    sizes = {name: len(name) + len(os.fsencode(value)) + 2 for name, value in variables.items()}
    for name, size in sizes.items():
        if size > given.LONGEST:
            raise UsageError(
                f"the variable {name} is too long: no process can be given more than {given.LONGEST} bytes of one",
                "Put what is long into a file in a mount, or take variables out of PLATFORM_VARIABLES.",
            )
    if sum(sizes.values()) > MOST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise UsageError(
            f"the variables have more than {MOST} bytes together, and {largest} is the longest one",
            "Put what is long into files in a mount.",
        )


def of_worker(worker: Worker, settings: ApplicationSettings) -> dict[str, str]:
    """The variables that a worker has before those of `runtime`, which the settings and PLATFORM_ names go before."""
    above = {
        rest.upper() for prefix, _, rest in (name.partition(":") for name in settings.variables) if prefix == "env"
    }
    found = {
        name: value
        for name, value in worker.environment.items()
        if name not in (*above, "HOME", "PATH") and not name.startswith("PLATFORM_")
    }
    _refuse_too_long(found)
    return found


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


def described(application: Application) -> dict[str, Any]:
    """What PLATFORM_APPLICATION says, in builds and at run time: the keys of the application's file that scripts ask
    for. Commands are left out, since a process can't be given long variables."""
    return {
        "name": application.name,
        "type": application.type,
        "source": {"root": f"/{application.root}"},
        "dependencies": {language: dict(packages) for language, packages in application.dependencies.items()},
        "mounts": {place: {"source": "local", "source_path": to} for place, to in application.mounts.items()},
        "relationships": list(application.relationships),
        "workers": list(application.workers),
        "crons": {name: {"spec": cron.schedule} for name, cron in application.crons.items()},
    }


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
