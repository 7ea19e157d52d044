"""The user of this server as whom a generation's web process and hooks run, where it names one.

edgeguard's own programs go on as the user who called them. Only root can become another user.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host.errors import NO_ACCOUNT, HostError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A user of this server, other than this process's own: a name, and the numbers of the user and of its groups."""

    name: str
    user: int
    group: int
    groups: tuple[int, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """Whose process it will be, as subprocess takes it."""
        return {"user": self.user, "group": self.group, "extra_groups": self.groups}


def to_become(name: str | None) -> Account | None:
    """The account of this name; None where the processes stay this process's own user's (no name, or its own).

    Raises:
        HostError: there is no such user, or this process can't become it (NO_ACCOUNT).
    """
    if name is None:
        return None
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise HostError(
            f"there is no user {name} here",
            f"Make it (useradd --system --shell /usr/sbin/nologin {name}), or correct cluster.user.",
            code=NO_ACCOUNT,
        ) from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise HostError(
            f"user {os.geteuid()} can't start the application as {name}",
            f"Call edgeguard as root or as {name}, or take cluster.user out.",
            code=NO_ACCOUNT,
        )
    return Account(found.pw_name, found.pw_uid, found.pw_gid, tuple(os.getgrouplist(name, found.pw_gid)))


def run(account: Account | None, folder: Path, argv: Sequence[str], variables: Mapping[str, str]) -> None:
    """Become a command, as the account's user, in this folder, with these variables and no others.

    Raises:
        OSError: it can't be started. The process may have given up some of its rights: it must end.
    """
    if account is not None:
        become(account)
    os.chdir(folder)
    os.execvpe(argv[0], list(argv), dict(variables))  # noqa: S606 (the argument vector is the application's)


def become(account: Account) -> None:
    """Turn this process into the account's, for good: its groups first, since only root may set them.

    Raises:
        OSError: root has too few rights here. The process may have given up some of them: it must end.
    """
    os.setgroups(account.groups)
    os.setgid(account.group)
    os.setuid(account.user)
