"""What a step is told of its generation: environment variables, and for `stage` private files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from edgeguard.cluster.host import generations
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgeguard.cluster import Generation

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def of(generation: Generation) -> dict[str, str]:
    """The facts that are no secrets. Those that are lists are words that a shell can read (`eval`)."""
    return {
        "GENERATION": generation.name,
        "RELEASE": generation.release,
        "IMAGE": str(generation.image),
        "CWD": str(generation.runs.folder),
        "LISTENS_ON": "SOCKET" if generation.runs.socket else "PORT",
        "START": shlex.join(generation.runs.start),
        "MOUNTS": shlex.join(map(str, generation.runs.folders)),
    }


@contextmanager
def private(root: Path, generation: Generation) -> Iterator[dict[str, str]]:
    """The facts of `stage`: DESCRIPTION, VARIABLES and COPY_OF. The first two are files that only this user can read,
    and that are gone after the step. A copy has no VARIABLES, since only the servers know the values."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(".stage-*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(mkdtemp(prefix=".stage-", dir=root))
    try:
        description, variables = folder / "description.json", folder / "variables"
        said = {**generations.description(generation), "image": str(generation.image)}
        description.write_text(json.dumps(said) + "\n", encoding="utf-8")
        told = {"DESCRIPTION": str(description), "COPY_OF": generation.copy_of or "", "VARIABLES": ""}
        if generation.copy_of is None:
            variables.touch(mode=0o600)
            variables.write_bytes(_for_a_shell(generation.variables))
            told["VARIABLES"] = str(variables)
        yield told
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _for_a_shell(variables: Mapping[str, str]) -> bytes:
    """A file that any POSIX shell can source, whatever the values hold."""
    for name in variables:
        if not _VARIABLE.fullmatch(name):
            raise ClusterError(f"no shell can set the variable {name!r}", "Name it with letters, digits and _.")
    return b"".join(os.fsencode(f"export {name}={shlex.quote(value)}\n") for name, value in variables.items())
