"""The record on an environment's servers, and the lock under which a process writes it.

The lock is a lease with an epoch. Its holder counts up while it lives. A process that wants to know whether a holder is
alive watches that counter, by its own clock. The epoch goes with every changing command, and servers refuse an older
one. So a holder that was replaced can't change anything.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import ClosedByHand, Damaged, Ended, Lock, Opened, Record, Unfinished
from edgeguard.errors import ClusterError, Fenced, Locked
from edgeguard.machine.redaction import redacted
from edgeguard.machine.who import this_holder
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.parts import JSON

LEASE = 15.0
"""Seconds without a renewal after which a holder counts as dead, unless the environment's file says otherwise."""
HISTORY = 50
"""The number of runs that the record keeps."""
RENEWALS = 3
"""The number of renewals in the length of a lease."""
_GLANCE = 1.0  # seconds between two looks at a lease that may be dead


class SharedRecord:
    """The record that an environment's servers share, as this process reads and writes it. Threads may share it.

    Each server holds a copy. The newest copy counts, and a write goes to all servers.
    """

    def __init__(self, cluster: Cluster, environment: str, *, lease: float = LEASE, history: int = HISTORY) -> None:
        """`lease` is in seconds. A holder that has not renewed its lock for so long counts as dead. The history keeps
        the ends of so many runs."""
        self._cluster = cluster
        self._environment = environment
        self._lease = lease
        self._history = history
        self._mutex = threading.Lock()
        self._content = Record.new()

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return self._content.epoch

    @property
    def held(self) -> bool:
        """Whether this process has taken the lock and has not freed it."""
        return self._content.lock is not None

    @property
    def lost(self) -> bool:
        """Whether another process has taken the lock since. False also if the servers can't be asked."""
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
        """The generation that was opened last; None if none was ever opened."""
        return self._content.opened

    @property
    def releases(self) -> tuple[Opened, ...]:
        """The releases that are kept on the servers, as Record.releases."""
        return self._content.releases

    def note_opened(self, target: Opened, *, keep: int, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write down that this generation serves, of how many releases `keep` stay, and these facts (keys of
        Record)."""
        self.note(**self._content.opening(target, keep=keep), **facts)

    @property
    def beneath(self) -> Mapping[str, str]:
        """The pipelines' claims over which a deploy wrote its own, by slot. The end of the deploy puts them back."""
        return self._content.beneath

    @property
    def renewal(self) -> float:
        """The interval of renewals, in seconds."""
        return self._lease / RENEWALS

    @property
    def closure(self) -> ClosedByHand | None:
        """The closure by hand that is in force."""
        return self._content.closure

    @property
    def without(self) -> tuple[str, ...]:
        """The servers that were left out when `opened` was opened. Their state is unknown."""
        return self._content.without

    def look(self) -> Record:
        """The newest record on the servers. The servers that it leaves out need not answer.

        Raises:
            ClusterError: another server's record can't be read, or is damaged.
        """
        newest, unreadable = self.read()
        self._refuse_unreadable(unreadable, but=newest.left_out)
        return newest

    def read(self) -> tuple[Record, dict[str, ClusterError]]:
        """The newest record on the servers that can be read, and the error of each other server.

        Raises:
            ClusterError: a record belongs to another environment, or is of another version.
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
        """Take the lock on all servers, in their order, and write the `deploy` into the record.

        For an act by hand, `deploy` is None and `by_hand` is the act's id.

        Raises:
            Locked: another process holds the lock, or took it at the same moment; or a deploy is unfinished, and it is
                not the one to be superseded (`instead_of`); or the cluster was closed by hand, and `closed_by_hand` is
                not set.
        """
        newest = self.must_be_free(instead_of=instead_of, closed_by_hand=closed_by_hand)
        self._write_lock(newest, deploy, by_hand)

    def must_be_free(self, *, instead_of: str | None = None, closed_by_hand: bool = False) -> Record:
        """The newest record, if the lock could be taken now. This writes nothing, so `take` may be refused later.

        Raises:
            Locked: as `take`.
        """
        newest = self._everywhere()
        if newest.lock:
            raise self._locked(newest.lock)
        self._refuse_unfinished(newest, instead_of, closed_by_hand=closed_by_hand)
        return newest

    def take_over(self, *, wait: Callable[[float], None], say: Callable[[str], None]) -> None:
        """Take the lock if its holder is dead, or if it is free. An unfinished deploy stays in the record.

        `resume` and `rollback` do this, and `cluster open` for a lock that was taken by hand. A `deploy` never does.

        Raises:
            Locked: the holder lives, or another process was quicker.
        """
        newest = self._everywhere()
        if lock := newest.lock:
            say(f"watching for {duration(self._lease)} whether {lock.holder} still renews its lock")
            self._watch(newest, lock, wait)
        self._write_lock(newest, newest.deploy, lock.deploy if lock and lock.by_hand else None)

    def note(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts (keys of Record) into the record on every server. Other facts stay."""
        with self._mutex:
            self._write(self._content.also(**facts))

    def note_deploy(self, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write these facts about the deploy down, beside those that are there: keys of Unfinished."""
        with self._mutex:
            self._write(self._with_deploy(facts))

    def taken_along(self, deploy: Mapping[str, Any], **facts: Any) -> JSON:  # noqa: ANN401 (whatever JSON can say)
        """The record with these facts about the `deploy` and beside it, for an act that writes it on each server before
        it acts there (`note` of Cluster).

        This process goes on from that record at once. If the act fails half-way, the next write, a renewal for one,
        brings it to the servers that lack it. A renewal that is quicker than the act has the higher serial, and stays.
        """
        with self._mutex:
            content = self._with_deploy(deploy).also(**facts)
            self._content = content.also(serial=content.serial + 1)
            return self._content.json

    def renew(self) -> None:
        """Renew the lock: show that its holder lives."""
        with self._mutex:
            lock = self._content.lock
            if lock is None:
                raise AssertionError("the lock is not held")
            self._write(self._content.also(lock=lock.also(counter=lock.counter + 1)))

    def release(self, ended: Ended | None = None) -> None:
        """Free the lock, and add `ended`, the end of a run, to the history.

        The epoch stays as it is, so the next holder gets a higher one, and late acts of this process are refused.
        """
        history = [*self._content.history, *([Ended.of(redacted(ended.json))] if ended else [])]
        self.note(lock=None, history=history[-self._history :])

    def unlock(self, deploy: str, *, wait: Callable[[float], None], say: Callable[[str], None]) -> Lock:
        """Free the lock of a dead holder, under a higher epoch, so that the old holder is refused. Returns that lock.

        Raises:
            Locked: the lock is another deploy's, or its holder lives.
        """
        found = self.look()
        if (lock := found.lock) is None:
            raise Locked(f"nobody holds the lock of {self._environment}", "There is nothing to unlock.")
        if lock.deploy != deploy:
            raise Locked(
                f"the lock is of {lock.deploy} ({lock.holder}, since {lock.since}), not of {deploy}",
                f"If that is the one you mean: edgeguard unlock {self._environment} {lock.deploy}",
            )
        say(f"watching for {duration(self._lease)} whether {lock.holder} still renews its lock")
        self._watch(found, lock, wait)
        freed = found.also(epoch=found.epoch + 1, serial=found.serial + 1, lock=None)
        self._cluster.write_record(freed.epoch, freed.json, expected=found.epoch)
        return lock

    def _watch(self, found: Record, lock: Lock, wait: Callable[[float], None]) -> None:
        """Watch a record for the length of its lock's lease, by this machine's own clock: the servers' may be wrong.

        A write in that time shows that the holder lives: Locked. When this returns, the record is as it was `found`.
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
        """The newest record. All servers must answer, since the caller will write to all of them."""
        newest, unreadable = self.read()
        self._refuse_unreadable(unreadable)
        return newest

    def _refuse_unreadable(self, unreadable: Mapping[str, ClusterError], *, but: Iterable[str] = ()) -> None:
        for server in sorted(set(unreadable) - set(but)):
            failure = unreadable[server]
            raise ClusterError(
                f"{server}: {failure.message.removeprefix(f'{server}: ')}",  # drivers may name it, too
                f"{failure.remedy} If {server} is lost, deploy, resume, rollback or cluster open can go on --without "
                f"{server}.",
            ) from failure

    def _refuse_unfinished(self, newest: Record, instead_of: str | None, *, closed_by_hand: bool) -> None:
        name, left, closure = self._environment, newest.deploy, newest.closure
        if closure and not closed_by_hand:
            since = f"since {closure.since}, " if closure.since else ""
            raise Locked(
                f"{closure.who} closed the cluster by hand: {closure.why} ({since}planned until {closure.until})",
                f"edgeguard cluster open {name} opens it.",
            )
        if left and left.id != instead_of:
            raise Locked(
                f"{left.id} is unfinished: it reached {left.phase.value}",
                f"edgeguard resume {name} finishes it, edgeguard rollback {name}{left.back} undoes it; "
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
        except ClusterError:  # free it where it was taken, so that one full disk does not lock the environment
            freed = content.also(deploy=newest.deploy, serial=content.serial + 1, lock=None)
            with suppress(ClusterError):
                self._cluster.write_record(freed.epoch, freed.json)
            raise
        self._content = content

    def _with_deploy(self, facts: Mapping[str, Any]) -> Record:
        if self._content.deploy is None:
            raise AssertionError("no deploy is under way")
        return self._content.also(deploy=self._content.deploy.also(**facts))

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
