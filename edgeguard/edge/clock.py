"""The edge's clock, by which claims end. This machine learns it from status answers."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edgeguard.errors import EdgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.edge import Status, VisibleEdge


class Clock:
    """The difference between the edge's clock and this machine's. Every status answer narrows it down."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._least, self._most = float("-inf"), float("inf")

    def ask(self, edge: VisibleEdge, *, timeout: float = 5.0) -> Status:
        """Ask for the edge's status once, and learn from the answer. Raises EdgeUnavailable. `timeout` in seconds."""
        asked = self._wall()
        answer = edge.status(timeout=timeout)
        # The node tells whole seconds, so its clock was in [now, now + 1) at some moment of the exchange.
        self._least = max(self._least, answer.now - self._wall())
        self._most = min(self._most, answer.now + 1 - asked)
        return answer

    @property
    def ahead(self) -> float:
        """Seconds by which the edge's clock is ahead, to within a second or so; 0 before the first answer."""
        return (self._least + self._most) / 2 if self._most < float("inf") else 0.0


def edge_clock(edge: VisibleEdge) -> Callable[[], float]:
    """A function that tells the edge's Unix time from now on.

    This asks for the status once. Without an answer, the two clocks are taken to agree. Later jumps of this machine's
    wall clock don't count: they must not end a claim, or let it last for days.
    """
    clock = Clock()
    with suppress(EdgeUnavailable):
        clock.ask(edge)
    at, began = time.time() + clock.ahead, _steady()
    return lambda: at + _steady() - began


def _steady() -> float:
    """Seconds on a clock that nobody can set. If the system has one that goes on while the machine sleeps, on that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
