"""The front door: the site as a visitor reaches it, through the edge. Is it healthy, and on the right release?"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edgeguard.edge import marks
from edgeguard.errors import OriginsUnhealthy
from edgeguard.site.asking import ask
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.settings import EdgeSettings
    from edgeguard.site.asking import Answer

TIMEOUT = 10.0
PAUSE = 0.2
_REMEDY = "See the origin's log, and ask the origin without the edge."


def wait_healthy(settings: EdgeSettings, release: str | None, *, sleep: Callable[[float], None]) -> None:
    """Wait for `edge.healthy_rounds` good answers in a row (see ask_once). Errors of `sleep` pass through.

    Raises:
        OriginsUnhealthy: there were not enough within `edge.healthy_timeout`. It describes the last bad answer.
    """
    deadline = time.monotonic() + settings.healthy_timeout
    good = 0
    while good < settings.healthy_rounds:
        try:
            ask_once(settings, release)
            good += 1
        except OriginsUnhealthy:
            if time.monotonic() > deadline:
                raise
            good = 0
            sleep(PAUSE)


def ask_once(settings: EdgeSettings, release: str | None) -> float:
    """Ask the health page once, at a URL that is a sure miss. Returns how long the answer took, in seconds.

    That is the origin's time, since no cache can answer.

    Raises:
        OriginsUnhealthy: the answer is not a fresh 200 of this release (where the release can be told).
    """
    answer = look(settings)
    judge(settings, answer, release)
    return answer.seconds


def look(settings: EdgeSettings) -> Answer:
    """The answer, good or bad, at a URL that is a sure miss. Raises OriginsUnhealthy for no answer at all."""
    return ask(sure_miss(settings), headers=marks.asking(settings.status_name), timeout=TIMEOUT)


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
            raise OriginsUnhealthy(
                f"{settings.health_url} is answered by release {short(found)}, not {short(release)}",
                "Does something else answer there, or keep the page in spite of its query?",
            )


def sure_miss(settings: EdgeSettings) -> str:
    """The health page's address with a query that no cache has seen, so that the origin has to answer."""
    separator = "&" if "?" in settings.health_url else "?"
    return f"{settings.health_url}{separator}edgeguard={os.urandom(8).hex()}"
