"""Letting people in and out between deploys, without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.cluster import users as of_cluster
from edgeguard.machine.signals import Stop
from edgeguard.release.fingerprint import of_users

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import User
    from edgeguard.cluster.lock import SharedRecord
    from edgeguard.environment import Environment


def look(environment: Environment) -> dict[str, Any]:
    """Who may log in on each server, who is logged in, and what `apply` would change there.

    Raises:
        UsageError: the driver lets nobody in.
        ClusterError: a server can't be asked.
    """
    logins = of_cluster.able(environment.cluster, environment.name).logins()
    return {
        "environment": environment.name,
        "servers": {server: {"users": found.names, "open": dict(found.open)} for server, found in logins.items()},
        "changes": of_cluster.changes(logins, _wanted(environment)),
    }


def apply(environment: Environment, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Let in the people whom the environment's file names, and nobody else. Returns what `look` had found before.

    It holds the lock meanwhile. A deploy that is unfinished, or a closure by hand, does not matter, and stays as it is.

    Raises:
        UsageError: the driver lets nobody in.
        Locked: a process that lives holds the lock.
        ClusterError: a server can't be told. The others are done; repeating it does the rest.
    """
    cluster, wanted = of_cluster.able(environment.cluster, environment.name), _wanted(environment)
    found = look(environment)
    record, stop = environment.record(), Stop(last=True)
    with stop.listening():
        record.take_over(wait=stop.sleep, say=say)
        try:
            cluster.let_in(record.epoch, wanted)
            _write_down(record, of_users(wanted))
        finally:
            record.release()
    return found


def _write_down(record: SharedRecord, users: str) -> None:
    """The release that serves has these users now, so that a deploy with `--if-changed` has nothing to do for them."""
    if record.opened is not None:
        opened = record.opened.also(users=users)
        record.note(opened=opened, releases=[opened, *record.releases[1:]])


def _wanted(environment: Environment) -> tuple[User, ...]:
    return of_cluster.named(environment.settings.cluster.users)
