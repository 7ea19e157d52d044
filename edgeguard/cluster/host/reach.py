"""Whether an account can reach what the application needs, tried as that account: `python ARCHIVE reach USER`.

Modes alone don't tell: access lists, mounts and the system's own rules have a say. So a process becomes the user, and
looks. Standard input has {"reads": [folders], "writes": [folders], "ports": [numbers]}; standard output gets {} or the
refusal's words.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import manifest, processes
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgeguard.cluster.host.account import Account

SECONDS = 300.0
"""Reading the names of an image's files takes no longer."""
_MARK = "EDGEGUARD_TRIAL"


def make(folders: Iterable[Path], account: Account | None) -> None:
    """Make the server's own folders that are missing. The account gets those that are made here, and empty ones of
    this process's user. A folder with content stays as it is: that is somebody's data.

    A folder inside of one of the account's is left to `refuse_unfit`, which makes it with the account's own rights: the
    account could lead this process elsewhere by a link.
    """
    for folder in folders:
        if account is None:
            folder.mkdir(parents=True, exist_ok=True)
        elif not _in_others_hands(folder.parent):
            manifest.make(folder)
            if folder.stat().st_uid == os.geteuid() and not any(folder.iterdir()):
                os.chown(folder, account.user, account.group)


def refuse_unfit(
    name: str, program: Sequence[str], *, reads: Sequence[Path], writes: Sequence[Path], ports: Sequence[int] = ()
) -> None:
    """Raise HostError where this user could not run an application that reads all of `reads` (folders of an image),
    reads and writes in the folders `writes`, and listens on `ports`; or where root could not see and end its processes.

    `program` is the argument vector that runs this package. Nothing happens where `name` is this process's own user.
    """
    if accounts.to_become(name) is None:
        return
    asked = json.dumps({"reads": list(map(str, reads)), "writes": list(map(str, writes)), "ports": list(ports)})
    try:
        ran = subprocess.run(
            [*program, "reach", name],
            input=asked.encode(),
            env={"PATH": os.defpath},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise HostError(
            f"trying the user {name} took more than {SECONDS:.0f} s", "Is this machine overloaded?"
        ) from exc
    if ran.returncode:
        last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise HostError(f"nobody can say whether the user {name} can run the application: {last}")
    said = json.loads(ran.stdout)
    if said:
        raise HostError(said["message"], said["remedy"])


def main(name: str) -> None:
    """Try, and write what is in the way."""
    asked = json.load(sys.stdin)
    said = {}
    try:
        account = accounts.to_become(name)
        if account is not None:
            _hold(account)
            accounts.become(account)
            os.umask(0o022)
            for folder in map(Path, asked["writes"]):
                _write(name, folder)
            for folder in map(Path, asked["reads"]):
                _read(name, folder)
            for port in asked["ports"]:
                _listen(name, port)
    except HostError as exc:
        said = {"message": exc.message, "remedy": exc.remedy}
    except OSError as exc:
        said = {"message": f"root can't become the user {name} here: {exc.strerror}", "remedy": _CAPABILITIES}
    json.dump(said, sys.stdout)


_CAPABILITIES = (
    "Give root its rights back (in a container: CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL and "
    "CAP_SYS_PTRACE), or take cluster.user out."
)


def _hold(account: Account) -> None:
    """Raise HostError where root can't see whose a process of this account is, or can't end it."""
    one = subprocess.Popen(
        ["/bin/sh", "-c", "read -r line"],  # it ends by itself when its input does
        env={_MARK: account.name},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **account.identity,
    )
    try:
        if processes.VISIBLE and processes.variable(one.pid, _MARK) != account.name:
            raise HostError(f"root can't see here which processes of the user {account.name} are whose", _CAPABILITIES)
        try:
            one.kill()
        except PermissionError:
            raise HostError(f"root can't end processes of the user {account.name} here", _CAPABILITIES) from None
    finally:
        one.communicate()


def _write(name: str, folder: Path) -> None:
    """Raise HostError unless this process, which is the user's, can write in a folder. It is made where it is missing
    and this user may."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    _enter(name, folder.parent, folder)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise HostError(
            f"the user {name} can't write in {folder}",
            f"Give it what is there: chown -R {name}: {shlex.quote(str(folder))}",
        )


def _read(name: str, folder: Path) -> None:
    """Raise HostError unless this process, which is the user's, can read all that a folder of an image holds."""
    _enter(name, folder, folder)
    for path in _unreadable(folder):
        if path.is_symlink():
            target = Path(os.path.realpath(path))
            _enter(name, target.parent, path)
        raise HostError(
            f"the user {name} can't read {path}",
            f"Let the build hook give all users the right to it: chmod -R a+rX {shlex.quote(path.name)}",
        )


def _unreadable(folder: Path) -> Iterator[Path]:
    """What this process can't read in a folder. Links to nothing are let pass, as the application has to."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries]
    except PermissionError:
        yield folder
        return
    if not os.access(folder, os.X_OK):
        yield folder
        return
    for path in found:
        try:
            mode = path.stat().st_mode
        except PermissionError:
            yield path
            continue
        except OSError:  # a link to nothing, or to itself
            continue
        if stat.S_ISDIR(mode) and not path.is_symlink():
            yield from _unreadable(path)
        elif not os.access(path, os.R_OK):
            yield path


def _listen(name: str, port: int) -> None:
    """Raise HostError where the user may not listen on a port. Whether somebody listens there already doesn't matter:
    Linux looks at the right first."""
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except PermissionError:
            raise HostError(
                f"the user {name} can't listen on port {port}",
                "Let cluster.options.first_port name ports from 1024 on.",
            ) from None
        except OSError:
            return


def _enter(name: str, folder: Path, wanted: Path) -> None:
    """Raise HostError where this process can't pass through all folders down to this one, itself included."""
    real = Path(os.path.realpath(folder))
    for place in (*reversed(folder.parents), folder, *reversed(real.parents), real):
        if not os.access(place, os.X_OK):
            raise HostError(
                f"the user {name} can't enter {place}, on the way to {wanted}",
                f"Let all users pass through it: chmod o+x {shlex.quote(str(place))}",
            )


def _in_others_hands(folder: Path) -> bool:
    """Whether a user other than root and this process's own has any of the folders down to this one."""
    ours = {0, os.geteuid()}
    real = Path(os.path.realpath(folder))
    ways = {folder, *folder.parents, real, *real.parents}
    return any(place.exists() and place.stat().st_uid not in ours for place in ways)
