"""Where the web process of a generation listens: on its server's port, or on a unix socket of the generation's own.

Each generation has another socket, in a folder that only the process and its server's programs may enter. So a gate
that knows the socket of one generation never reaches another one.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import generations
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    Address = Union[int, str]
    """A port of 127.0.0.1, or the path of a unix socket."""

LONGEST = 103
"""Bytes of a socket's path: sockaddr_un has 108 on Linux and 104 on macOS, with the NUL at its end."""
_SHORT = Path("/tmp")  # noqa: S108 (the folder in it is private, and refused if it is somebody else's)
_PRIVATE = 0o700


def address(server: Path, name: str, port: int) -> Address:
    """Where the web process of a staged generation listens. Raises HostError where the generation isn't there."""
    return str(path(server, name)) if generations.read(server, name).runs.socket else port


def variables(server: Path, name: str, port: int) -> dict[str, str]:
    """The variable that tells the web process where to listen: SOCKET, or else PORT. Raises HostError as `address`."""
    found = address(server, name, port)
    return {"PORT": str(found)} if isinstance(found, int) else {"SOCKET": found}


def path(server: Path, name: str) -> Path:
    """The path of a generation's socket. Where it would be too long for a socket, its folder is below /tmp, and is
    named after the path that was too long."""
    own = server / "generations" / name / "web" / "socket"
    if len(os.fsencode(own)) <= LONGEST:
        return own
    return _SHORT / f"edgeguard-{hashlib.sha256(os.fsencode(own)).hexdigest()[:32]}" / own.name


def make_way(server: Path, name: str) -> None:
    """Make the socket's folder, and remove a socket that a process left which was killed. No process of the generation
    runs.

    Raises:
        HostError: the folder is somebody else's, or can't be written.
    """
    place = path(server, name)
    try:
        place.parent.mkdir(mode=_PRIVATE, exist_ok=True)
        with _opened(place.parent) as folder:
            found, home = os.fstat(folder), _owner(server, name)
            if found.st_uid not in (os.geteuid(), home.st_uid):
                raise _of_somebody_else(place.parent)
            os.fchmod(folder, _PRIVATE)
            if found.st_uid != home.st_uid and os.geteuid() == 0:
                os.fchown(folder, home.st_uid, home.st_gid)
            _remove_socket(folder, place.name)
    except NotADirectoryError as exc:
        raise _of_somebody_else(place.parent) from exc
    except OSError as exc:
        raise HostError(
            f"the socket {place} can't be made: {exc.strerror}", f"Give edgeguard's user the right to write to {place}."
        ) from exc


def _of_somebody_else(folder: Path) -> HostError:
    return HostError(f"{folder} belongs to somebody else", "Remove it, or choose a shorter cluster.root.")


def refuse_taken(port: int, option: str) -> None:
    """Raise HostError where another program listens on the application's port, which this option names."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        raise HostError(
            f"port {port} is in use by another program", f"End that program, or let {option} name another port."
        ) from exc


def remove(server: Path, name: str) -> None:
    """Remove a generation's socket with its folder. Nothing happens where there is none."""
    place = path(server, name)
    with suppress(OSError), _opened(place.parent) as folder:  # there is none
        _remove_socket(folder, place.name)
    with suppress(OSError):  # there is none, or it has other files, which go with the generation
        place.parent.rmdir()


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A folder, opened so that its user can't lead this process elsewhere by a link. Raises NotADirectoryError for
    anything else that stands there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_socket(folder: int, name: str) -> None:
    """Remove a socket, or a link in its place, if there is one."""
    with suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISSOCK(mode) or stat.S_ISLNK(mode):
            os.unlink(name, dir_fd=folder)


def _owner(server: Path, name: str) -> os.stat_result:
    """The generation's HOME, which belongs to the user whom the process runs as; its folder where it has none."""
    folder = server / "generations" / name
    home = folder / "home"
    return (home if home.is_dir() else folder).stat()
