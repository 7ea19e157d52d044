"""The front door: the site as a visitor reaches it, through the edge. Is it healthy, and on the right release?"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edgeguard.edge import marks
from edgeguard.errors import OriginsUnhealthy
from edgeguard.machine.signals import pause
from edgeguard.site.asking import ask
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeguard.settings import EdgeSettings
    from edgeguard.site.asking import Answer

TIMEOUT = 10.0
LEAST = 1.0
"""Seconds for an answer at the end of `edge.healthy_timeout`: with less, a healthy site would seem to be sick."""
PAUSE = 0.2
_BROKEN = 500
_REMEDY = "See the origin's log, and ask the origin without the edge."


def wait_healthy(settings: EdgeSettings, release: str | None, *, sleep: Callable[[float], None]) -> None:
    """Wait for `edge.healthy_rounds` good answers in a row (see ask_once), spread over `edge.healthy_for` seconds: a
    release that answers once and then dies is not healthy. Errors of `sleep` pass through, also amid an answer.

    Raises:
        OriginsUnhealthy: there were not enough within `edge.healthy_timeout`. It describes the last bad answer.
    """
    pause = settings.healthy_for / max(1, settings.healthy_rounds - 1)
    _wait_good(settings, release, settings.healthy_rounds, pause, sleep)


def wait_good(settings: EdgeSettings, release: str | None, *, sleep: Callable[[float], None]) -> None:
    """Wait for one good answer. Raises OriginsUnhealthy as wait_healthy does."""
    _wait_good(settings, release, 1, 0, sleep)


def _wait_good(
    settings: EdgeSettings, release: str | None, rounds: int, pause: float, sleep: Callable[[float], None]
) -> None:
    deadline = time.monotonic() + settings.healthy_timeout
    good = 0
    while good < rounds:
        try:
            ask_once(settings, release, timeout=min(TIMEOUT, max(LEAST, deadline - time.monotonic())), sleep=sleep)
            good += 1
        except OriginsUnhealthy:
            if time.monotonic() > deadline:
                raise
            good = 0
            sleep(PAUSE)
        else:
            if good < rounds:
                sleep(pause)


def ask_once(
    settings: EdgeSettings,
    release: str | None,
    *,
    timeout: float = TIMEOUT,
    sleep: Callable[[float], None] = pause,
) -> float:
    """Ask the health page once, at a URL that is a sure miss. Returns how long the answer took, in seconds.

    That is the origin's time, since no cache can answer. `timeout` and `sleep` are as in `ask`.

    Raises:
        OriginsUnhealthy: the answer is not a fresh 200 of this release (where the release can be told).
    """
    answer = look(settings, timeout=timeout, sleep=sleep)
    judge(settings, answer, release)
    return answer.seconds


def look(settings: EdgeSettings, *, timeout: float = TIMEOUT, sleep: Callable[[float], None] = pause) -> Answer:
    """The answer, good or bad, at a URL that is a sure miss. Raises OriginsUnhealthy for no answer at all."""
    return ask(sure_miss(settings), headers=marks.asking(settings.status_name), timeout=timeout, sleep=sleep)


def judge(settings: EdgeSettings, answer: Answer, release: str | None = None) -> None:
    """Raise OriginsUnhealthy if an answer to `look` is not a healthy origin's (of this release)."""
    if answer.status != 200:  # noqa: PLR2004 (HTTP)
        raise OriginsUnhealthy(f"{settings.health_url} answers {answer.status} through the front door", _REMEDY)
    if closure := marks.closed(answer.headers):
        raise OriginsUnhealthy(f"{settings.health_url} is answered by a closed gate ({closure})", _REMEDY)
    if marks.stale(answer.headers) is not None:
        raise OriginsUnhealthy(f"{settings.health_url} is answered with a stale copy", _REMEDY)
    if release is not None and settings.release_header is not None:
        found = answer.headers.get(settings.release_header.lower())
        if found != release:
            remedy = "Does something else answer there, or keep the page in spite of its query?"
            if found and release.startswith(found):
                remedy = f"{settings.release_header} (edge.release_header) has to name the whole digest."
            said, wanted = short(found, release), short(release, found)
            raise OriginsUnhealthy(f"{settings.health_url} is answered by release {said}, not {wanted}", remedy)


def sure_miss(settings: EdgeSettings) -> str:
    """The health page's address with a query that no cache has seen, so that the origin has to answer."""
    return unseen(settings.health_url)


def unseen(url: str) -> str:
    """A page's address with a query that no cache has seen, so that the origin has to answer."""
    return f"{url}{'&' if '?' in url else '?'}edgeguard={os.urandom(8).hex()}"


def statuses(settings: EdgeSettings, urls: Iterable[str], *, sleep: Callable[[float], None]) -> dict[str, int]:
    """The status with which the origin answers each of these pages; 0 for a page without a whole answer.

    Errors of `sleep` pass through, also amid an answer.
    """
    found = {}
    asking = marks.asking(settings.status_name)
    for url in urls:
        try:
            found[url] = ask(unseen(url), headers=asking, timeout=TIMEOUT, sleep=sleep).status
        except OriginsUnhealthy:
            found[url] = 0
    return found


def refuse_broken(before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Raise OriginsUnhealthy if a page that answered below 500 `before` answers 5xx or not at all `now`."""
    for url, status in now.items():
        if 0 < before.get(url, 0) < _BROKEN and not 0 < status < _BROKEN:
            said = f"answers {status}" if status else "gives no answer"
            raise OriginsUnhealthy(
                f"{url} {said} through the front door; before the close it answered {before[url]}",
                "See the application's log for this page.",
            )
