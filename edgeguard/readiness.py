"""What `doctor` and preflight look at alike: the token, and the pages that anonymous visitors ask for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from edgeguard import pages, report, revalidation
from edgeguard.edge import token
from edgeguard.settings import ClusterSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeguard.environment import EdgeSide
    from edgeguard.findings import Finding
    from edgeguard.pages import Page, Yardstick
    from edgeguard.settings import EdgeOnlySettings

REFUSED = (
    *("page-error", "not-kept", "set-cookie", "private", "no-store", "no-ttl", "passed", "vary", "short-runway"),
    *("revalidates", "token-scope", "token-expires"),
)
"""Findings with which a deploy does not begin, unless a person accepts them by name. What was cold is not among them:
preflight has fetched it."""
QUICK = 8
"""Pages that preflight looks at."""
PLANNED_CLOSURE = ClusterSettings.model_fields["planned_closure"].default
"""Seconds, where neither a history nor a [cluster] says more."""


def expected_closure(environment: EdgeSide) -> tuple[float, str]:
    """How long a closure will last, in seconds, and how that is known."""
    if closures := report.closures(environment.state):
        return max(closures), f"the longest of the last {len(closures)} deploys"
    cluster = environment.settings.cluster
    if cluster is not None:
        return cluster.planned_closure, "cluster.planned_closure"
    return PLANNED_CLOSURE, "assumed"


def yardstick(environment: EdgeSide, *, grace: float | None = None) -> Yardstick:
    """`grace` is what is in force now, in seconds; the base, where that is not known."""
    edge, claim = environment.settings.edge, environment.settings.claim
    if edge.mechanism == "settings":  # always in force, and nothing can be claimed beyond it
        return pages.Yardstick(edge.ceiling, edge.ceiling, expected_closure(environment)[0])
    now = edge.base_grace if grace is None else grace
    claimed = max(now, min(edge.ceiling, edge.base_grace + claim.duration))
    return pages.Yardstick(now, claimed, expected_closure(environment)[0])


def urls(settings: EdgeOnlySettings) -> tuple[str, ...]:
    """The pages that the settings name, as whole URLs, each once."""
    return tuple(
        dict.fromkeys(
            urljoin(settings.edge.url, page) for page in (*settings.visitors.anonymous, *settings.doctor.urls)
        )
    )


def spread(names: Sequence[str], most: int) -> tuple[str, ...]:
    """At most so many of them, from the whole length of the list."""
    if len(names) <= most:
        return tuple(names)
    return tuple(names[number * len(names) // most] for number in range(most))


def look(
    names: Sequence[str],
    settings: EdgeOnlySettings,
    measure: Yardstick,
    *,
    warm: bool = False,
    ahead: float = 0.0,
    pause: Callable[[float], None] | None = None,
) -> Iterator[tuple[Page, tuple[Finding, ...]]]:
    """Each page with what was found out about it; `ahead` and `pause` are as in pages.look.

    With `warm` a page that was cold is looked at once more: to ask for it was to have it fetched.
    """
    origin, timeout = _origin(settings), settings.visitors.timeout
    for url in names:
        page = pages.look(url, settings.edge, measure, timeout=timeout, ahead=ahead, pause=pause)
        if warm and page.why == "cold":
            page = pages.look(url, settings.edge, measure, timeout=timeout, ahead=ahead, pause=pause)
        found: tuple[Finding, ...] = (page.finding,) if page.finding else ()
        if page.cached and page.answer is not None:
            found += revalidation.examine(url, page.answer.headers, origin, needed=measure.closure, timeout=timeout)
        yield page, found


def before_a_deploy(environment: EdgeSide) -> Iterator[Finding]:
    """The quick part, for preflight: the token, and a few of the pages. Raises EdgeError as `token_findings`."""
    settings = environment.settings
    yield from token_findings(environment, lasting=settings.claim.duration)
    for _, found in look(spread(urls(settings), QUICK), settings, yardstick(environment)):
        yield from found


def token_findings(environment: EdgeSide, *, lasting: float) -> tuple[Finding, ...]:
    """Whether the token will do for `lasting` more seconds. Raises EdgeError where that can't be asked."""
    service = environment.settings.edge.service
    return token.find(environment.edge.token(), service=service, now=time.time(), lasting=lasting)


def _origin(settings: EdgeOnlySettings) -> str | None:
    """Where the origin is, as far as the settings tell: doctor.origin, or the beginning of visitors.origin's URLs."""
    if settings.doctor.origin:
        return settings.doctor.origin
    parts = urlsplit(settings.visitors.origin[0]) if settings.visitors.origin else None
    return f"{parts.scheme}://{parts.netloc}" if parts and parts.scheme else None
