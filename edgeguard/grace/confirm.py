"""Is what was written in force at the edge? Time and sight together: neither proves it alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def clock_difference(edge: Edge) -> float | None:
    """How far the edge's clock is ahead of this machine's, in seconds, to within a second or so; None: no answer.

    A claim's end is judged by the edge's clock, so it has to be said in that clock's time. One status question.
    """
    asked = time.time()
    seen = _ask(edge)
    return None if isinstance(seen, str) else (seen.now + seen.now + 1 - asked - time.time()) / 2


def edge_clock(edge: Edge) -> Callable[[], float]:
    """The edge's time from now on (Unix time), whatever becomes of this machine's wall clock meanwhile: one that jumps
    must not end a claim, or let it last for days. One status question; where it isn't answered, the clocks agree."""
    ahead, began = clock_difference(edge) or 0.0, _steady()
    at = time.time() + ahead
    return lambda: at + _steady() - began


def _steady() -> float:
    """Seconds on a clock that nobody sets; where there is one that goes on while the machine sleeps, on that."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


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
    earliest, latest = float("-inf"), float("inf")
    while True:
        asked = wall()
        seen = _ask(edge)
        if isinstance(seen, str):
            wrong = seen
        else:
            # The node tells whole seconds, so its clock was in [now, now + 1) at some moment of the exchange.
            earliest, latest = max(earliest, seen.now - wall()), min(latest, seen.now + 1 - asked)
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
            return Confirmed(passed, tuple(sorted(nodes)), (earliest + latest) / 2)
        if passed >= timeout:
            wrong = (
                wrong or f"only {in_a_row} answers in a row showed it, and {passed:.1f} s had passed since the write"
            )
            raise NotConfirmed(
                f"written, but not confirmed at the edge within {timeout:.0f} s: {wrong}",
                "If the edge is only slow, raise edge.propagation and edge.confirm_timeout.",
            )
        sleep(pause)


def _ask(edge: Edge) -> Status | str:
    """One answer, or why there is none."""
    try:
        return edge.status()
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
