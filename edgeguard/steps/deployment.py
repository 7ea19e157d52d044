"""A deploy under way, and what its steps are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.record import Record
from edgeguard.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.cluster import Generation
    from edgeguard.environment import Environment
    from edgeguard.errors import EdgeguardError
    from edgeguard.image import Release
    from edgeguard.saga import Facts
    from edgeguard.signals import Stop


@dataclass
class Deployment:
    """One deploy under way: what it was asked for, and what its steps have found out so far."""

    id: str
    environment: Environment
    stop: Stop
    say: Callable[..., None]
    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()
    record: Record = field(init=False)
    release: Release | None = None
    generation: Generation | None = None
    generations: set[str | None] = field(default_factory=set)  # that were current when this deploy began
    closed: bool = False  # whether the close has begun
    opened: bool = False  # whether the opening has begun
    sick: bool = False  # the origins were not healthy when an unwinding looked, and nothing had been closed
    renewals: list[Renewal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = Record(self.environment.cluster, self.environment.name)

    @property
    def first(self) -> bool:
        """Whether nothing was ever deployed here."""
        return self.generations == {None}

    @property
    def previous(self) -> str | None:
        """The generation that was current when this deploy began, if the servers agreed on one."""
        return agreed(self.generations)

    @property
    def guarded(self) -> bool:
        """Whether this deploy claims grace; a person can accept to go without."""
        return "unguarded" not in self.accept

    @property
    def epoch(self) -> int:
        return self.record.epoch

    @property
    def target(self) -> Generation:
        if self.generation is None:
            raise AssertionError("build comes first")
        return self.generation

    def renew(self, name: str, interval: float, act: Callable[[], None]) -> Renewal:
        """Begin to renew something until the deploy ends; a renewal that fails is only told."""
        renewal = Renewal(name, interval, act, failed=self._renewal_failed).start()
        self.renewals.append(renewal)
        return renewal

    def _renewal_failed(self, name: str, failure: EdgeguardError) -> None:
        self.say("warning", text=f"renewing the {name} failed: {failure.message}")


@dataclass
class Step:
    """A step without memory: nothing to see before, nothing to restore."""

    deployment: Deployment

    name = ""

    def before(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> None:
        """Nothing to restore."""

    @property
    def environment(self) -> Environment:
        return self.deployment.environment


def short(release: str | None) -> str:
    """A digest as people read it."""
    return release[:12] if release else "none"


def agreed(values: Any) -> str | None:  # noqa: ANN401 (any iterable of names)
    """The one value that all of these have, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None
