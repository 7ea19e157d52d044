"""The record: the small truth about an environment, kept on its servers. Above all, its lock.

The lock is a lease with an epoch. Its holder counts up while it lives; whoever wants to know whether a holder is alive
watches the counter, on a clock of their own. The epoch goes with every changing command, so a holder that was replaced
can do nothing more.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.errors import ClusterError, Fenced, Locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import Cluster

VERSION = 1
RENEWAL = 5.0
"""Seconds between two renewals of the lease."""
DEAD_AFTER = 15.0
"""Seconds without a renewal, on the reader's own clock, after which a holder is dead."""


def this_holder() -> str:
    """Who runs this process, for people: user@host pid N."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an unknown uid, as in many containers
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"


class Record:
    """The environment's record, as this process writes it. Threads may share one."""

    def __init__(self, cluster: Cluster, environment: str) -> None:
        self._cluster = cluster
        self._environment = environment
        self._mutex = threading.Lock()
        self._content: dict[str, Any] = {}

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return int(self._content["epoch"])

    def look(self) -> dict[str, Any]:
        """The newest record on the servers ({} before the first deploy)."""
        records = [self._known(server, record) for server, record in self._cluster.read_record().items() if record]
        return max(records, key=lambda record: (record["epoch"], record["lock"] is not None), default={})

    def take(self, deploy: str) -> None:
        """Take the lock on all servers, in their order.

        Raises:
            Locked: somebody holds it, or took it at the same moment.
        """
        newest = self.look()
        if newest.get("lock"):
            raise _locked(newest["lock"])
        epoch = newest.get("epoch", 0)
        content = {
            **newest,
            "version": VERSION,
            "environment": self._environment,
            "epoch": epoch + 1,
            "lock": {
                "deploy": deploy,
                "holder": this_holder(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
                "counter": 0,
            },
        }
        try:
            self._cluster.write_record(epoch + 1, content, expected=epoch)
        except Fenced as exc:
            holder = self.look().get("lock")
            raise _locked(holder or {"deploy": "another deploy", "holder": "somebody", "since": "just now"}) from exc
        self._content = content

    def note(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts down on every server, beside those that are there."""
        with self._mutex:
            content = {**self._content, **facts}
            self._cluster.write_record(content["epoch"], content)
            self._content = content

    def renew(self) -> None:
        """Show that this holder lives."""
        with self._mutex:
            lock = {**self._content["lock"], "counter": self._content["lock"]["counter"] + 1}
            content = {**self._content, "lock": lock}
            self._cluster.write_record(content["epoch"], content)
            self._content = content

    def release(self) -> None:
        """Let go of the lock. The epoch stays, so that nothing of ours can act later."""
        self.note(lock=None)

    def unlock(self, deploy: str, *, wait: Callable[[float], None]) -> dict[str, Any]:
        """Free the lock of a holder that is dead, and shut that holder out. Returns the lock that was there.

        Raises:
            Locked: it is somebody else's, or its holder lives.
        """
        found = self.look()
        lock: dict[str, Any] | None = found.get("lock")
        if lock is None:
            raise Locked(f"nobody holds the lock of {self._environment}", "There is nothing to unlock.")
        if lock["deploy"] != deploy:
            raise Locked(
                f"the lock is of {lock['deploy']} ({lock['holder']}, since {lock['since']}), not of {deploy}",
                f"If that is the one you mean: edgeguard unlock {self._environment} {lock['deploy']}",
            )
        wait(DEAD_AFTER)
        if self.look().get("lock") != lock:
            raise Locked(f"{deploy} is alive: {lock['holder']} renews its lock", "Wait until it has ended, or end it.")
        epoch = found["epoch"]
        self._cluster.write_record(epoch + 1, {**found, "epoch": epoch + 1, "lock": None}, expected=epoch)
        return lock

    def _known(self, server: str, record: dict[str, Any]) -> dict[str, Any]:
        if record.get("version") != VERSION:
            raise ClusterError(
                f"{server}: its record has version {record.get('version')!r}, this edgeguard knows {VERSION}",
                "Use the edgeguard that wrote it, or a newer one.",
            )
        if record.get("environment") != self._environment:
            raise ClusterError(
                f"{server}: its record is of the environment {record.get('environment')!r}",
                "Two environments' files name the same servers; mend cluster.servers or cluster.root.",
            )
        return record


def _locked(lock: dict[str, Any]) -> Locked:
    return Locked(
        f"{lock['deploy']} holds the lock: {lock['holder']}, since {lock['since']}",
        "Wait until it has ended; `edgeguard status` shows what it is doing. "
        f"If its process is gone: edgeguard unlock ENV {lock['deploy']}",
    )
