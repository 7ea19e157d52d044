"""Pages as the edge has them: whether it has a copy, for how long that could be served, and why there is none.

Each page is asked for as a visitor would, with two more headers. For `Fastly-Debug: 1` the edge tells what it holds
(Fastly: reference/http/http-headers/Fastly-Debug-TTL). For `Edgeguard-Show` the policy tells whether that is stale.
Asking has an effect: where the edge had no copy, it has one afterwards.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeguard.edge.claim import runway
from edgeguard.errors import OriginsUnhealthy
from edgeguard.findings import Finding
from edgeguard.site.asking import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.edge.claim import Claim
    from edgeguard.settings import EdgeSettings
    from edgeguard.site.asking import Answer

ASKS = 4
"""The most questions about one page. Each may reach another node, and not every answer tells what the node holds."""

KEPT = (200, 203, 300, 301, 302, 410)
"""The statuses that the policy keeps for long."""
_SERVER_ERROR = 500
_PERSONAL = frozenset({"*", "cookie", "user-agent", "authorization", "referer", "accept-language", "x-forwarded-for"})
"""Headers that nearly every visitor sends differently. A copy for one such value serves no other visitor."""
_MOMENT = 5
"""Seconds by which the two clocks may differ: they were compared a while ago, in whole seconds."""
_GROUP = re.compile(r"\(?\b([HM])\s+(\S+)\s+(-|-?[0-9.]+)\s+(-|-?[0-9.]+)\s+(-|-?[0-9.]+)\)?")


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
class NodeReport:
    """One node's report on one answer: whether it was a hit, the object's remaining TTL, and its stale-if-error.

    The times are in seconds, and None where this node does not hold the object itself.
    """

    hit: bool
    node: str
    ttl: float | None
    stale_if_error: float | None


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


def node_report(header: str) -> NodeReport | None:
    """Read Fastly-Debug-TTL. Behind a shield it has a group for each node, the one nearest to the visitor first.

    None where the header can't be read.
    """
    found = _GROUP.search(header)
    if found is None:
        return None
    ttl, stale = (None if text == "-" else _number(text) for text in (found[3], found[4]))
    return NodeReport(found[1] == "H", found[2], ttl, stale)


def look(
    url: str,
    edge: EdgeSettings,
    yardstick: Yardstick,
    *,
    timeout: float,
    ahead: float = 0.0,
    pause: Callable[[float], None] | None = None,
) -> Page:
    """Ask for a page until the edge has told what it holds, at most ASKS times.

    The edge's clock is `ahead` of this machine's, in seconds. `pause` is called after each answer with the seconds that
    it took. This raises nothing: a page without an answer has a finding.
    """
    headers = {"Fastly-Debug": "1", "Edgeguard-Show": edge.status_name}
    cold: bool | None = None
    answer, report = None, None
    for number in range(ASKS):
        try:
            answer = ask(url, headers=headers, timeout=timeout)
        except OriginsUnhealthy as exc:
            return _error(Page(url), exc.message)
        if pause is not None:
            pause(answer.seconds)
        report = node_report(answer.headers.get("fastly-debug-ttl", ""))
        hit = _hit(answer, report)
        if number == 0:
            cold = False if hit else _cold(answer, ahead)
        if answer.status >= _SERVER_ERROR:
            closed = answer.headers.get("edgeguard-closed")
            said = f"{url} answers {answer.status}" + (f": the cluster is closed ({closed})" if closed else "")
            return _error(Page(url, answer.status, cold=cold), said)
        if hit and (report is None or report.ttl is not None):
            break
        if not hit and number > 0 and refusal(answer.headers) is not None:
            break
    assert answer is not None  # noqa: S101 - it was asked at least once; this tells mypy
    return _judge(url, edge, yardstick, answer, report, cold=cold)


def refusal(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Why the headers forbid to cache the answer: the finding's name, and the evidence. None: they don't forbid it.

    Fastly: guides/concepts/cache/cache-freshness. The evidence does not have the values of cookies.
    """
    control, surrogate = headers.get("cache-control", ""), headers.get("surrogate-control", "")
    if cookie := headers.get("set-cookie"):
        return "set-cookie", f"it sets the cookie {cookie.partition('=')[0].strip()}"
    for word in ("private", "no-store"):
        for name, value in (("Cache-Control", control), ("Surrogate-Control", surrogate)):
            if re.search(rf"\b{word}\b", value, re.IGNORECASE):
                return word, f"{name}: {value}"
    for name, value, directive in (
        ("Surrogate-Control", surrogate, "max-age"),
        ("Cache-Control", control, "s-maxage"),
        ("Cache-Control", control, "max-age"),
    ):
        if found := re.search(rf"(?<![\w-]){directive}\s*=\s*\"?([0-9]+)", value, re.IGNORECASE):
            return ("no-ttl", f"{name}: {value}") if int(found[1]) == 0 else None
    return None


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


