"""The secrets among the variables of generations that are on servers: these may be older than the environment's file.

Whoever finishes or undoes a deploy prints what that generation's processes wrote, and a password may have been changed
since it was staged.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files, generations
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_NO_SECRETS = ("HOME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "UV_PYTHON")
"""Variables of `process_variables.runtime` that edgeguard makes itself, like most that begin with PLATFORM_."""


def on_servers(servers: Iterable[Path]) -> Iterator[str]:
    """The secrets of every generation in these folders. What can't be read is left out: other calls tell of it."""
    seen: set[str] = set()
    for server in servers:
        for name in set(generations.names(server)) - seen:
            try:
                variables = generations.variables(server, name)
                release = files.read(server / "generations" / name / "image" / "release.json") or {}
                yield from of(variables, release.get("application") or {})
            except (HostError, ValueError, TypeError, AttributeError, OSError):
                continue
            seen.add(name)


def of(variables: Mapping[str, str], application: Mapping[str, Any]) -> Iterator[str]:
    """The secrets among variables: those that the application's own file, as a release has it, doesn't have.

    Raises:
        ValueError, TypeError, AttributeError: `process_variables.runtime` made no such variables.
    """
    own = [application.get(key) or {} for key in ("environment", "variables")]
    shown = {str(value) for table in own for value in table.values()}
    listed, relationships = (_decoded(variables.get(f"PLATFORM_{name}", "")) for name in ("VARIABLES", "RELATIONSHIPS"))
    yield variables.get("PLATFORM_PROJECT_ENTROPY", "")
    for name, value in (*variables.items(), *listed.items()):
        if (
            isinstance(value, str)
            and value not in shown
            and not name.startswith("PLATFORM_")
            and name not in _NO_SECRETS
        ):
            yield value
    for ends in relationships.values():
        yield from (end.get("password") or "" for end in ends)


def _decoded(said: str) -> dict[str, Any]:
    """The content that `process_variables.encoded` wrote; empty where there is none."""
    content: dict[str, Any] = json.loads(base64.b64decode(said) or "{}")
    return content
