"""The length of a closure, as the record keeps it from one run to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edgeguard.cluster.parts import Part, optional, required

if TYPE_CHECKING:
    from edgeguard.cluster.parts import JSON


@dataclass(frozen=True)
class TimeClosed(Part):
    """How long the cluster has been closed, over all runs of a deploy and of those that it supersedes.

    Times are Unix times in seconds by the edge's clock, so that a run on another machine counts on. Where the edge
    shows no status, they are by the clock of the machine that ran.
    """

    since: float  # the last close
    until: float | None  # the opening after it; None: there was none yet
    earlier: float  # seconds of the closures before that close

    @classmethod
    def of(cls, json: JSON) -> Self:
        """As Part.of."""
        return cls(
            json,
            since=required(json, "since", float),
            until=optional(json, "until", float, None),
            earlier=optional(json, "earlier", float, 0.0),
        )

    @classmethod
    def closing(cls, known: TimeClosed | None, now: float) -> TimeClosed:
        """The cluster is closed now. If it was closed already, it has been so since then."""
        if known is None:
            return cls.new(since=now)
        return known if known.until is None else cls.new(since=now, earlier=known.seconds(now))

    def opening(self, now: float) -> TimeClosed:
        """The cluster is opened now, unless it was opened before."""
        return self.also(until=now) if self.until is None else self

    def seen(self, *, is_open: bool) -> TimeClosed | None:
        """The same, once the servers were asked: a close or an opening that was written down may not have happened."""
        if not is_open:
            return self.also(until=None)
        if self.until is not None:
            return self
        return self.also(until=self.since) if self.earlier else None

    def seconds(self, now: float) -> float:
        """How long the cluster was closed, or has been until now."""
        return self.earlier + max(0.0, (now if self.until is None else self.until) - self.since)
