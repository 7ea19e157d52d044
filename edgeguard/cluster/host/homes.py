"""HOME of a generation's processes on one server: a writable folder beside its variables, outside of the image.

It begins as a copy of the image's `home`, so whatever a build left in HOME is there. Servers and package managers write
into HOME when they start (gunicorn makes `~/.gunicorn`, npm `~/.npm`), and the image has to stay as it was built.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files, manifest

if TYPE_CHECKING:
    from edgeguard.cluster.host.generations import Generation

_PRIVATE = 0o700


def seed(server: Path, generation: Generation) -> None:
    """Make the HOME of a generation that is staged on a server, whole or not at all. One that is there stays as it is.

    Raises:
        OSError: it can't be written, or the image can't be read.
    """
    home = _place(server, generation.name)
    if home.is_dir():
        return
    fresh = home.with_name(".home.tmp")
    manifest.remove(fresh)
    left = generation.image / "home"
    if left.is_dir():
        shutil.copytree(left, fresh, symlinks=True, ignore=_special)
        manifest.unfreeze(fresh)
    else:
        fresh.mkdir()
    fresh.chmod(_PRIVATE)
    fresh.rename(home)
    files.sync(home.parent)


def variables(server: Path, name: str) -> dict[str, str]:
    """HOME for the processes of a generation; empty where an earlier version staged it, without a folder for it."""
    home = _place(server, name)
    return {"HOME": str(home)} if home.is_dir() else {}


def _place(server: Path, name: str) -> Path:
    return server / "generations" / name / "home"


def _special(folder: str, names: list[str]) -> list[str]:
    """The sockets, pipes and devices that a build left: a copy of one would be of no use."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not (path.is_symlink() or path.is_file() or path.is_dir())]