def _judge(
    url: str, edge: EdgeSettings, yardstick: Yardstick, answer: Answer, report: NodeReport | None, *, cold: bool | None
) -> Page:
    """Judge a page by its last answer. Of several reasons, the one that causes the others is named."""
    page = Page(url, answer.status, cold=cold, node=report.node if report else None, answer=answer)
    if answer.status not in KEPT:
        return _found(page, "not-kept", f"{url} answers {answer.status}")
    if not _hit(answer, report):
        name, evidence = refusal(answer.headers) or ("passed", f"{ASKS} requests, and none was answered from a copy")
        return _found(page, name, f"{url} is never answered from a copy: {evidence}")
    if why := answer.headers.get("edgeguard-stale"):
        text = f"{url} is served stale now ({why}): its runway is unknown"
        return replace(
            page, cached=True, why="stale", finding=Finding("stale", "warning", text, REMEDIES["stale"], url)
        )
    return _judge_copy(_measured(page, report, yardstick), edge, yardstick, answer.headers)


def _measured(page: Page, report: NodeReport | None, yardstick: Yardstick) -> Page:
    """The page with its runways, if the node told what it holds."""
    if report is None or report.ttl is None or report.stale_if_error is None:
        return replace(page, cached=True)
    ttl, stale = report.ttl, report.stale_if_error
    now, claimed = yardstick.runway(ttl, stale), max(0.0, ttl + min(stale, yardstick.claimed))
    return replace(
        page, cached=True, ttl=ttl, stale_if_error=stale, runway=round(now, 3), runway_claimed=round(claimed, 3)
    )


def _judge_copy(page: Page, edge: EdgeSettings, yardstick: Yardstick, headers: Mapping[str, str]) -> Page:
    """Judge a page that has a fresh copy."""
    if personal := _varying(headers.get("vary", "")):
        return _found(page, "vary", f"{page.url} has a copy for each {personal}: Vary: {headers['vary']}")
    if page.runway_claimed is not None and page.runway_claimed < yardstick.closure:
        return _short(page, edge, yardstick, headers)
    if page.cold:
        text = (
            f"{page.url} had no copy at {page.node or 'the edge'} that could be served, until it was asked for just now"
        )
        return _found(page, "cold", text)
    return page


def _short(page: Page, edge: EdgeSettings, yardstick: Yardstick, headers: Mapping[str, str]) -> Page:
    """The page with the finding that its copy would not last through a closure, and why."""
    needed = f"it could be served for {page.runway_claimed:.0f} s, and a closure takes {yardstick.closure:.0f} s"
    limit = page.stale_if_error or 0
    own = re.search(r"stale-if-error\s*=\s*\"?([0-9]+)", _freshness(headers), re.IGNORECASE)
    if limit >= yardstick.claimed:
        evidence, remedy = (
            "the claim's grace is too short",
            "Raise claim.duration, or edge.ceiling if that is the limit.",
        )
    elif said := refusal(headers):
        evidence, remedy = said[1], REMEDIES[said[0]]
    elif own and int(own[1]) < edge.base_grace:
        evidence = f"its own stale-if-error={own[1]} is below the base grace"
        remedy = "Let the origin say more, or nothing, of stale-if-error."
    else:
        evidence = f"it is stored with stale-if-error {limit:.0f} s, below the ceiling"
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


def _hit(answer: Answer, report: NodeReport | None) -> bool:
    """Whether the answer is a copy, fresh or stale. X-Cache has a word for each node, the visitor's node last."""
    if report is not None:
        return report.hit
    return answer.headers.get("x-cache", "").rpartition(",")[2].strip().upper() == "HIT"


def _cold(answer: Answer, ahead: float) -> bool | None:
    """Whether there was no copy, not even a stale one, when this answer was fetched; None where that is unknown.

    Only the policy tells it, in a header that is stored with the page and outlasts a renewal by a 304. So the header
    counts only if its time is now.
    """
    word, _, at = answer.headers.get("edgeguard-copy", "").partition(" ")
    if not at.isdecimal() or abs(int(at) - (time.time() + ahead)) > _MOMENT + answer.seconds:
        return None
    return {"none": True, "stale": False}.get(word)


def _varying(vary: str) -> str | None:
    """The first header in Vary that nearly every visitor sends differently."""
    names = [name.strip() for name in vary.split(",")]
    return next((name for name in names if name.lower() in _PERSONAL), None)


def _freshness(headers: Mapping[str, str]) -> str:
    """The header that decides on stale-if-error: Surrogate-Control if it names stale-if-error, else Cache-Control."""
    surrogate = headers.get("surrogate-control", "")
    return surrogate if "stale-if-error" in surrogate.lower() else headers.get("cache-control", "")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
