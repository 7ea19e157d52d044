"""Pages as the edge has them: whether it has a copy, for how long that could be served, and why there is none.

Each page is asked for as a visitor would, with the edge's own headers (`VisibleEdge.asking`). The edge reads the answer
(`VisibleEdge.copy`). Asking has an effect: where the edge had no copy, it has one afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeguard.edge import marks
from edgeguard.edge.claim import runway
from edgeguard.errors import OriginsUnhealthy
from edgeguard.findings import Finding
from edgeguard.machine.signals import pause
from edgeguard.site.asking import ask
from edgeguard.times import apart, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.edge import Copy, Freshness, VisibleEdge
    from edgeguard.edge.claim import Claim
    from edgeguard.site.asking import Answer

ASKS = 4
"""The most questions about one page. Each may reach another node, and not every answer tells what the node holds."""

_SERVER_ERROR = 500
_PERSONAL = frozenset({"*", "cookie", "user-agent", "authorization", "referer", "accept-language", "x-forwarded-for"})
"""Headers that nearly every visitor sends differently. A copy for one such value serves no other visitor."""
_MOMENT = 5
"""Seconds by which the two clocks may differ: they were compared a while ago, in whole seconds."""


@dataclass(frozen=True)
class Yardstick:
    """The figures that a runway is measured with, in seconds.

    `base` and `ceiling` are the policy's graces, `claimed` is the grace of a deploy's claim, and `closure` is how long
    a closure is expected to last. `claims` are those in force `now` (Unix time, the edge's clock).
    """

    base: int
    ceiling: int
    claimed: float
    closure: float
    claims: tuple[Claim, ...] = ()
    now: float = 0.0

    def runway(self, ttl: float, stale_if_error: float) -> float:
        """The seconds for which such a copy could be served if the origin failed now, as the claims end one by one."""
        return runway(self.now + ttl, stale_if_error, self.claims, base=self.base, ceiling=self.ceiling, now=self.now)


@dataclass(frozen=True)
class Page:
    """One page. `cached`: the edge has a copy now. `cold`: it had none before we asked (None: unknown).

    `runway` is in seconds, if the origin failed now; `runway_claimed` is the same under a deploy's claim; None is
    unknown. `why` is the name of `finding`, "" where there is none. `answer` is the last answer.
    """

    url: str
    status: int | None = None
    cached: bool = False
    cold: bool | None = None
    node: str | None = None
    ttl: float | None = None
    stale_if_error: float | None = None
    runway: float | None = None
    runway_claimed: float | None = None
    why: str = ""
    finding: Finding | None = None
    answer: Answer | None = None

    def json(self) -> dict[str, object]:
        """The form of `doctor --json`."""
        hidden = {"finding", "answer"}
        return {name: value for name, value in vars(self).items() if name not in hidden}


def look(
    url: str,
    edge: VisibleEdge,
    yardstick: Yardstick,
    *,
    timeout: float,
    ahead: float = 0.0,
    pause: Callable[[float], None] | None = None,
    sleep: Callable[[float], None] = pause,
) -> Page:
    """Ask for a page until the edge has told what it holds, at most ASKS times.

    The edge's clock is `ahead` of this machine's, in seconds. `pause` is called after each answer with the seconds that
    it took. This raises nothing but errors of `sleep` (see ask): a page without an answer has a finding.
    """
    cold: bool | None = None
    answer, copy = None, None
    for number in range(ASKS):
        try:
            answer = ask(url, headers=edge.asking, timeout=timeout, sleep=sleep)
        except OriginsUnhealthy as exc:
            return _error(Page(url), exc.message)
        if pause is not None:
            pause(answer.seconds)
        copy = edge.copy(answer.headers)
        if number == 0:
            cold = False if copy.hit else _cold(copy, answer, ahead)
        if answer.status >= _SERVER_ERROR:
            closed = marks.closed(answer.headers)
            said = f"{url} answers {answer.status}" + (f": the cluster is closed ({closed})" if closed else "")
            return _error(Page(url, answer.status, cold=cold), said)
        if copy.hit and (not copy.told or copy.ttl is not None):
            break
        if not copy.hit and number > 0 and edge.freshness(answer.headers).refusal is not None:
            break
    assert answer is not None and copy is not None  # noqa: S101, PT018 - it was asked at least once; this tells mypy
    return _judge(url, edge, yardstick, answer, copy, cold=cold)


REMEDIES = {
    "set-cookie": "Don't set cookies on pages that everybody gets; or take the page from the list.",
    "private": "Send it with a TTL and without `private`, if everybody gets the same page; or take it from the list.",
    "no-store": "Send it with a TTL and without `no-store`, if everybody gets the same page; or take it from the list.",
    "no-ttl": "Give it a TTL, however short, in Surrogate-Control or Cache-Control; or take it from the list.",
    "passed": "Look in the service's VCL for what passes it, or gives it no TTL; or take it from the list.",
    "vary": "Leave that header out of Vary, or let the edge reduce it to a few values before the lookup.",
    "stale": "Unless a deploy is under way: look why the origin doesn't answer for it.",
    "not-kept": "Name a page that answers 200: the policy keeps no errors, whatever their TTL.",
    "cold": "edgeguard doctor ENV --warm fetches what is missing; other nodes fetch when their first visitor comes.",
}


def _judge(url: str, edge: VisibleEdge, yardstick: Yardstick, answer: Answer, copy: Copy, *, cold: bool | None) -> Page:
    """Judge a page by its last answer. Of several reasons, the one that causes the others is named."""
    page = Page(url, answer.status, cold=cold, node=copy.node, answer=answer)
    if not edge.keeps(answer.status):
        return _found(page, "not-kept", f"{url} answers {answer.status}")
    freshness = edge.freshness(answer.headers)
    if not copy.hit:
        name, evidence = freshness.refusal or ("passed", f"{ASKS} requests, and none was answered from a copy")
        return _found(page, name, f"{url} is never answered from a copy: {evidence}")
    if copy.stale:
        text = f"{url} is served stale now ({copy.stale}): its runway is unknown"
        return replace(
            page, cached=True, why="stale", finding=Finding("stale", "warning", text, REMEDIES["stale"], url)
        )
    return _judge_copy(_measured(page, copy, yardstick), yardstick, freshness, answer.headers.get("vary", ""))


def _measured(page: Page, copy: Copy, yardstick: Yardstick) -> Page:
    """The page with its runways, if the node told what it holds."""
    if copy.ttl is None or copy.stale_if_error is None:
        return replace(page, cached=True)
    ttl, stale = copy.ttl, copy.stale_if_error
    now, claimed = yardstick.runway(ttl, stale), max(0.0, ttl + min(stale, yardstick.claimed))
    return replace(
        page, cached=True, ttl=ttl, stale_if_error=stale, runway=round(now, 3), runway_claimed=round(claimed, 3)
    )


def _judge_copy(page: Page, yardstick: Yardstick, freshness: Freshness, vary: str) -> Page:
    """Judge a page that has a fresh copy."""
    if personal := _varying(vary):
        return _found(page, "vary", f"{page.url} has a copy for each {personal}: Vary: {vary}")
    if page.runway_claimed is not None and page.runway_claimed < yardstick.closure:
        return _short(page, yardstick, freshness)
    if page.cold:
        text = (
            f"{page.url} had no copy at {page.node or 'the edge'} that could be served, until it was asked for just now"
        )
        return _found(page, "cold", text)
    return page


def _short(page: Page, yardstick: Yardstick, freshness: Freshness) -> Page:
    """The page with the finding that its copy would not last through a closure, and why."""
    lasts, closure = apart(page.runway_claimed or 0.0, yardstick.closure)
    needed = f"it could be served for {lasts}, and a closure takes {closure}"
    limit = page.stale_if_error or 0
    if limit >= yardstick.claimed:
        evidence, remedy = (
            "the claim's grace is too short",
            "Raise claim.duration, or edge.ceiling if that is the limit.",
        )
    elif freshness.refusal:
        name, evidence = freshness.refusal
        remedy = REMEDIES[name]
    elif freshness.promised is not None and freshness.promised < yardstick.base:
        evidence = f"its own stale-if-error={freshness.promised} is below the base grace"
        remedy = "Let the origin say more, or nothing, of stale-if-error."
    else:
        evidence = f"it is stored with stale-if-error {duration(limit)}, below the ceiling"
        remedy = (
            "It was stored before the policy was installed, or a 304 has renewed it since. Purge it softly while the "
            "origin is healthy, or wait until its TTL has passed; if it has an ETag or Last-Modified, let the origin "
            "send `Surrogate-Control: max-age=…, stale-if-error=<ceiling>` with 200 and 304 alike."
        )
    finding = Finding("short-runway", "critical", f"{page.url}: {needed}; {evidence}", remedy, page.url)
    return replace(page, why="short-runway", finding=finding)


def _error(page: Page, said: str) -> Page:
    remedy = "Repair it first: visitors see that now."
    return replace(page, why="page-error", finding=Finding("page-error", "critical", said, remedy, page.url))


def _found(page: Page, name: str, text: str) -> Page:
    return replace(page, why=name, finding=Finding(name, "critical", text, REMEDIES[name], page.url))


def _cold(copy: Copy, answer: Answer, ahead: float) -> bool | None:
    """Whether there was no copy, not even a stale one, when this answer was fetched; None where that is unknown.

    Only the policy tells it, in a header that is stored with the page and outlasts a renewal by a 304. So the header
    counts only if its time is now.
    """
    if copy.fetched_at is None or abs(copy.fetched_at - (time.time() + ahead)) > _MOMENT + answer.seconds:
        return None
    return not copy.existed


def _varying(vary: str) -> str | None:
    """The first header in Vary that nearly every visitor sends differently."""
    names = [name.strip() for name in vary.split(",")]
    return next((name for name in names if name.lower() in _PERSONAL), None)
