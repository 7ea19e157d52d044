"""Visitors who write down what they got, and what must have been true for that. Nothing here is edgeguard's.

Each post asks one thing after the other, so what it wrote down is in the order in which it happened.
"""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, groupby, pairwise
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGES = ("/", *(f"/page/{number}" for number in range(1, 6)))
STATUS = ("/edgeguard-status",)
FRESH = (
    1.5  # seconds: a copy that a visitor was given so shortly before a close is within TTL and base grace (1 s each)
)
QUICKER_THAN_A_SWAP = 0.05
CLOSED = "closed"
_INTERVAL = 0.025
_TIMEOUT = 30.0


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and when its answer was whole (Unix time). `status` is None for no answer."""

    began: float
    ended: float
    page: str
    status: int | None
    release: str
    words: dict[str, str]
    """Of the edge's status answer, name by name; else empty."""

    @property
    def broken(self) -> bool:
        return self.status is None or self.status >= 500

    @property
    def state(self) -> str:
        """Of a gate: whether it is open."""
        return CLOSED if self.release == CLOSED else "open"


class Post:
    """Asks one address for page after page until it is told to stop."""

    def __init__(self, url: str, pages: Sequence[str]) -> None:
        self.answers: list[Answer] = []
        self._url = url
        self._pages = pages
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        for page in cycle(self._pages):
            self.answers.append(ask(self._url, page))
            if self._end.wait(_INTERVAL):
                return


