"""An observer who knows nothing of the product: it asks over sockets, writes down what came back, and reads histories.

Each post asks one thing after the other, so what it wrote down is in the order in which it happened.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from itertools import cycle, groupby
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGES = ("/", *(f"/page/{number}" for number in range(1, 24)))
TTL = 1.0  # of the bundled application's pages, in seconds
INTERVAL = 0.02
CLOSED = "closed"


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and when its answer was whole (Unix time). `status` is None for no answer."""

    began: float
    ended: float
    page: str
    status: int | None
    headers: dict[str, str] = field(repr=False)

    @property
    def broken(self) -> bool:
        return self.status is None or self.status >= 500

    @property
    def release(self) -> str:
        """As the application itself names it; "closed" for a refusal, so that a story of answers reads well."""
        return CLOSED if "edgeguard-closed" in self.headers else self.headers.get("x-release", "none")


class Post:
    """Asks one address for page after page until it is told to stop."""

    def __init__(self, url: str, **headers: str) -> None:
        self.answers: list[Answer] = []
        self._address = urlsplit(url)
        self._headers = headers
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

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

    def _watch(self) -> None:
        for page in cycle(PAGES):
            self.answers.append(self._ask(page))
            if self._end.wait(INTERVAL):
                return

    def _ask(self, page: str) -> Answer:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=5)
        began = time.time()
        status: int | None = None
        headers: dict[str, str] = {}
        try:
            connection.request("GET", page, headers=self._headers)
            answer = connection.getresponse()
            answer.read()
            status, headers = answer.status, {name.lower(): value for name, value in answer.getheaders()}
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        return Answer(began, time.time(), page, status, headers)


def chapters(answers: Iterable[Answer]) -> list[str]:
    """The releases in the order in which they answered, each named once for as long as it went on."""
    return [release for release, _ in groupby(answers, key=lambda answer: answer.release)]


def history(control_url: str) -> list[dict[str, Any]]:
    """What the API was asked."""
    found: list[dict[str, Any]] = json.loads(_get(f"{control_url}/history"))
    return found


def status(edge_url: str) -> dict[str, str]:
    """What the edge node says about the grace: its words, `name=value`."""
    return dict(word.split("=", 1) for word in _get(f"{edge_url}/edgeguard-status").split())


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text
