"""The part that `doctor` and preflight share: the service, the token, and the pages that anonymous visitors ask for."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeguard.cluster.lock import SharedRecord
from edgeguard.edge import CONFLICTS
from edgeguard.edge.claim import live
from edgeguard.errors import ClusterError
from edgeguard.machine.signals import pause
from edgeguard.settings import ClusterSettings
from edgeguard.site import pages, revalidation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.record import Ended
    from edgeguard.edge import ActiveVersion
    from edgeguard.edge.claim import Claim
    from edgeguard.environment import EdgeSide
    from edgeguard.findings import Finding
    from edgeguard.settings import EdgeOnlySettings
    from edgeguard.site.pages import Page, Yardstick

OF_SERVICE = (*CONFLICTS, "backend-stays-sick")
"""Findings about the service. If one is critical, a deploy does not begin."""
REFUSED = (
    *("page-error", "not-kept", "set-cookie", "private", "no-store", "no-ttl", "passed", "vary", "short-runway"),
    *("revalidates", "token-scope", "token-expires"),
    *OF_SERVICE,
)
"""Findings with which a deploy does not begin, unless a person accepts them by name. "cold" is not among them: the edge
has fetched the page for preflight, and has a copy now."""
LAST = 5
"""The number of past deploys from which the length of the next closure is expected."""
QUICK = 8
"""The most pages that preflight looks at."""
PLANNED_CLOSURE = ClusterSettings.model_fields["planned_closure"].default
"""Seconds that a closure is assumed to last if there is neither a history nor a [cluster]."""


def expected_closure(environment: EdgeSide, past: Sequence[Ended]) -> tuple[float, str]:
    """How long a closure will last, in seconds, and where that is known from. `past` is the servers' history."""
    closures = [  # of whole deploys: the time between a run that broke off and the next one tells nothing
        run.closed_seconds for run in past if run.outcome == "deployed" and run.closed_seconds and not run.closed_before
    ]
    cluster = environment.settings.cluster
    said = (
        cluster is not None and "planned_closure" in cluster.model_fields_set
    )  # a person may know better than the past
    planned = cluster.planned_closure if cluster is not None and said else 0
    if (closures := closures[-LAST:]) and max(closures) > planned:
        return max(closures), f"the longest of the last {len(closures)} deploys"
    if cluster is not None:
        return cluster.planned_closure, "cluster.planned_closure"
    return PLANNED_CLOSURE, "assumed"


def history(environment: EdgeSide, cluster: Cluster | None) -> tuple[Ended, ...]:
    """The past runs in the servers' record; () if there are no servers, or they can't be read."""
    try:
        return SharedRecord(cluster, environment.name).look().history if cluster is not None else ()
    except ClusterError:
        return ()


def yardstick(environment: EdgeSide, closure: float, *, claims: Iterable[Claim] = (), now: float = 0.0) -> Yardstick:
    """The yardstick for runways that have to last `closure` seconds.

    `claims` are the known claims, and `now` is Unix time by the edge's clock: those in force then count.
    """
    base, ceiling = environment.edge.base, environment.settings.edge.ceiling
    alive = live(claims, now=now, ceiling=ceiling)
    lasting = [each.grace for each in alive if each.until > now + closure]
    claimed = min(ceiling, max(base + environment.settings.claim.duration, *lasting, 0))
    return pages.Yardstick(base, ceiling, claimed, closure, alive, now)


def urls(settings: EdgeOnlySettings) -> tuple[str, ...]:
    """The pages that the settings name, as complete URLs, without repetition."""
    named = (*settings.visitors.anonymous, *settings.doctor.urls)
    return tuple(dict.fromkeys(settings.edge.address(page) for page in named))


def spread(names: Sequence[str], most: int) -> tuple[str, ...]:
    """At most `most` of the names, evenly from the whole list."""
    if len(names) <= most:
        return tuple(names)
    return tuple(names[number * len(names) // most] for number in range(most))


def look(
    names: Sequence[str],
    environment: EdgeSide,
    measure: Yardstick,
    *,
    warm: bool = False,
    ahead: float = 0.0,
    pause: Callable[[float], None] | None = None,
    sleep: Callable[[float], None] = pause,
) -> Iterator[tuple[Page, tuple[Finding, ...]]]:
    """Each page with the findings about it. `ahead`, `pause` and `sleep` are as in pages.look.

    With `warm`, a page that was cold is looked at once more: the edge has fetched it for the first question.
    """
    edge, origin, timeout = environment.edge, _origin(environment.settings), environment.settings.visitors.timeout
    for url in names:
        page = pages.look(url, edge, measure, timeout=timeout, ahead=ahead, pause=pause, sleep=sleep)
        if warm and page.why == "cold":
            page = pages.look(url, edge, measure, timeout=timeout, ahead=ahead, pause=pause, sleep=sleep)
        found: tuple[Finding, ...] = ()
        if page.cached and page.answer is not None:
            found = revalidation.examine(
                url, page.answer.headers, edge, origin, needed=measure.closure, timeout=timeout, sleep=sleep
            )
        cause = next((each for each in found if each.name == "revalidates"), None)
        if cause and page.why == "short-runway":  # a 304 has shortened it; after a purge, the next 304 would again
            page = replace(page, why=cause.name, finding=cause)
        elif page.finding:
            found = (page.finding, *found)
        yield page, found


def before_a_deploy(environment: EdgeSide, cluster: Cluster, *, sleep: Callable[[float], None]) -> Iterator[Finding]:
    """The findings of the quick part, for preflight: the service, the token, and a few pages. Raises EdgeError.

    Errors of `sleep` pass through, also amid a page's answer.
    """
    settings = environment.settings
    closure, _ = expected_closure(environment, history(environment, cluster))
    version = environment.edge.active_version()
    yield from version.conflicts()
    yield from health_checks_of(environment, version, closure)
    yield from token_findings(environment, lasting=settings.claim.duration)
    for _, found in look(spread(urls(settings), QUICK), environment, yardstick(environment, closure), sleep=sleep):
        yield from found


def health_checks_of(environment: EdgeSide, version: ActiveVersion, closure: float) -> tuple[Finding, ...]:
    """Findings on the service's own health checks, which may see the closure."""
    settings = environment.settings
    green_path = settings.cluster.edge_check_path if settings.cluster else None
    return version.health_checks(closure=closure, green_path=green_path, patience=settings.edge.healthy_timeout)


def token_findings(environment: EdgeSide, *, lasting: float) -> tuple[Finding, ...]:
    """The findings about a token that has to last for `lasting` more seconds. Raises EdgeError if it can't be asked."""
    return environment.edge.token_findings(now=time.time(), lasting=lasting)


def _origin(settings: EdgeOnlySettings) -> str | None:
    """The origin's address, if the settings have it: doctor.origin, or the beginning of the first visitors.origin."""
    if settings.doctor.origin:
        return settings.doctor.origin
    parts = urlsplit(settings.visitors.origin[0]) if settings.visitors.origin else None
    return f"{parts.scheme}://{parts.netloc}" if parts and parts.scheme else None
