"""Is what was written in force at the edge? Time and sight together: neither proves it alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.edge.clock import Clock
from edgeguard.errors import EdgeUnavailable, NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.edge import Edge, Status

ANSWERS = 10
"""In a row, which have to show what was written."""
LONGEST_PAUSE, SHORTEST_PAUSE = 0.5, 0.05


@dataclass(frozen=True)
class Confirmed:
    """The edge shows what was written.

    `seconds` since then; the `nodes` that answered (the others are covered by time alone); how far the edge's clock is
    ahead of this machine's, in seconds, to within a second or so.
    """

    seconds: float
    nodes: tuple[str, ...]
    clock_difference: float


def confirm(
    edge: Edge,
    expected: Mapping[str, str],
    *,
    propagation: float,
    timeout: float,
    grace: int = 0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    wall: Callable[[], float] = time.time,
    see: Callable[[Status], None] = lambda _: None,
) -> Confirmed:
    """Called when the write has been answered. Wait until `propagation` seconds have passed since then, and the last
    ANSWERS status answers in a row, each over a new connection, show every slot in `expected` exactly so.

    At least `grace` seconds have to be in force then. `timeout` counts from this call, too. `see` is shown every
    answer. What it raises, and what `sleep` raises (an interruption), passes through.

    Raises:
        NotConfirmed: not so within `timeout`, with what the edge showed last; or the edge grants less.
    """
    began = clock()
    pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, propagation / 20))
    in_a_row = 0
    nodes: set[str] = set()
    edges = Clock(wall)
    while True:
        seen = _ask(edge, edges)
        if isinstance(seen, str):
            wrong = seen
        else:
            nodes.add(seen.node)
            see(seen)
            wrong = _difference(expected, seen)
            if not wrong and seen.grace < grace:
                raise NotConfirmed(
                    f"written, but {seen.node} grants {seen.grace} s instead of {grace} s",
                    "The policy in the service has another ceiling than edge.ceiling: edgeguard edge diff.",
                )
        in_a_row = 0 if wrong else in_a_row + 1
        passed = clock() - began
        if in_a_row >= ANSWERS and passed >= propagation:
            return Confirmed(passed, tuple(sorted(nodes)), edges.ahead)
        if passed >= timeout:
            wrong = (
                wrong or f"only {in_a_row} answers in a row showed it, and {passed:.1f} s had passed since the write"
            )
            raise NotConfirmed(
                f"written, but not confirmed at the edge within {timeout:.0f} s: {wrong}",
                "If the edge is only slow, raise edge.propagation and edge.confirm_timeout.",
            )
        sleep(pause)


def _ask(edge: Edge, clock: Clock) -> Status | str:
    """One answer, or why there is none."""
    try:
        return clock.ask(edge)
    except EdgeUnavailable as exc:
        return exc.message


def _difference(expected: Mapping[str, str], seen: Status) -> str:
    """What a node shows instead of what was written; empty where it shows that."""
    wrong = [
        f"{slot} is {seen.slots.get(slot, '')!r} instead of {value!r}"
        for slot, value in expected.items()
        if seen.slots.get(slot, "") != value
    ]
    return f"{seen.node} shows that {', '.join(wrong)}" if wrong else ""
