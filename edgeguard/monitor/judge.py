"""Judging the answers: is the site well, closed on purpose, or down? For how long can the edge cover for it?

`judge` is a pure function of the answers. A closed gate announces until when it expects to be closed
(Edgeguard-Closed): until then a closure is not a fault, and afterwards it is one. An end that is too far away does not
count, as with claims, so a forgotten closure can't silence a monitor for ever. A failing front door that announces
nothing is a warning while a claim covers for it and every page is served: somebody has provided for it.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from edgeguard.edge import marks
from edgeguard.edge.claim import DAY, live, parse_all, runway
from edgeguard.findings import Finding, together
from edgeguard.grace import strays
from edgeguard.monitor import Closure, Health, Page
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.edge import VisibleEdge
    from edgeguard.findings import Severity
    from edgeguard.monitor import Limits, State
    from edgeguard.monitor.look import Asked, Seen
    from edgeguard.monitor.ranges import Range
    from edgeguard.settings import EdgeOnlySettings

_UNCOVERED = ("closed", "down", "stale", "held")
"""The findings that the origin doesn't answer, for whatever reason. With one of them, the runway counts."""
_LONGEST = 60
"""The most characters of a word from somebody else."""


def judge(
    environment: str, settings: EdgeOnlySettings, edge: VisibleEdge, seen: Seen, limits: Limits, *, of_file: bool = True
) -> Health:
    """The verdict. The edge is not asked: it reads what was seen. `of_file` is as in `check`."""
    view = _View(edge, settings.edge.ceiling, seen, of_file=of_file)
    pages = tuple(Page(asked, view.runway(asked)) for asked in seen.pages)
    runway = min((page.runway for page in pages if page.runway is not None), default=None)
    found = [_covered(view, _front_door(view)), *_pages(view), *_origins(view), _policy(view), *_slots(view)]
    covering = any(finding.name in _UNCOVERED for finding in found)
    if covering:
        found += _short(limits, runway)
    found = together(found)
    state = _worst(found)
    return Health(
        environment=environment,
        state=state,
        summary=_summary(found, state, runway if covering else None),
        closure=view.closure,
        runway=runway,
        pages=pages,
        claims=view.claims,
        findings=tuple(finding.about(environment) for finding in found),
        expected_revision=view.expected,
        limits=limits,
        seen=seen,
    )


class _View:
    """The facts by which all answers are judged: the closure that the gate announces, and the claims in force."""

    def __init__(self, edge: VisibleEdge, ceiling: int, seen: Seen, *, of_file: bool) -> None:
        self.edge, self.ceiling, self.seen = edge, ceiling, seen
        self.expected = edge.revision if of_file or seen.status is None else seen.status.revision
        told = (self.closed(asked) for asked in (seen.front, *seen.origins, *seen.pages))
        self.closure = next((closure for closure in told if closure is not None), None)
        claims = parse_all(seen.status.slots) if seen.status else ()
        self.claims = live(claims, now=seen.now, ceiling=ceiling)

    def closed(self, asked: Asked) -> Closure | None:
        """The closure that this answer announces. None also where it has no end, or an end that is too far away."""
        said = marks.closed_until(_refusal(asked) or "")
        if said is None or (left := said.until - self.seen.now) > self.ceiling + DAY:
            return None
        return Closure(said.deploy[:_LONGEST], said.until, left)

    @property
    def excused(self) -> bool:
        """Whether stale copies are expected: in a planned closure, or during a deploy's hold."""
        hold = self.seen.status is not None and self.seen.status.hold
        return hold or (self.closure is not None and self.closure.seconds_left > 0)

    @property
    def covered(self) -> bool:
        """Whether visitors see nothing of a failing front door, by a claim: every page that was asked for is served."""
        pages = self.seen.pages
        served = bool(pages) and all(0 < page.status < HTTPStatus.BAD_REQUEST for page in pages)
        return served and bool(self.claims)

    def runway(self, asked: Asked) -> float | None:
        """The seconds for which the page could be served without an origin; None where that is unknown."""
        status, copy = self.seen.status, asked.copy
        if asked.status >= HTTPStatus.INTERNAL_SERVER_ERROR or (copy and copy.told and not copy.hit):
            return 0.0  # there is no copy that could be served
        base = self.edge.base if not self.edge.claims else status.base if status else None
        if base is None or copy is None or copy.ttl is None or copy.stale_if_error is None:
            return None
        ttl = copy.ttl or self._expired_ttl(asked)
        if ttl is None:
            return None
        return runway(
            self.seen.now + ttl,
            copy.stale_if_error,
            self.claims,
            base=base,
            ceiling=self.ceiling,
            now=self.seen.now,
        )

    def _expired_ttl(self, asked: Asked) -> float | None:
        """The seconds since a copy's TTL ended, as a negative number: the edge shows no TTL below 0. None: unknown.

        They follow from the page's age, unless the page was purged softly. Then it is younger than its TTL, and no
        header shows when the purge was.
        """
        lifetime = self.edge.freshness(asked.answer.headers).lifetime if asked.answer else None
        age = asked.header("age") or ""
        if lifetime is None or not age.isdecimal() or int(age) < lifetime:
            return None
        return float(lifetime - int(age))


def _front_door(view: _View) -> Finding:
    asked = view.seen.front
    if asked.answer is None:
        return Finding("down", "critical", asked.error, "")
    if asked.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _refused(view, asked, "down")
    if asked.stale is not None:
        if view.excused:
            return Finding("held", "note", f"{asked.url} is answered from a copy while a deploy is at work", "")
        return _stale(asked)
    if asked.status != HTTPStatus.OK:
        return Finding("down", "critical", f"{asked.url} answers {asked.status}, not 200", "", asked.url)
    return Finding("front-door", "ok", f"the front door answers 200 in {asked.answer.seconds:.3f} s", "", asked.url)