def ask(url: str, page: str = "/") -> Answer:
    """One request over a new connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT)
    began = time.time()
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return Answer(began, time.time(), page, None, "none", {})
    finally:
        connection.close()
    release = CLOSED if answer.headers["Edgeguard-Closed"] else answer.headers["X-Release"] or "none"
    words = dict(word.partition("=")[::2] for word in body.split()) if page in STATUS else {}
    return Answer(began, time.time(), page, answer.status, release, words)


@dataclass(frozen=True)
class Seen:
    """What was seen of one scenario."""

    gates: tuple[list[Answer], ...]
    anonymous: list[Answer]
    status: list[Answer]
    hooks: list[list[str]]
    asked: list[dict[str, Any]]

    @property
    def closures(self) -> list[tuple[float, float]]:
        """From the first refusal that was received to the last one that was asked for, and so surely closed."""
        return [
            (answers[0].ended, answers[-1].began)
            for gate in self.gates
            for release, run in groupby(gate, key=lambda answer: answer.release)
            if release == CLOSED and (answers := list(run))
        ]

    @property
    def down(self) -> float:
        """The longest time in which visitors of cached pages got errors, in seconds."""
        runs = [list(run) for broken, run in groupby(self.anonymous, key=self._unfair) if broken]
        return max((run[-1].ended - run[0].began for run in runs), default=0.0)

    def broken_laws(self, *, sick: bool = False) -> Iterator[str]:
        """What was not as it must always be. `sick`: the origin was made so, and answers errors while it is open."""
        yield from self._mixed()
        yield from self._open_over_a_hook()
        yield from self._dark()
        yield from self._unclaimed()
        yield from self._purged_while_closed()
        if not sick:
            yield from self._open_and_sick()

    def _mixed(self) -> Iterator[str]:
        every = sorted((each for gate in self.gates for each in gate if each.release != CLOSED), key=lambda a: a.began)
        latest: dict[str, float] = {}
        for answer in every:
            if answer.broken and answer.release == "none":
                continue
            for release, ended in latest.items():
                if release != answer.release and ended > answer.began:
                    yield f"{release} and {answer.release} answered at one time"
            latest[answer.release] = max(answer.ended, latest.get(answer.release, 0.0))
        for gate in self.gates:
            for one, next_ in pairwise(gate):
                changed = CLOSED not in {one.release, next_.release} and one.release != next_.release
                if (
                    changed
                    and next_.began - one.ended < QUICKER_THAN_A_SWAP
                    and "none" not in {one.release, next_.release}
                ):
                    yield f"{one.release} and {next_.release} answered one after the other, with no closure between"

    def _open_over_a_hook(self) -> Iterator[str]:
        for began, ended in self.hook_runs:
            for gate in self.gates:
                for answer in gate:
                    if (
                        answer.release != CLOSED
                        and answer.status is not None
                        and began < answer.began
                        and answer.ended < ended
                    ):
                        yield f"open while the hook ran ({answer.release})"
                        break

    @property
    def hook_runs(self) -> list[tuple[float, float]]:
        """When each deploy hook ran (Unix time)."""
        runs: list[tuple[float, float]] = []
        for line in self.hooks:
            at = datetime.fromisoformat(line[0]).timestamp()
            runs.append((at, at)) if line[1] == "started" else runs.append((runs.pop()[0], at))
        return runs

    def _dark(self) -> Iterator[str]:
        wrong = [answer for answer in self.anonymous if self._unfair(answer)]
        if wrong:
            statuses = sorted({str(answer.status) for answer in wrong})
            yield f"{len(wrong)} anonymous visitors got {', '.join(statuses)} for a cached page"

    def _unfair(self, answer: Answer) -> bool:
        """An error for a page of which the edge had a copy, fresh enough, when the origin went away."""
        if not answer.broken:
            return False
        gone = max((began for began, _ in self.closures if began < answer.ended), default=answer.began)
        return any(
            gone - FRESH < other.began and other.ended < answer.began and not other.broken
            for other in self.anonymous
            if other.page == answer.page
        )

    def _unclaimed(self) -> Iterator[str]:
        for began, ended in self.closures:
            bare = [
                answer
                for answer in self.status
                if began < answer.began and answer.ended < ended and answer.words
                if int(answer.words["grace"]) <= int(answer.words["base"])
            ]
            if bare:
                yield f"closed without a claim, as {len(bare)} answers of the edge show"
                return

    def _purged_while_closed(self) -> Iterator[str]:
        for call in self.asked:
            if "purge" in call["path"] and any(began < call["at"] < ended for began, ended in self.closures):
                yield f"{call['method']} {call['path']} while closed"

    def _open_and_sick(self) -> Iterator[str]:
        wrong = [each for gate in self.gates for each in gate if each.release != CLOSED and each.broken]
        if wrong:
            yield f"open, and {len(wrong)} answers through the gate were errors"


class Observer:
    """Posts at the edge and at the gate, for as long as the block runs."""

    def __init__(self, edge_url: str, gate_url: str) -> None:
        self._gates = tuple(Post(gate_url, PAGES[shift:] + PAGES[:shift]) for shift in (0, 3))
        self._anonymous = Post(edge_url, PAGES)
        self._status = Post(edge_url, STATUS)
        self._posts = ExitStack()

    def __enter__(self) -> Self:
        for post in (*self._gates, self._anonymous, self._status):
            self._posts.enter_context(post)
        return self

    def __exit__(self, *_: object) -> None:
        self._posts.close()

    def begin(self) -> None:
        """Forget what was, and wait until every page has been served and what is there is known."""
        for post in (*self._gates, self._anonymous, self._status):
            post.answers.clear()
        deadline = time.monotonic() + _TIMEOUT
        while {answer.page for answer in self._anonymous.answers if not answer.broken} != set(PAGES):
            assert time.monotonic() < deadline, "not every page is served"
            time.sleep(0.02)

    def seen(self, hooks: list[list[str]], asked: list[dict[str, Any]]) -> Seen:
        """All since the beginning; each post has asked once more after this was called."""
        called = time.time()
        deadline = time.monotonic() + _TIMEOUT
        for post in (*self._gates, self._anonymous, self._status):
            while not post.answers or post.answers[-1].began < called:
                assert time.monotonic() < deadline, "no answer"
                time.sleep(0.01)
        gates = tuple(list(post.answers) for post in self._gates)
        return Seen(gates, list(self._anonymous.answers), list(self._status.answers), hooks, asked)
