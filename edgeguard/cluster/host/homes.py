"""HOME of a generation's processes on one server: a writable folder beside its variables, outside of the image.

It begins as a copy of the image's `home`, so whatever a build left in HOME is there. Servers and package managers write
into HOME when they start (gunicorn makes `~/.gunicorn`, npm `~/.npm`), and the image has to stay as it was built.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import files, generations, manifest, reserve

if TYPE_CHECKING:
    from edgeguard.cluster.host.account import Account
    from edgeguard.cluster.host.generations import Generation

_PRIVATE = 0o700


def seed(server: Path, generation: Generation) -> None:
    """Make the HOME of a generation that is staged on a server, whole or not at all. One that is there stays as it is.

    It belongs to the user as whom the generation runs.

    Raises:
        HostError: there is no such user here, or this process can't become it (NO_ACCOUNT).
        OSError: it can't be written, or the image can't be read.
    """
    owner = accounts.to_become(generation.runs.user)
    home = place(server, generation.name)
    if home.is_dir():
        return
    reserve.despite_full_disk(home, lambda: _seed(home, generation.image / "home", owner))


def _seed(home: Path, left: Path, owner: Account | None) -> None:
    fresh = home.with_name(".home.tmp")
    manifest.remove(fresh)
    if left.is_dir():
        shutil.copytree(left, fresh, symlinks=True, ignore=_special)
        manifest.unfreeze(fresh)
    else:
        fresh.mkdir()
    fresh.chmod(_PRIVATE)
    if owner is not None:
        _give(fresh, owner)
    fresh.rename(home)
    files.sync(home.parent)


def variables(server: Path, name: str) -> dict[str, str]:
    """HOME for the processes of a generation, unless an earlier version staged it, without a folder for it; and where
    it names a user, USER and LOGNAME."""
    home, user = place(server, name), generations.read(server, name).runs.user
    names = {} if user is None else {"USER": user, "LOGNAME": user}
    return {**({"HOME": str(home)} if home.is_dir() else {}), **names}


def place(server: Path, name: str) -> Path:
    """Where the HOME of a generation is on a server."""
    return server / "generations" / name / "home"


def _give(folder: Path, owner: Account) -> None:
    """Give a folder with all that it holds to a user. It is the last to be given, and private until then, so that this
    process finds nothing on its way that the user has put there. Links are given, not what they lead to."""
    for inside, folders, names in os.walk(folder, topdown=False):
        for name in (*folders, *names):
            os.lchown(Path(inside, name), owner.user, owner.group)
    os.lchown(folder, owner.user, owner.group)


def _special(folder: str, names: list[str]) -> list[str]:
    """The sockets, pipes and devices that a build left: a copy of one would be of no use."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if not (path.is_symlink() or path.is_file() or path.is_dir())]
