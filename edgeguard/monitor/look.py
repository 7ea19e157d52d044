"""Look at an environment as its visitors see it: all questions at once, within one time-out. It writes nothing.

It asks for the policy's status at the edge, for the health page as a sure miss, for the pages of [visitors], and for
the origin's pages in [visitors]. None of that needs a token.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgeguard.edge import marks
from edgeguard.edge.clock import Clock
from edgeguard.errors import EdgeUnavailable, OriginsUnhealthy
from edgeguard.site.front_door import sure_miss
from edgeguard.site.light import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgeguard.edge import Copy, Status, VisibleEdge
    from edgeguard.settings import EdgeOnlySettings, EdgeSettings
    from edgeguard.site.asking import Answer

AT_ONCE = 8
"""Questions at the same time: few, since a small machine has few threads to spare."""
ASKS = 3
"""Questions about one page, until a node tells what it holds. A node that had to fetch the page can't tell, nor can one
that has it from its neighbour."""
BYTES = 32 * 2**20
"""The most bytes of an answer. Longer answers are not read, to save the monitor's memory."""
CLOCK_TOLERANCE = 2.0
"""Seconds. The edge's clock is read in whole seconds, so a smaller difference means nothing."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Asked:
    """One URL and its answer. `error` says why there is no `answer`. `copy` is the edge's copy of a page, as the answer
    tells of it."""

    url: str
    answer: Answer | None
    error: str = ""
    copy: Copy | None = None

    @property
    def status(self) -> int:
        """The HTTP status; 0 without an answer."""
        return self.answer.status if self.answer else 0

    @property
    def stale(self) -> str | None:
        """Why the answer is a stale copy ("hold", "error"); None where it is not stale."""
        return marks.stale(self.answer.headers) if self.answer else None

    def header(self, name: str) -> str | None:
        """The header's value; None where there is none, or no answer."""
        return self.answer.headers.get(name) if self.answer else None


@dataclass(frozen=True)
class Seen:
    """All answers. `now` is the time by the edge's clock where that is known, else by this machine's (Unix time).

    `status` is None where the edge gave none; `status_error` says why. If the edge takes no claims, it isn't asked.
    """

    front: Asked
    pages: tuple[Asked, ...]
    origins: tuple[Asked, ...]
    status: Status | None
    status_error: str
    now: float
    seconds: float


def look(settings: EdgeOnlySettings, edge: VisibleEdge, *, timeout: float) -> Seen:
    """Ask everything. A URL that has not answered after `timeout` seconds counts as one that does not answer."""
    began = time.monotonic()
    deadline = began + timeout
    front_door, visitors = settings.edge, settings.visitors
    late = f"no answer within {timeout:g} s"

    def question(url: str, act: Callable[[], Asked]) -> _Question[Asked]:
        return _Question(act, Asked(url, None, f"{url} gives {late}"))

    status: _Question[tuple[Status | None, str, float]] = _Question(
        partial(_status, edge, deadline), (None, f"the edge gives {late}", 0.0)
    )
    policy = [status] if edge.claims else []
    front = question(front_door.health_url, partial(_front, front_door, deadline))
    origins = [question(url, partial(_once, url, {}, deadline)) for url in visitors.origin]
    urls = [front_door.address(page) for page in visitors.anonymous]
    pages = [question(url, partial(_page, url, edge, deadline)) for url in urls]
    _together([*policy, front, *origins, *pages], deadline)

    shows, status_error, ahead = status.result
    return Seen(
        front=front.result,
        pages=tuple(page.result for page in pages),
        origins=tuple(origin.result for origin in origins),
        status=shows,
        status_error=status_error,
        now=time.time() + ahead,
        seconds=time.monotonic() - began,
    )


class _Question(Generic[_Result]):
    """One question. `result` is its first value until the answer is there, and also after a bug."""

    def __init__(self, act: Callable[[], _Result], result: _Result) -> None:
        self.result = result
        self.bug: Exception | None = None
        self._act = act

    def ask(self) -> None:
        """Ask, in a thread. An error there would be lost, so it is kept for _together."""
        try:
            self.result = self._act()
        except Exception as exc:  # noqa: BLE001 - _together raises it
            self.bug = exc


def _together(questions: Sequence[_Question[Any]], deadline: float) -> None:
    """Ask all, a few at a time, until the deadline.

    A thread that hangs beyond it (a name that isn't resolved, an answer that comes byte by byte) ends with the process.
    """
    waiting = list(reversed(questions))

    def work() -> None:
        while waiting and time.monotonic() < deadline:
            try:
                waiting.pop().ask()
            except IndexError:  # another thread was quicker
                return

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(questions)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for question in questions:
        if question.bug is not None:
            raise question.bug


def _status(edge: VisibleEdge, deadline: float) -> tuple[Status | None, str, float]:
    """The node's status, or why there is none; and the seconds by which its clock is ahead of ours."""
    clock = Clock()
    try:
        found = clock.ask(edge, timeout=_left(deadline))
    except EdgeUnavailable as exc:
        return None, exc.message, 0.0
    return found, "", clock.ahead if abs(clock.ahead) > CLOCK_TOLERANCE else 0.0


def _front(front_door: EdgeSettings, deadline: float) -> Asked:
    """Ask for the health page as a sure miss. The result's URL is without the query that makes it one."""
    url, page = sure_miss(front_door), front_door.health_url
    asked = _once(url, marks.asking(front_door.status_name), deadline)
    return replace(asked, url=page, error=asked.error.replace(url, page))


def _page(url: str, edge: VisibleEdge, deadline: float) -> Asked:
    """Ask for a page as anonymous visitors do, until a node tells what it holds, or clearly none will."""
    for _ in range(ASKS):
        asked = _once(url, edge.asking, deadline)
        copy = edge.copy(asked.answer.headers) if asked.answer else None
        asked = replace(asked, copy=copy)
        enough = copy is None or not copy.told or (copy.hit and copy.ttl is not None)
        if enough or asked.status >= HTTPStatus.BAD_REQUEST or time.monotonic() > deadline:
            break
    return asked


def _once(url: str, headers: Mapping[str, str], deadline: float) -> Asked:
    try:
        return Asked(url, ask(url, headers=headers, timeout=_left(deadline), at_most=BYTES))
    except OriginsUnhealthy as exc:
        return Asked(url, None, exc.message)


def _left(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())
