"""sshd's drop-in for people's logins: as the application's user, with the keys of the current generation alone.

The user's own `~/.ssh/authorized_keys` does not count: whoever has a shell of that user could write there, and keep the
access that was taken away.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files, logins
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.units import LIMIT, Unit

if TYPE_CHECKING:
    from edgeguard.cluster.host.prepared import Prepared

_FOLDER = Path("/etc/ssh/sshd_config.d")
_TEXT = """\
# Written by `edgeguard cluster prepare`: the users of {environment} log in as {login}, and nobody else does.
Match User {login}
    AuthorizedKeysFile {keys}
    AuthorizedKeysCommand none
    TrustedUserCAKeys none
    AuthenticationMethods publickey
    AllowAgentForwarding no
    AllowTcpForwarding no
    AllowStreamLocalForwarding no
    PermitTunnel no
    PermitUserRC no
    X11Forwarding no
Match all
"""
_OTHERS_MAY_WRITE = 0o022


def place(prepared: Prepared) -> Path:
    """The drop-in of an environment."""
    return _FOLDER / f"eg-{prepared.environment}.conf"


def missing(folder: Path, prepared: Prepared) -> list[str]:
    """What `put` would do, a sentence at most. Raises HostError where nobody could log in."""
    path = place(prepared)
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if prepared.login is None:
        return [] if there is None else [f"remove {path}, since the environment has no users"]
    for sentence in logins.unfit(prepared.login):
        wrong, _, remedy = sentence.partition(": ")
        raise HostError(f"nobody could log in: {wrong}", f"{remedy[:1].upper()}{remedy[1:]}.")
    for other in _FOLDER.glob("eg-*.conf"):
        if other != path and f"Match User {prepared.login}\n" in other.read_text(encoding="utf-8"):
            raise HostError(
                f"the users of another environment log in as {prepared.login} already ({other})",
                "Let cluster.user of each environment name a user of its own.",
            )
    if there == _text(folder, prepared):
        return []
    return [f"write {path}, so that the environment's users, and nobody else, log in as {prepared.login}"]


def put(folder: Path, prepared: Prepared) -> None:
    """Write the drop-in, or remove it where the environment has no users, and let sshd read it. Open connections stay.

    Raises:
        HostError: sshd can't read it, or would not obey it. Then it is as it was.
    """
    if not missing(folder, prepared):
        return
    path = place(prepared)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        _write(path, None if prepared.login is None else _text(folder, prepared))
        _ask("-t")
        if prepared.login is not None:
            _refuse_disobedience(folder, prepared.login)
    except HostError:
        _write(path, before)
        raise
    reload()


def remove(prepared: Prepared) -> bool:
    """Take the drop-in away. Returns whether there was one."""
    path = place(prepared)
    if not path.exists():
        return False
    path.unlink()
    reload()
    return True


def reload() -> None:
    """Let sshd read its configuration again."""
    for name in ("ssh.service", "sshd.service"):
        unit = Unit(name)
        if unit.show().get("ActiveState") == "active":
            unit.reload()
            return


def _text(folder: Path, prepared: Prepared) -> str:
    return _TEXT.format(environment=prepared.environment, login=prepared.login, keys=_keys(folder))


def _keys(folder: Path) -> Path:
    return folder / "current" / "authorized_keys"


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o755, exist_ok=True)
    files.write_text(path, text)
    path.chmod(0o644)


def _refuse_disobedience(folder: Path, login: str) -> None:
    """Refuse where sshd would look elsewhere for keys, or would not trust the place (StrictModes)."""
    told = _ask("-T", "-C", f"user={login},host=localhost,addr=127.0.0.1")
    if f"authorizedkeysfile {_keys(folder)}" not in told.splitlines():
        raise HostError(
            f"sshd would not read {_keys(folder)} for {login}",
            f"Let sshd_config begin with `Include {_FOLDER}/*.conf`, and take out what else says `Match User {login}`.",
        )
    for above in (folder.resolve(), *folder.resolve().parents):
        status = above.stat()
        if status.st_uid != 0 or status.st_mode & _OTHERS_MAY_WRITE:
            raise HostError(
                f"sshd trusts no keys below {above}, in which others can write", f"chmod go-w {above}, as root's."
            )


def _ask(*arguments: str) -> str:
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin")
    if program is None:
        raise HostError("sshd is not there", "Install OpenSSH's server.")
    found = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
    if found.returncode:
        raise HostError(f"sshd refuses its configuration: {found.stderr.strip()[:500]}", "Mend /etc/ssh/sshd_config.")
    return found.stdout
