"""A deploy under way, and what its steps are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.errors import ClusterError
from edgeguard.grace.deploy_claim import DeployClaim, NoClaim
from edgeguard.machine.renewal import Renewal
from edgeguard.release import image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.cluster import Cluster, Generation
    from edgeguard.cluster.record import Record
    from edgeguard.environment import Environment
    from edgeguard.errors import EdgeguardError
    from edgeguard.machine.signals import Stop
    from edgeguard.release.image import Release

PHASES = ("lock", "close", "hook", "open", "committed")
"""Those that the record tells, in their order: what may have happened, for whoever finishes or undoes it."""
UNGUARDED = "unguarded"
"""What a person accepts who deploys without a claim."""


@dataclass
class Deployment:
    """One deploy under way: what it was asked for, and what its steps have found out so far.

    What another machine would need to finish or undo it is in the record on the servers too.
    """

    id: str
    environment: Environment
    stop: Stop
    say: Callable[..., None]
    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()
    supersede: str | None = None  # the unfinished deploy in whose place this one comes
    hook: Literal["again", "skip"] | None = None  # what a person says of a hook whose end nobody knows, or that failed
    record: Record = field(init=False)
    release: Release | None = None
    generation: Generation | None = None
    changed: bool = False  # the image of this release is not as it was built, and a person has to have accepted that
    generations: set[str | None] = field(default_factory=set)  # that were current when this deploy began
    was_open: bool = True  # when this deploy began, or the one that it supersedes
    closed: bool = False  # whether the close has begun
    opened: bool = False  # whether the opening has begun
    hook_begun: bool = False  # of this deploy, or of one in whose place it came
    hook_server: str | None = None  # where an earlier run of this deploy has claimed it
    unsettled: bool = False  # only a person can know how the post-deploy hook ended
    afterwards: list[Callable[[], None]] = field(default_factory=list)  # what is done when all is written down
    by_hand: bool = False  # a person asked for a rollback: nothing stays closed for another one
    proved: bool = False  # an unwinding has seen that the origins are healthy, so a claim may go
    sick: bool = False  # the origins were not healthy when an unwinding looked, and nothing had been closed
    renewals: list[Renewal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = self.environment.record()

    @property
    def first(self) -> bool:
        """Whether nothing was ever opened here."""
        return self.record.opened is None

    @property
    def previous(self) -> str | None:
        """The name of the generation that was opened last."""
        return self.record.opened["generation"] if self.record.opened else None

    @property
    def guarded(self) -> bool:
        """Whether the edge has to cover the closure; a person can accept to go without."""
        return UNGUARDED not in self.accept

    @property
    def claims(self) -> bool:
        """Whether this deploy makes a claim of its own, which the edge can confirm."""
        return self.guarded and self.environment.edge.claims

    @cached_property
    def claim(self) -> DeployClaim | NoClaim:
        """This deploy's claim on the grace, the same one from the first step to the last. What it is depends on
        `accept`, so that has to be known when it is first asked for."""
        if not self.claims:
            return NoClaim(self.environment, stop=self.stop, say=self.say)
        return DeployClaim(self.environment, self.record, self.id, stop=self.stop, say=self.say, renew=self.renew)

    @property
    def serving(self) -> Cluster:
        """The servers that `previous` was opened on, and that are there: those that it can be opened on again."""
        return self.environment.cluster.without(self.record.without)

    @property
    def back_again(self) -> Cluster:
        """The servers that come back with this deploy: what is on them is of another time."""
        return self.environment.cluster.without(self.serving.servers)

    @property
    def without(self) -> list[str]:
        """The servers that this deploy leaves out, and those that were left out before: the gate knows none of them
        from the close on, and those that come back not until they are opened."""
        return sorted({*self.record.without, *self.environment.cluster.left_out})

    @property
    def epoch(self) -> int:
        """The epoch under which this process holds the lock."""
        return self.record.epoch

    @property
    def target(self) -> Generation:
        """The generation that this deploy brings."""
        if self.generation is None:
            raise AssertionError("build comes first")
        return self.generation

    def previous_generation(self) -> Generation:
        """The generation that was opened last, as the servers hold it."""
        found = None if self.previous is None else self.serving.generation(self.previous)
        if found is None:
            raise ClusterError(
                f"the previous release ({self.previous or 'none'}) is not on every server, so it can't be put back",
                "Deploy a release that works.",
            )
        return found

    def reached(self, phase: str, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """Write down that a phase begins, before its first act. One that an earlier run has reached stays: what may
        have happened counts."""
        there = self.record.deploy["phase"]
        furthest = max(there, phase, key=PHASES.index)
        self.record.note_deploy(phase=furthest, **facts)

    def tell_differences(self, generation: Generation) -> None:
        """Warn if the image that serves again is not as it was built. Nothing depends on it any more: never raises."""
        try:
            differs = self.serving.differences(generation)
        except ClusterError as exc:
            differs = [exc.message]
        if differs:
            self.say(
                "warning",
                text=f"the image {generation.image}, which serves, is not as it was built: {image.in_short(differs)}. "
                "See what writes there; the deploy of another commit leaves it behind",
            )

    def let_go(self, **ended: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
        """End every renewal, and free the lock if this process still has it. What is unfinished stays written down, and
        so does how this run `ended`, if that is said."""
        for renewal in self.renewals:
            renewal.stop()
        if self.record.held:
            try:
                self.record.release(ended and {"id": self.id, **ended})
            except ClusterError as exc:  # somebody else has it, or it dies by itself
                self.say("warning", text=f"the lock could not be freed: {exc.message}")

    def renew(self, name: str, interval: float, act: Callable[[], None]) -> Renewal:
        """Begin to renew something until the deploy ends; a renewal that fails is only told."""
        renewal = Renewal(name, interval, act, failed=self._renewal_failed).start()
        self.renewals.append(renewal)
        return renewal

    def _renewal_failed(self, name: str, failure: EdgeguardError) -> None:
        self.say("warning", text=f"renewing the {name} failed: {failure.message}")