def _covered(view: _View, front: Finding) -> Finding:
    """The front door's finding, which is a warning while a claim covers for it."""
    if front.name != "down" or not view.covered:
        return front
    slots = " and ".join(claim.slot for claim in view.claims)
    text = f"{front.text}; every page is served meanwhile, by the claim {slots}"
    remedy = front.remedy or "If it is planned, let the gate say so: edgeguard closed-header ENV."
    return replace(front, severity="warning", text=text, remedy=remedy)


def _refused(view: _View, asked: Asked, name: str) -> Finding:
    """The finding for a 5xx, from a closed gate or not."""
    closure, said = view.closed(asked), _refusal(asked)
    if closure is None:
        but = "" if said is None else f", closed, but without an end that counts: {said[:_LONGEST]}"
        return Finding(name, "critical", f"{asked.url} answers {asked.status}{but}", "", asked.url)
    until = rfc3339(closure.until)
    if closure.seconds_left > 0:
        left = duration(round(closure.seconds_left))
        return Finding(
            "closed", "note", f"closed for deploy {closure.deploy} until {until}, {left} left", "", asked.url
        )
    ago = duration(round(-closure.seconds_left))
    text = f"still closed for deploy {closure.deploy}, which was to end at {until}, {ago} ago"
    return Finding("closed", "critical", text, "edgeguard status ENV tells how far the deploy is.", asked.url)


def _stale(asked: Asked) -> Finding:
    text = f"{asked.url} is served stale, because the origin fails and no closure is planned"
    return Finding("stale", "warning", text, "edgeguard grace extend ENV buys time.", asked.url)


def _pages(view: _View) -> Iterator[Finding]:
    for asked in view.seen.pages:
        if asked.answer is None:
            yield Finding("page", "critical", asked.error, "", asked.url)
        elif asked.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            found = _refused(view, asked, "page")
            if found.severity == "note":
                text = f"{asked.url} has no copy at the edge: visitors see that the site is closed"
                found = Finding(
                    "page", "note", text, "edgeguard doctor ENV says why, before the next deploy.", asked.url
                )
            yield found
        elif asked.stale is not None and not view.excused:
            yield _stale(asked)
        elif asked.status >= HTTPStatus.BAD_REQUEST:
            yield Finding("page", "warning", f"{asked.url} answers {asked.status}", "", asked.url)


def _origins(view: _View) -> Iterator[Finding]:
    for asked in view.seen.origins:
        if asked.answer is None:
            yield Finding("origin", "warning", asked.error, "", asked.url)
        elif view.closed(asked) is not None:
            found = _refused(view, asked, "origin")
            if found.severity == "critical":
                yield found
        elif asked.status >= HTTPStatus.BAD_REQUEST:
            yield Finding("origin", "warning", f"the origin's {asked.url} answers {asked.status}", "", asked.url)


def _policy(view: _View) -> Finding:
    status, expected = view.seen.status, view.expected
    if not view.edge.claims:
        return Finding("policy", "ok", "none: the service's own setting carries the grace", "")
    if status is None:
        remedy = "edgeguard edge diff ENV tells whether the policy is installed."
        return Finding("policy", "warning", f"the edge shows no policy: {view.seen.status_error}", remedy)
    if status.revision != expected:
        text = f"the policy at {status.node} is {status.revision}, not {expected} as this file has it"
        return Finding("policy", "warning", text, "edgeguard edge diff ENV tells what differs.")
    return Finding("policy", "ok", f"{status.node} has the policy {expected}", "")


def _slots(view: _View) -> Iterator[Finding]:
    """What nobody can read in the slots. It is a note here: the edge passes over it, and visitors see nothing of it."""
    status = view.seen.status
    if status is not None:
        found = strays.slots(status.slots, now=view.seen.now, ceiling=view.ceiling)
        yield from (replace(finding, severity="note") for finding in found)


def _short(limits: Limits, runway: float | None) -> Iterator[Finding]:
    severities: tuple[tuple[Severity, Range | None], ...] = (
        ("critical", limits.critical),
        ("warning", limits.warning),
    )
    if runway is None:
        if limits.critical or limits.warning:
            remedy = "Name pages that are cached in visitors.anonymous."
            yield Finding("runway", "warning", "the runway is unknown, so no threshold can be compared with it", remedy)
        return
    for severity, limit in severities:
        if limit is not None and limit.alerts(runway):
            text = f"the runway of {duration(round(runway))} is outside of {limit}"
            yield Finding("runway", severity, text, "edgeguard grace extend ENV buys time.")
            return


def _worst(found: Sequence[Finding]) -> State:
    severities = {finding.severity for finding in found}
    return "critical" if "critical" in severities else "warning" if "warning" in severities else "ok"


def _summary(found: Sequence[Finding], state: State, runway: float | None) -> str:
    """The worst findings in one line; where all is well, the state of the front door."""
    worst = [finding for finding in found if finding.severity == state and state != "ok"] or found[:1]
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    left = "" if runway is None else f"; runway {duration(round(runway))}"
    return f"{worst[0].text}{more}{left}"


def _refusal(asked: Asked) -> str | None:
    """The header Edgeguard-Closed of a 5xx. In any other answer it has no meaning."""
    if asked.answer is None or asked.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    return marks.closed(asked.answer.headers)
