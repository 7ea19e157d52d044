"""Visitors who write down what they got. Nothing here is edgeguard's; what must have been true for that is in laws.py.

Each post asks one thing after the other, so what it wrote down is in the order in which it happened.
"""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import ExitStack
from itertools import cycle
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.crash.laws import CLOSED, Answer, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGES = ("/", *(f"/page/{number}" for number in range(1, 6)))
STATUS = ("/edgeguard-status",)
_INTERVAL = 0.025
_TIMEOUT = 30.0


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
