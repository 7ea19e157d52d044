"""A server's generations: folders that are ready before the close.

Each has `image` (a link to the frozen image), `variables.json` (mode 0600) and `generation.json`: {"release", "cwd",
"start": argv, "hooks": {name: argv}}. `current` is a link to one generation, so one rename changes image and variables
together.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import host
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.cluster import Generation

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def read(folder: Path) -> dict[str, Any]:
    """The content of a generation's generation.json.

    Raises:
        ClusterError: there is no such generation.
    """
    found = host.read(folder / "generation.json")
    if found is None:
        raise ClusterError(f"{folder} is not there: this generation was never staged, or was pruned", "Deploy again.")
    return found


def find(server: Path, name: str) -> tuple[str, Path] | None:
    """The release and the image of a generation on a server; None where it isn't staged."""
    folder = server / "generations" / name
    found = host.read(folder / "generation.json")
    return None if found is None else (str(found["release"]), (folder / "image").readlink())


def variables(folder: Path) -> dict[str, str]:
    """The environment of a generation's processes, without the variables that differ between servers. It is secret."""
    return host.read(folder / "variables.json") or {}


def current(server: Path) -> str | None:
    """The name of the generation that is current on a server; None where there is none."""
    try:
        return (server / "current").readlink().name
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ClusterError(f"{server / 'current'} is not a link", "Something else put it there; move it away.") from exc


def put(server: Path, generation: Generation, runs: dict[str, Any]) -> None:
    """Write a generation beside the others, whole or not at all. If the same one is there already, it is left alone."""
    if not _NAME.fullmatch(generation.name):
        raise ClusterError(f"{generation.name!r} can't name a generation", "Use letters, digits, - and _.")
    folder = server / "generations" / generation.name
    if host.read(folder / "generation.json") == runs and variables(folder) == generation.variables:
        return
    if current(server) == generation.name:
        raise ClusterError(
            f"{server.name}: {generation.name} is current and can't be staged again with another content",
            "Stage it under another name.",
        )
    fresh = folder.with_name(f".{generation.name}.tmp")
    for old in (fresh, folder):
        if old.exists():
            shutil.rmtree(old)
    fresh.mkdir(parents=True)
    (fresh / "image").symlink_to(generation.image)
    host.write(fresh / "variables.json", generation.variables, mode=0o600)
    host.write(fresh / "generation.json", runs)
    fresh.rename(folder)
    host.sync(folder.parent)


def prepare_link(server: Path, name: str) -> None:
    """Make the link that `make_current` renames. Raises ClusterError if something else is at its place."""
    fresh = server / "current.next"
    try:
        if fresh.is_symlink():
            fresh.unlink()
        fresh.symlink_to(f"generations/{name}")
    except OSError as exc:
        raise ClusterError(
            f"{server.name}: {fresh} can't be made: {exc.strerror}", f"Move away what is at {fresh}."
        ) from exc


def make_current(server: Path, name: str | None) -> None:
    """Make a generation current by a rename, durably; `prepare_link` comes before. With None, none is current."""
    try:
        if name is None:
            (server / "current").unlink(missing_ok=True)
        else:
            (server / "current.next").replace(server / "current")
        host.sync(server)
    except OSError as exc:
        raise ClusterError(
            f"{server.name}: {server / 'current'} can't be changed: {exc.strerror}",
            f"Move away what is at {server / 'current'}.",
        ) from exc


def names(server: Path) -> list[str]:
    """Every generation that is staged on a server."""
    folder = server / "generations"
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def remove(server: Path, name: str) -> None:
    """Remove a generation. If this is interrupted, the generation is gone already, and only files are left."""
    folder = server / "generations" / name
    gone = folder.with_name(f".{name}.gone")
    if gone.exists():
        shutil.rmtree(gone)
    folder.rename(gone)
    shutil.rmtree(gone)
