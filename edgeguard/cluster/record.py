"""The record: the small truth about an environment, kept on its servers. Above all, its lock.

The lock is a lease with an epoch. Its holder counts up while it lives; whoever wants to know whether a holder is alive
watches the counter, on a clock of their own. The epoch goes with every changing command, so a holder that was replaced
can do nothing more.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.errors import ClusterError, Fenced, Locked
from edgeguard.machine.redaction import redacted
from edgeguard.machine.who import this_holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeguard.cluster import Cluster

VERSION = 1
LEASE = 15.0
"""Seconds without a renewal after which a holder is dead, where the environment says nothing else."""
HISTORY = 50
"""How many runs the record remembers."""
RENEWALS = 3
"""How often a lease is renewed within its length."""
_GLANCE = 1.0  # seconds between two looks at a lease that may be dead


def left_out(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The servers without which things go on: what is under way says so, else what was opened last."""
    return tuple((record.get("deploy") or record).get("without", ()))


class Record:
    """The environment's record, as this process writes it. Threads may share one.

    On the servers it is one JSON object: `epoch` and `serial` (which of two copies is the newer), `lock`, `deploy` (the
    one that is under way, or was left unfinished), `closure` (by hand), `opened` and `before` (the generation that
    serves, and the one that served before it, each {"generation", "release"}), `without` (the servers that were left
    out when it was opened; a deploy has its own), `beneath` (pipelines' claims), `history` (how runs ended).
    """

    def __init__(self, cluster: Cluster, environment: str, *, lease: float = LEASE) -> None:
        """`lease` in seconds: a holder that has not renewed it for that long is dead."""
        self._cluster = cluster
        self._environment = environment
        self._lease = lease
        self._mutex = threading.Lock()
        self._content: dict[str, Any] = {}

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return int(self._content["epoch"])

    @property
    def held(self) -> bool:
        """Whether this process took the lock and has not let go of it."""
        return bool(self._content.get("lock"))

    @property
    def lost(self) -> bool:
        """Whether somebody else took the lock since; False too where the servers can't be asked."""
        try:
            return bool(self.look().get("epoch", self.epoch) != self.epoch)
        except ClusterError:
            return False

    @property
    def deploy(self) -> dict[str, Any]:
        """What is written down about the deploy that is under way."""
        return dict(self._content.get("deploy") or {})

    @property
    def opened(self) -> dict[str, str] | None:
        """The generation that was opened last: {"generation", "release"}; None before the first."""
        return self._content.get("opened")

    @property
    def before(self) -> dict[str, str] | None:
        """The generation that was opened before that one."""
        return self._content.get("before")

    @property
    def beneath(self) -> dict[str, str]:
        """The pipelines' claims over which a deploy wrote its own, and that come back with its end: slot and value."""
        return dict(self._content.get("beneath") or {})

    @property
    def renewal(self) -> float:
        """Seconds between two renewals."""
        return self._lease / RENEWALS

    @property
    def without(self) -> tuple[str, ...]:
        """The servers that were left out when `opened` was opened: what is on them nobody knows."""
        return tuple(self._content.get("without", ()))

    def look(self) -> dict[str, Any]:
        """The newest record on the servers ({} before the first deploy). One that it leaves out need not answer."""
        newest, unreadable = self.read()
        self._refuse_unreadable(unreadable, but=left_out(newest))
        return newest

    def read(self) -> tuple[dict[str, Any], dict[str, ClusterError]]:
        """The newest record on the servers that can be read, and what was wrong with each of the others."""
        records: dict[str, dict[str, Any] | None] = {}
        unreadable: dict[str, ClusterError] = {}
        try:
            records = self._cluster.read_record()
        except ClusterError:
            for server in self._cluster.servers:
                try:
                    alone = self._cluster.without([other for other in self._cluster.servers if other != server])
                    records |= alone.read_record()
                except ClusterError as exc:
                    unreadable[server] = exc
        known = [self._known(server, record) for server, record in records.items() if record]
        return max(known, key=lambda record: (record["epoch"], record["serial"]), default={}), unreadable

    def take(
        self,
        deploy: Mapping[str, Any] | None,
        *,
        by_hand: str | None = None,
        instead_of: str | None = None,
        closed_by_hand: bool = False,
    ) -> None:
        """Take the lock on all servers, in their order, and write down which deploy is under way, or (None) which act
        `by_hand`: its id.

        Raises:
            Locked: somebody holds it, or took it at the same moment; or an unfinished deploy is in the way that isn't
                the one to be superseded (`instead_of`); or the cluster was closed by hand, and that isn't accepted.
        """
        newest = self._everywhere()
        if newest.get("lock"):
            raise self._locked(newest["lock"])
        self._refuse_unfinished(newest, instead_of, closed_by_hand=closed_by_hand)
        self._write_lock(newest, deploy, by_hand)

    def take_over(self, *, wait: Callable[[float], None], say: Callable[[str], None]) -> None:
        """Take the lock from a holder that is dead, or that let go of it, and keep what it left unfinished.

        Raises:
            Locked: its holder lives, or somebody else was quicker.
        """
        newest = self._everywhere()
        if lock := newest.get("lock"):
            say(f"watching for {self._lease:g} s whether {lock['holder']} still renews its lock")
            self._watch(newest, wait)
        by_hand = lock["deploy"] if lock and lock.get("by_hand") else None
        self._write_lock(newest, newest.get("deploy"), by_hand)

    def note(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts down on every server, beside those that are there."""
        with self._mutex:
            self._write({**self._content, **facts})

    def note_deploy(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts about the deploy down, beside those that are there."""
        with self._mutex:
            self._write({**self._content, "deploy": {**(self._content.get("deploy") or {}), **facts}})

    def renew(self) -> None:
        """Show that this holder lives."""
        with self._mutex:
            lock = {**self._content["lock"], "counter": self._content["lock"]["counter"] + 1}
            self._write({**self._content, "lock": lock})

    def release(self, ended: Mapping[str, Any] | None = None) -> None:
        """Let go of the lock; add how a run `ended` to the history. The epoch stays, so that nothing of ours can act
        later."""
        history = [*self._content.get("history", []), *([redacted(ended)] if ended else [])]
        self.note(lock=None, history=history[-HISTORY:])

    def unlock(self, deploy: str, *, wait: Callable[[float], None], say: Callable[[str], None]) -> dict[str, Any]:
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
        say(f"watching for {self._lease:g} s whether {lock['holder']} still renews its lock")
        self._watch(found, wait)
        epoch = found["epoch"]
        freed = {**found, "epoch": epoch + 1, "serial": found["serial"] + 1, "lock": None}
        self._cluster.write_record(epoch + 1, freed, expected=epoch)
        return lock

    def _watch(self, found: dict[str, Any], wait: Callable[[float], None]) -> None:
        """Look at a record for as long as its lock's lease lasts, on this machine's own clock: servers' may be wrong.

        Whatever is written meanwhile shows that its holder lives; so what was found is still so when this returns.
        """
        lock = found["lock"]
        began = time.monotonic()
        while True:
            left = self._lease - (time.monotonic() - began)
            wait(max(0.0, min(_GLANCE, left)))
            if self.look() != found:
                raise Locked(
                    f"{lock['deploy']} is alive: {lock['holder']} renews its lock, or let go of it just now",
                    "Wait until it has ended, or end it.",
                )
            if left <= 0:
                return

    def _everywhere(self) -> dict[str, Any]:
        """The newest record, for who is about to write one on every server."""
        newest, unreadable = self.read()
        self._refuse_unreadable(unreadable)
        return newest

    def _refuse_unreadable(self, unreadable: Mapping[str, ClusterError], *, but: Iterable[str] = ()) -> None:
        for server in sorted(set(unreadable) - set(but)):
            failure = unreadable[server]
            raise ClusterError(
                f"{server}: {failure.message}",
                f"{failure.remedy} If {server} is lost, deploy, resume, rollback or cluster open can go on --without "
                f"{server}.".lstrip(),
            ) from failure

    def _refuse_unfinished(self, newest: dict[str, Any], instead_of: str | None, *, closed_by_hand: bool) -> None:
        name, left, closure = self._environment, newest.get("deploy"), newest.get("closure")
        if closure and not closed_by_hand:
            raise Locked(
                f"{closure['who']} closed the cluster by hand: {closure['why']} (until {closure['until']})",
                f"edgeguard cluster open {name} opens it.",
            )
        if left and left["id"] != instead_of:
            raise Locked(
                f"{left['id']} is unfinished: it reached {left['phase']}",
                f"edgeguard resume {name} finishes it, edgeguard rollback {name} undoes it; "
                f"to bring a fix instead: edgeguard deploy {name} --supersede {left['id']}",
            )
        if instead_of is not None and not left:
            raise Locked(f"{instead_of} is not unfinished: there is nothing to supersede", "Deploy without it.")

    def _write_lock(self, newest: dict[str, Any], deploy: Mapping[str, Any] | None, by_hand: str | None = None) -> None:
        epoch = newest.get("epoch", 0)
        content = {
            "opened": None,
            "before": None,
            **newest,
            "version": VERSION,
            "environment": self._environment,
            "epoch": epoch + 1,
            "serial": newest.get("serial", 0) + 1,
            "deploy": deploy and {**deploy, "without": list(self._cluster.left_out)},
            "lock": {
                "deploy": by_hand or (deploy or {}).get("id", "none"),
                "by_hand": by_hand is not None,
                "holder": this_holder(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
                "counter": 0,
            },
        }
        try:
            self._cluster.write_record(epoch + 1, content, expected=epoch)
        except Fenced as exc:
            holder = self.look().get("lock")
            raise self._locked(
                holder or {"deploy": "another deploy", "holder": "somebody", "since": "just now"}
            ) from exc
        except ClusterError:  # where it was taken it is given back, so that one full disk keeps nobody waiting
            freed = {**content, "deploy": None, **newest, "epoch": epoch + 1, "serial": content["serial"] + 1}
            with suppress(ClusterError):
                self._cluster.write_record(epoch + 1, {**freed, "lock": None})
            raise
        self._content = content

    def _write(self, content: dict[str, Any]) -> None:
        content["serial"] += 1
        self._cluster.write_record(content["epoch"], content)
        self._content = content

    def _locked(self, lock: dict[str, Any]) -> Locked:
        name = self._environment
        look = f"Wait until it has ended; `edgeguard status {name}` shows what it is doing."
        ways = f"edgeguard resume {name} finishes what it left, edgeguard rollback {name} undoes it."
        if lock.get("by_hand"):
            ways = f"edgeguard cluster open {name} opens what it closed."
        return Locked(
            f"{lock['deploy']} holds the lock: {lock['holder']}, since {lock['since']}",
            f"{look} If its process is gone: {ways}",
        )

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
