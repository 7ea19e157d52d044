"""Confirm that a write is in force at the edge. That takes time and observation: neither alone proves it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.edge.clock import Clock
from edgeguard.errors import EdgeUnavailable, NotConfirmed
from edgeguard.machine.signals import pause
from edgeguard.times import apart, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.edge import Edge, Status

ANSWERS = 10
"""The number of status answers in a row that have to show the write."""
LONGEST_PAUSE, SHORTEST_PAUSE = 0.5, 0.05


@dataclass(frozen=True)
class Confirmed:
    """The edge shows the write.

    `seconds` is the time since the write. `nodes` are the nodes that answered; for the others, only the time counts.
    `clock_difference` is by how many seconds the edge's clock is ahead of this machine's, to within a second or so.
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
    sleep: Callable[[float], None] = pause,
    wall: Callable[[], float] = time.time,
    see: Callable[[Status], None] = lambda _: None,
) -> Confirmed:
    """Wait until the edge surely has a write. Call this as soon as the API has answered the write.

    The write is confirmed when `propagation` seconds have passed since this call, and the last ANSWERS status answers
    in a row, each over a new connection, show every slot of `expected` with exactly its value. At least `grace` seconds
    must be in force then. `timeout` counts from this call, too. `see` is called with every answer. Errors of `see`, and
    of `sleep` (an interruption), pass through.

    Raises:
        NotConfirmed: the write is not confirmed within `timeout` (the error says what the edge showed last), or the
            edge grants less than `grace`.
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
                granted, wanted = apart(seen.grace, grace)
                raise NotConfirmed(
                    f"written, but {seen.node} grants {granted} instead of {wanted}",
                    "The policy in the service has another ceiling than edge.ceiling: edgeguard edge diff.",
                )
        in_a_row = 0 if wrong else in_a_row + 1
        passed = clock() - began
        if in_a_row >= ANSWERS and passed >= propagation:
            return Confirmed(passed, tuple(sorted(nodes)), edges.ahead)
        if passed >= timeout:
            wrong = (
                wrong
                or f"only {in_a_row} answers in a row showed it, and {duration(passed)} had passed since the write"
            )
            raise NotConfirmed(
                f"written, but not confirmed at the edge within {duration(timeout)}: {wrong}",
                "If the edge is only slow, raise edge.propagation and edge.confirm_timeout.",
            )
        sleep(pause)


def _ask(edge: Edge, clock: Clock) -> Status | str:
    """One status answer, or the reason why there is none."""
    try:
        return clock.ask(edge)
    except EdgeUnavailable as exc:
        return exc.message


def _difference(expected: Mapping[str, str], seen: Status) -> str:
    """How a node's answer differs from the write, in words; empty if it does not differ."""
    wrong = [
        f"{slot} is {seen.slots.get(slot, '')!r} instead of {value!r}"
        for slot, value in expected.items()
        if seen.slots.get(slot, "") != value
    ]
    return f"{seen.node} shows that {', '.join(wrong)}" if wrong else ""
