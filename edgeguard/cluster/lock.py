"""The record as a process reads and writes it on the servers, under the environment's lock.

The lock is a lease with an epoch. Its holder counts up while it lives; a process that wants to know whether a holder is
alive watches the counter, on its own clock. The epoch goes with every changing command, so a holder that was replaced
can do nothing more.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import Damaged, Ended, Lock, Opened, Record, Unfinished
from edgeguard.errors import ClusterError, Fenced, Locked
from edgeguard.machine.redaction import redacted
from edgeguard.machine.who import this_holder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeguard.cluster import Cluster

LEASE = 15.0
"""Seconds without a renewal after which a holder is dead, where the environment says nothing else."""
HISTORY = 50
"""How many runs the record remembers."""
RENEWALS = 3
"""How often a lease is renewed within its length."""
_GLANCE = 1.0  # seconds between two looks at a lease that may be dead


class SharedRecord:
    """The record that an environment's servers share, as this process reads and writes it. Threads may share one.

    Each server holds a copy. The newest copy counts; a write goes to all of them.
    """

    def __init__(self, cluster: Cluster, environment: str, *, lease: float = LEASE) -> None:
        """`lease` in seconds: a holder that has not renewed it for that long is dead."""
        self._cluster = cluster
        self._environment = environment
        self._lease = lease
        self._mutex = threading.Lock()
        self._content = Record.new()

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return self._content.epoch

    @property
    def held(self) -> bool:
        """Whether this process took the lock and has not let go of it."""
        return self._content.lock is not None

    @property
    def lost(self) -> bool:
        """Whether somebody else took the lock since; False too where the servers can't be asked."""
        try:
            return self.look().epoch not in (self.epoch, 0)
        except ClusterError:
            return False

    @property
    def deploy(self) -> Unfinished | None:
        """The deploy that is under way."""
        return self._content.deploy

    @property
    def opened(self) -> Opened | None:
        """The generation that was opened last; None before the first."""
        return self._content.opened

    @property
    def before(self) -> Opened | None:
        """The generation that was opened before that one."""
        return self._content.before

    @property
    def beneath(self) -> Mapping[str, str]:
        """The pipelines' claims over which a deploy wrote its own, and that come back with its end: slot and value."""
        return self._content.beneath

    @property
    def renewal(self) -> float:
        """Seconds between two renewals."""
        return self._lease / RENEWALS

    @property
    def without(self) -> tuple[str, ...]:
        """The servers that were left out when `opened` was opened: nobody knows what is on them."""
        return self._content.without

    def look(self) -> Record:
        """The newest record on the servers. A server that it leaves out need not answer.

        Raises:
            ClusterError: another server's record can't be read, or is damaged.
        """
        newest, unreadable = self.read()
        self._refuse_unreadable(unreadable, but=newest.left_out)
        return newest

    def read(self) -> tuple[Record, dict[str, ClusterError]]:
        """The newest record on the servers that can be read, and what was wrong with each of the others.

        Raises:
            ClusterError: a record is another environment's, or of another version.
        """
        found: dict[str, dict[str, Any] | None] = {}
        unreadable: dict[str, ClusterError] = {}
        try:
            found = self._cluster.read_record()
        except ClusterError:
            for server in self._cluster.servers:
                try:
                    alone = self._cluster.without([other for other in self._cluster.servers if other != server])
                    found |= alone.read_record()
                except ClusterError as exc:
                    unreadable[server] = exc
        records = []
        for server, content in found.items():
            try:
                records += [Record.on(server, content, self._environment)] if content else []
            except Damaged as exc:
                unreadable[server] = exc
        return max(records, key=lambda record: (record.epoch, record.serial), default=Record.new()), unreadable

    def take(
        self,
        deploy: Unfinished | None,
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
        if newest.lock:
            raise self._locked(newest.lock)
        self._refuse_unfinished(newest, instead_of, closed_by_hand=closed_by_hand)
        self._write_lock(newest, deploy, by_hand)

    def take_over(self, *, wait: Callable[[float], None], say: Callable[[str], None]) -> None:
        """Take the lock from a holder that is dead, or that let go of it, and keep what it left unfinished.

        Raises:
            Locked: its holder lives, or somebody else was quicker.
        """
        newest = self._everywhere()
        if lock := newest.lock:
            say(f"watching for {self._lease:g} s whether {lock.holder} still renews its lock")
            self._watch(newest, lock, wait)
        self._write_lock(newest, newest.deploy, lock.deploy if lock and lock.by_hand else None)

    def note(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts down on every server, beside those that are there: keys of Record."""
        with self._mutex:
            self._write(self._content.also(**facts))

    def note_deploy(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts about the deploy down, beside those that are there: keys of Unfinished."""
        with self._mutex:
            if self._content.deploy is None:
                raise AssertionError("no deploy is under way")
            self._write(self._content.also(deploy=self._content.deploy.also(**facts)))

    def renew(self) -> None:
        """Show that this holder lives."""
        with self._mutex:
            lock = self._content.lock
            if lock is None:
                raise AssertionError("the lock is not held")
            self._write(self._content.also(lock=lock.also(counter=lock.counter + 1)))

    def release(self, ended: Ended | None = None) -> None:
        """Let go of the lock; add how a run `ended` to the history. The epoch stays, so that nothing of ours can act
        later."""
        history = [*self._content.history, *([Ended.of(redacted(ended.json))] if ended else [])]
        self.note(lock=None, history=history[-HISTORY:])

    def unlock(self, deploy: str, *, wait: Callable[[float], None], say: Callable[[str], None]) -> Lock:
        """Free the lock of a holder that is dead, and shut that holder out. Returns the lock that was there.

        Raises:
            Locked: it is somebody else's, or its holder lives.
        """
        found = self.look()
        if (lock := found.lock) is None:
            raise Locked(f"nobody holds the lock of {self._environment}", "There is nothing to unlock.")
        if lock.deploy != deploy:
            raise Locked(
                f"the lock is of {lock.deploy} ({lock.holder}, since {lock.since}), not of {deploy}",
                f"If that is the one you mean: edgeguard unlock {self._environment} {lock.deploy}",
            )
        say(f"watching for {self._lease:g} s whether {lock.holder} still renews its lock")
        self._watch(found, lock, wait)
        freed = found.also(epoch=found.epoch + 1, serial=found.serial + 1, lock=None)
        self._cluster.write_record(freed.epoch, freed.json, expected=found.epoch)
        return lock

    def _watch(self, found: Record, lock: Lock, wait: Callable[[float], None]) -> None:
        """Look at a record for as long as its lock's lease lasts, on this machine's own clock: servers' may be wrong.

        A write in the meantime shows that its holder lives. So the record is still as it was found when this returns.
        """
        began = time.monotonic()
        while True:
            left = self._lease - (time.monotonic() - began)
            wait(max(0.0, min(_GLANCE, left)))
            if self.look() != found:
                raise Locked(
                    f"{lock.deploy} is alive: {lock.holder} renews its lock, or let go of it just now",
                    "Wait until it has ended, or end it.",
                )
            if left <= 0:
                return

    def _everywhere(self) -> Record:
        """The newest record, for a process that is about to write one on every server."""
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

    def _refuse_unfinished(self, newest: Record, instead_of: str | None, *, closed_by_hand: bool) -> None:
        name, left, closure = self._environment, newest.deploy, newest.closure
        if closure and not closed_by_hand:
            raise Locked(
                f"{closure.who} closed the cluster by hand: {closure.why} (until {closure.until})",
                f"edgeguard cluster open {name} opens it.",
            )
        if left and left.id != instead_of:
            raise Locked(
                f"{left.id} is unfinished: it reached {left.phase.value}",
                f"edgeguard resume {name} finishes it, edgeguard rollback {name} undoes it; "
                f"to bring a fix instead: edgeguard deploy {name} --supersede {left.id}",
            )
        if instead_of is not None and not left:
            raise Locked(f"{instead_of} is not unfinished: there is nothing to supersede", "Deploy without it.")

    def _write_lock(self, newest: Record, deploy: Unfinished | None, by_hand: str | None = None) -> None:
        lock = Lock.new(
            deploy=by_hand or (deploy.id if deploy else "none"),
            by_hand=by_hand is not None,
            holder=this_holder(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            counter=0,
        )
        deploy = deploy and deploy.also(without=self._cluster.left_out)
        content = newest.taken(self._environment, lock, deploy)
        try:
            self._cluster.write_record(content.epoch, content.json, expected=newest.epoch)
        except Fenced as exc:
            unknown = Lock.new(deploy="another deploy", holder="somebody", since="just now", counter=0)
            raise self._locked(self.look().lock or unknown) from exc
        except ClusterError:  # where it was taken it is given back, so that one full disk keeps nobody waiting
            freed = content.also(deploy=newest.deploy, serial=content.serial + 1, lock=None)
            with suppress(ClusterError):
                self._cluster.write_record(freed.epoch, freed.json)
            raise
        self._content = content

    def _write(self, content: Record) -> None:
        content = content.also(serial=content.serial + 1)
        self._cluster.write_record(content.epoch, content.json)
        self._content = content

    def _locked(self, lock: Lock) -> Locked:
        name = self._environment
        look = f"Wait until it has ended; `edgeguard status {name}` shows what it is doing."
        ways = f"edgeguard resume {name} finishes what it left, edgeguard rollback {name} undoes it."
        if lock.by_hand:
            ways = f"edgeguard cluster open {name} opens what it closed."
        return Locked(
            f"{lock.deploy} holds the lock: {lock.holder}, since {lock.since}",
            f"{look} If its process is gone: {ways}",
        )
