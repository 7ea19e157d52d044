"""The visitors of a rehearsal in which deploys die. The laws for their observations are in laws.py."""

from __future__ import annotations

import time
from contextlib import ExitStack
from math import inf
from typing import TYPE_CHECKING, Any, Self

from tests.crash.laws import Beat, Seen
from tests.observer import CLOSED, PATIENCE, STATUS, Visitor, bundled_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGES = bundled_pages(5)


class Watch:
    """Visitors at the edge and at the gate, for as long as the block runs."""

    def __init__(self, edge_url: str, gate_urls: Sequence[str]) -> None:
        self._gates = tuple(
            Visitor(url, PAGES[shift:] + PAGES[:shift]) for url, shift in zip(gate_urls, (0, 3, 1), strict=False)
        )
        self._anonymous = Visitor(edge_url, PAGES)
        self._status = Visitor(edge_url, (STATUS,))
        self._visits = ExitStack()

    def __enter__(self) -> Self:
        for visitor in (*self._gates, self._anonymous, self._status):
            self._visits.enter_context(visitor)
        return self

    def __exit__(self, *_: object) -> None:
        self._visits.close()

    def begin(self) -> None:
        """Forget earlier observations, and wait until every page has been served and the present state is known."""
        for visitor in (*self._gates, self._anonymous, self._status):
            visitor.answers.clear()
        deadline = time.monotonic() + PATIENCE
        while {answer.page for answer in self._anonymous.answers if not answer.broken} != set(PAGES):
            assert time.monotonic() < deadline, "not every page is served"
            time.sleep(0.02)

    def was_closed(self) -> bool:
        """Whether a visitor at the gate has been refused since `begin`."""
        return any(answer.release == CLOSED for visitor in self._gates for answer in list(visitor.answers))

    def seen(
        self,
        hooks: list[list[str]],
        asked: list[dict[str, Any]],
        beats: Callable[[], list[Beat]],
        *,
        felled: float = -inf,
    ) -> Seen:
        """The observations since `begin`. Each visitor has asked once more after this was called."""
        called = time.time()
        deadline = time.monotonic() + PATIENCE
        for visitor in (*self._gates, self._anonymous, self._status):
            while not visitor.answers or visitor.answers[-1].began < called:
                assert time.monotonic() < deadline, "no answer"
                time.sleep(0.01)
        gates = tuple(list(visitor.answers) for visitor in self._gates)
        return Seen(gates, list(self._anonymous.answers), list(self._status.answers), hooks, asked, felled, beats())
