"""A deploy under way: the facts and acts that its steps share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.cluster import users
from edgeguard.cluster.host import images
from edgeguard.cluster.record import Opened, Phase, Unfinished
from edgeguard.cluster.time_closed import TimeClosed
from edgeguard.deploy.serves import served
from edgeguard.errors import ClusterError
from edgeguard.grace.deploy_claim import DeployClaim, NoClaim
from edgeguard.machine.redaction import redacted
from edgeguard.machine.renewal import Renewal
from edgeguard.machine.signals import UNDER_WAY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from edgeguard.cluster import Cluster, Generation, ServerState
    from edgeguard.cluster.lock import SharedRecord
    from edgeguard.cluster.parts import JSON
    from edgeguard.cluster.record import Ended
    from edgeguard.environment import Environment
    from edgeguard.errors import EdgeguardError
    from edgeguard.machine.signals import Stop
    from edgeguard.release.image import Release

UNGUARDED = "unguarded"
"""The name under which a person accepts (--accept) to deploy without a claim."""


@dataclass
class Deployment:
    """One deploy under way: the wishes of the person who asked for it, and the facts that its steps have found out.

    Some facts are in the record on the servers, so that another machine can finish or undo the deploy: `as_written`
    writes them, and `continue_from` reads them. This process alone knows the others; another process finds them out
    anew, or does without. Here a fact may be ahead of the record: `reached` is set before it is written down.
    """

    # The wishes of the person who called this process.
    id: str
    environment: Environment
    stop: Stop
    say: Callable[..., None]
    supersede: str | None = None  # the unfinished deploy in whose place this one comes
    hook: Literal["again", "skip"] | None = None  # a person's answer about a hook that failed, or whose end is unknown
    by_hand: bool = False  # a person asked for a rollback: nothing stays closed for another one
    back_to: Opened | None = None  # the release to go back to, in the place of a build

    # Facts that are in the record.
    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()  # the record only has whether UNGUARDED is among them
    variables: str | None = None  # the fingerprint of this release's variables
    users: str = ""  # the fingerprint of this release's users
    changed: bool = False  # the image of this release is not as it was built; a person has to accept that
    reached: Phase = Phase.LOCK  # the furthest phase that has begun
    was_open: bool = True  # whether the cluster was open when this deploy, or the one that it supersedes, began
    pages: Mapping[str, int] = field(default_factory=dict)  # the status of each page, asked before the close
    time_closed: TimeClosed | None = None
    hook_server: str | None = None  # where an earlier run of this deploy has started its hook

    # Facts that this process has found out.
    record: SharedRecord = field(init=False)
    release: Release | None = None  # the image, if it is on this machine
    differs: Sequence[str] = ()  # a sentence for each change of the image since it was built
    generation: Generation | None = None
    deaths: Mapping[str, int] = field(default_factory=dict)  # of each server's processes, when it was last healthy
    tasks_stopped: float | None = None  # when no background task could start any more, by the edge's clock
    closed_before: bool = False  # an earlier run had closed the cluster
    generations: set[str | None] = field(default_factory=set)  # the current ones when this deploy began
    unsettled: bool = False  # only a person can know how the post-deploy hook ended
    proved: bool = False  # an unwinding has seen that the origins are healthy, so the claim may be given back
    sick: bool = False  # the origins were not healthy when an unwinding looked, and nothing had been closed
    renewals: list[Renewal] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)  # acts for the run's end, after the last write

    def __post_init__(self) -> None:
        self.record = self.environment.record()
        self.stop.left_behind = self._left_behind

    def _left_behind(self) -> str:
        """The state in which everything would be if this process were killed now, in words."""
        ways = f"edgeguard resume or rollback {self.environment.name}, from any machine"
        if self.reached is Phase.LOCK:
            return UNDER_WAY
        if self.reached is Phase.COMMITTED:
            return f"the new release serves, and the clean-up is being finished; kill -9 now would leave it to {ways}"
        now = "open or closed" if self.opened else "closed"
        hook = " (a hook that runs would run on)" if self.reached is Phase.HOOK else ""
        return (
            f"what began is being finished or taken back; kill -9 now would leave the cluster {now} behind the claim"
            f"{hook}, until somebody calls {ways}"
        )

    def continue_from(self, left: Unfinished) -> None:
        """Take over the record's facts about this deploy, which another process left unfinished."""
        self.ref = left.ref
        self.purge_keys = left.purge_keys
        self.accept = () if left.guarded else (UNGUARDED,)
        self.variables = left.variables
        self.users = left.users
        self.changed = left.changed
        self.reached = left.phase
        self.was_open = left.was_open
        self.pages = left.pages
        self.time_closed = left.time_closed
        self.hook_server = left.hook.server if left.hook else None

    def as_written(self, superseded: Unfinished | None) -> Unfinished:
        """This deploy as the record holds it from the lock on. It supersedes the unfinished deploy `superseded`."""
        return Unfinished.new(
            id=self.id,
            ref=self.ref,
            release=self.target.release,
            variables=self.variables,
            users=self.users,
            guarded=self.guarded,
            purge_keys=self.purge_keys,
            phase=self.reached,
            changed=self.changed,
            hook=None,
            after_hook=superseded is not None and superseded.hook_begun,
            time_closed=superseded.time_closed if superseded and superseded.phase is not Phase.COMMITTED else None,
            superseded=superseded,
        )

    @property
    def hook_begun(self) -> bool:
        """Whether the record says that the hook of this deploy, or of a deploy that it supersedes, has begun."""
        return self.under_way.hook_begun

    @property
    def closed(self) -> bool:
        """Whether the close has begun."""
        return self.reached > Phase.LOCK

    @property
    def opened(self) -> bool:
        """Whether the opening has begun, and is not committed."""
        return self.reached is Phase.OPEN

    @property
    def first(self) -> bool:
        """Whether nothing was ever opened here."""
        return self.record.opened is None

    @property
    def previous(self) -> str | None:
        """The name of the generation that was opened last."""
        return self.record.opened.generation if self.record.opened else None

    @property
    def guarded(self) -> bool:
        """Whether the edge has to cover the closure. It need not if a person accepted that (UNGUARDED)."""
        return UNGUARDED not in self.accept

    @property
    def claims(self) -> bool:
        """Whether this deploy makes a claim of its own, which the edge can confirm."""
        return self.guarded and self.environment.edge.claims

    @cached_property
    def claim(self) -> DeployClaim | NoClaim:
        """This deploy's claim on the grace, the same object from the first step to the last. Its class depends on
        `accept`, so `accept` must not change after the first use."""
        if not self.claims:
            return NoClaim(self.environment, stop=self.stop, say=self.say)
        return DeployClaim(self.environment, self.record, self.id, stop=self.stop, say=self.say, renew=self.renew)

    @property
    def serving(self) -> Cluster:
        """The present servers on which `previous` was opened. It can be opened again on these."""
        return self.environment.cluster.without(self.record.without)

    @property
    def back_again(self) -> Cluster:
        """The servers that come back with this deploy. They still hold an older state."""
        return self.environment.cluster.without(self.serving.servers)

    @property
    def without(self) -> list[str]:
        """The servers that this deploy leaves out, and those that were left out before it.

        From the close on, the gate sends no request to any of them. Servers that come back get requests again when
        they are opened.
        """
        return sorted({*self.record.without, *self.environment.cluster.left_out})

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return self.record.epoch

    @property
    def under_way(self) -> Unfinished:
        """This deploy as the record has it now."""
        if self.record.deploy is None:
            raise AssertionError("the lock comes first")
        return self.record.deploy

    @property
    def target(self) -> Generation:
        """The generation that this deploy brings."""
        if self.generation is None:
            raise AssertionError("build comes first")
        return self.generation

    @property
    def opening(self) -> Opened:
        """The generation that this deploy brings, as the record holds it once it was opened."""
        return Opened.new(
            generation=self.target.name, release=self.target.release, variables=self.variables, users=self.users
        )

    def serves_already(self) -> bool:
        """Whether every server serves this very release as the user who is wanted, nothing is unfinished, and nothing
        was closed by hand. False also if the servers can't be asked: a later step says why."""
        try:
            record = self.record.look()
            if record.opened is None or record.deploy or record.closure or record.opened.parts != self.opening.parts:
                return False
            cluster = self.environment.cluster
            if not served(record.opened, cluster.state()):
                return False
            there = cluster.generation(record.opened.generation)
        except ClusterError:
            return False
        return there is not None and there.runs.user == self.target.runs.user

    def previous_generation(self) -> Generation:
        """The generation that was opened last, as the servers hold it."""
        found = None if self.previous is None else self.serving.generation(self.previous)
        if found is None:
            raise ClusterError(
                f"the previous release ({self.previous or 'none'}) is not on every server, so it can't be put back",
                "Deploy a release that works, at first without a server that was made anew (--without SERVER).",
            )
        return found

    def died(self) -> list[str]:
        """The servers whose process has died since `deaths` was noted, a few words each. Raises ClusterError."""
        now = {server.name: server.deaths for server in self.environment.cluster.state()}
        more = {name: count - self.deaths.get(name, 0) for name, count in now.items()}
        return [f"{name} ({count} times)" if count > 1 else name for name, count in more.items() if count > 0]

    def note_deaths(self, healthy: Sequence[ServerState]) -> None:
        """Every server is healthy now: only deaths from here on count."""
        self.deaths = {server.name: server.deaths for server in healthy}

    def reach(self, phase: Phase) -> None:
        """Note here that a phase begins. If an earlier run reached a later phase, that one stays: its acts may have
        happened."""
        self.reached = max(self.reached, phase)

    def note_reached(self, **facts: Any) -> JSON:  # noqa: ANN401 (whatever JSON can say)
        """The record that says which phase is reached, and these facts about the deploy. The phase's first act takes it
        along, and writes it on each server before it acts there."""
        return self.record.taken_along({"phase": self.reached, **facts}, without=self.without)

    def see_closure(self, *, is_open: bool) -> None:
        """Take over the record's account of an earlier run's closure, as far as the servers confirm it."""
        known = self.under_way.time_closed
        if known is not None and self.reached is not Phase.COMMITTED:
            known = known.seen(is_open=is_open)
        self.time_closed, self.closed_before = known, known is not None

    def begin_closure(self) -> TimeClosed:
        """Note that the cluster is closed from now on, if it was not before."""
        self.time_closed = TimeClosed.closing(self.time_closed, self.claim.now())
        return self.time_closed

    def end_closure(self) -> TimeClosed | None:
        """Note that the cluster is open from now on."""
        self.time_closed = self.time_closed and self.time_closed.opening(self.claim.now())
        return self.time_closed

    @property
    def closed_seconds(self) -> float | None:
        """How long the cluster was closed, over all runs, or has been until now; None if nobody knows of a closure."""
        return None if self.time_closed is None else round(self.time_closed.seconds(self.claim.now()), 3)

    def output(self) -> AbstractContextManager[Callable[[str], None]]:
        """Takes the lines that a hook or a build writes, and says them without secrets."""
        return redacted.lines(lambda line: self.say("output", text=line))

    def tell_differences(self, generation: Generation) -> None:
        """Warn if the image that serves again is not as it was built. This never raises: it is only information."""
        try:
            differs = self.serving.differences(generation)
        except ClusterError as exc:
            differs = [exc.message]
        if differs:
            self.say(
                "warning",
                text=f"the image {generation.image}, which serves, is not as it was built: {images.in_short(differs)}. "
                "See what writes there; the deploy of another commit leaves it behind",
            )

    def tell_who_comes_back(self, generation: str) -> None:
        """Warn of the people who may log in with an earlier generation, and whom the environment's file has not."""
        told = users.not_named(self.serving, generation, self.environment.settings.cluster.users)
        if told is not None:
            self.say("warning", text=told)

    def let_go(self, ended: Ended | None = None) -> None:
        """End every renewal, and free the lock if this process still has it.

        `ended`, the end of this run, is added to the history. An unfinished deploy stays in the record.
        """
        for renewal in self.renewals:
            renewal.stop()
        if self.record.held:
            try:
                self.record.release(ended)
            except ClusterError as exc:  # another process has taken the lock, or it will count as dead after its lease
                self.say("warning", text=f"the lock could not be freed: {exc.message}")

    def renew(self, name: str, interval: float, act: Callable[[], None]) -> Renewal:
        """Begin to renew something until the deploy ends. A failed renewal is only a warning."""
        renewal = Renewal(name, interval, act, failed=self._renewal_failed).start()
        self.renewals.append(renewal)
        return renewal

    def _renewal_failed(self, name: str, failure: EdgeguardError) -> None:
        self.say("warning", text=f"renewing the {name} failed: {failure.message}")
