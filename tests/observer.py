"""Visitors who ask for some time and write down what they got. They share no code with edgeguard: they know its words.

Each visitor asks one thing after the other, so the answers are in the order in which they happened.
"""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from itertools import cycle, groupby
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CLOSED, NO_RELEASE = "closed", "none"
STATUS = "/edgeguard-status"
INTERVAL = 0.02
PATIENCE = 30.0
"""Seconds between an answer and the next request of a visitor; and how long a visitor waits for an answer."""


def bundled_pages(count: int) -> tuple[str, ...]:
    """The home page of the bundled application, and `count` of its other pages."""
    return "/", *(f"/page/{number}" for number in range(1, count + 1))


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and when its answer was whole (Unix time). `status` is None for no answer."""

    began: float
    ended: float
    page: str
    status: int | None
    release: str
    """The release as the application itself names it; CLOSED for a refusal; NO_RELEASE where the answer names none."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Names in lower case."""
    words: Mapping[str, str] = field(default_factory=dict)
    """The words of the edge's status answer, `name=value`; empty for every other page."""

    @property
    def broken(self) -> bool:
        return self.status is None or self.status >= 500

    @property
    def state(self) -> str:
        """Whether the gate that answered is open."""
        return CLOSED if self.release == CLOSED else "open"


def ask(url: str, page: str = "/", *, patience: float = PATIENCE, headers: Mapping[str, str] | None = None) -> Answer:
    """One request over a new connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=patience)
    began = time.time()
    try:
        connection.request("GET", page, headers=dict(headers or {}))
        answer = connection.getresponse()
        body = answer.read().decode()
    except (OSError, http.client.HTTPException):
        return Answer(began, time.time(), page, None, NO_RELEASE)
    finally:
        connection.close()
    got = {name.lower(): value for name, value in answer.getheaders()}
    release = CLOSED if "edgeguard-closed" in got else got.get("x-release") or NO_RELEASE
    words = dict(word.partition("=")[::2] for word in body.split()) if page == STATUS else {}
    return Answer(began, time.time(), page, answer.status, release, got, words)


def edge_status(edge_url: str) -> Mapping[str, str]:
    """The words of an edge node's status answer."""
    return ask(edge_url, STATUS).words


class Visitor:
    """Asks one address for page after page, over new connections, for as long as the block runs."""

    def __init__(self, url: str, pages: Sequence[str], *, patience: float = PATIENCE, **headers: str) -> None:
        self.answers: list[Answer] = []
        self._url = url
        self._pages = pages
        self._patience = patience
        self._headers = headers
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def first(self, release: str) -> Answer:
        return next(answer for answer in self.answers if answer.release == release)

    def last(self, release: str) -> Answer:
        return next(answer for answer in reversed(self.answers) if answer.release == release)

    @property
    def broken(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.broken]

    def _visit(self) -> None:
        for page in cycle(self._pages):
            self.answers.append(ask(self._url, page, patience=self._patience, headers=self._headers))
            if self._end.wait(INTERVAL):
                return


def releases_in_turn(answers: Iterable[Answer]) -> list[str]:
    """The releases in the order in which they answered, each named once for as long as it went on."""
    return [release for release, _ in groupby(answers, key=lambda answer: answer.release)]
