"""Claims on the grace, as pure data: the value of a slot, and the grace that is in force at a moment.

All times are Unix times and all durations seconds. There is no compare-and-set on an edge dictionary. So each claim has
a slot of its own, and the grace in force is the maximum of the claims: the order in which writes arrive can't matter.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEPLOY_SLOTS = ("deploy0", "deploy1")
SUPPORT_SLOTS = tuple(f"support{n}" for n in range(1, 9))
SLOTS = DEPLOY_SLOTS + SUPPORT_SLOTS
FREE = "0:0"
"""The value of a released slot. Deleting the item instead would answer 404 the second time."""

HOOK, KEPT = "h", "k"
"""The first letter of a pipeline's nonce. HOOK: `hook pre` or `wrap` has made the claim, and `hook post` may give it
back. KEPT: the claim was kept when its deploy had failed, and the next deploy may take it over."""
DAY = 86_400
LONGEST_HOLD = 3600
"""Seconds. A longer hold is a mistake and does not count: for so long, no request would reach the origin."""
_VALUE = re.compile(r"([0-9]{10}):([0-9]{1,7})(?::([0-9]{10}))?:([a-z0-9]{4,12})")


@dataclass(frozen=True)
class Claim:
    """A temporary raise of the grace. Until `until`, pages may be served `grace` seconds stale.

    Only a deploy's claim has `hold_until`: until then the edge serves a stale copy at once, without asking the origin
    (0: it asks). `nonce` tells two writers of one slot apart.
    """

    slot: str
    until: int
    grace: int
    nonce: str
    hold_until: int = 0

    def value(self) -> str:
        """The dictionary item's value, in the form that the policy parses (edge/fastly/policy/init.vcl)."""
        hold = f":{self.hold_until:010d}" if self.slot in DEPLOY_SLOTS else ""
        return f"{self.until:010d}:{self.grace}{hold}:{self.nonce}"

    def without_hold(self) -> Claim:
        """The same claim, with the hold given back."""
        return replace(self, hold_until=0)

    @property
    def of_pipeline(self) -> bool:
        """Whether `hook pre` or `wrap` made this claim, for a deploy by other means."""
        return self.nonce.startswith((HOOK, KEPT))


def new_nonce(owner: str = "") -> str:
    """The owner's letter (none of [a-f0-9]), and eight random characters of [a-f0-9]."""
    return owner + secrets.token_hex(4)


def parse(slot: str, value: str) -> Claim | None:
    """The claim in a slot; None if the slot is free or its value is garbage. The policy ignores both alike."""
    found = _VALUE.fullmatch(value)
    if found is None or (found[3] is not None) != (slot in DEPLOY_SLOTS):
        return None
    return Claim(slot, until=int(found[1]), grace=int(found[2]), nonce=found[4], hold_until=int(found[3] or 0))


def parse_all(items: Mapping[str, str]) -> tuple[Claim, ...]:
    """Every claim in a dictionary's items, live or not, in the order of the slots."""
    claims = (parse(slot, items.get(slot, "")) for slot in SLOTS)
    return tuple(claim for claim in claims if claim is not None)


def live(claims: Iterable[Claim], *, now: float, ceiling: int) -> tuple[Claim, ...]:
    """The claims in force at `now`. A claim that would last beyond ceiling + 1 day is a mistake, and is left out."""
    return tuple(claim for claim in claims if now < claim.until < now + ceiling + DAY)


def flaw(slot: str, value: str, *, now: float, ceiling: int) -> str:
    """The reason why the edge passes over a slot's value, or over a part of it; "" if there is none.

    A free slot and a claim that has ended have no flaw.
    """
    claim = parse(slot, value)
    if claim is None:
        return "" if value in ("", FREE) else "is no claim"
    if claim.until >= now + ceiling + DAY:
        return "claims more time than any claim can have"
    if claim.until > now and claim.hold_until >= now + LONGEST_HOLD:
        return "holds for longer than any claim can"
    return ""


@dataclass(frozen=True)
class Grace:
    """The grace in force at a moment: pages may be `seconds` stale. With `hold`, the origin is not asked first."""

    seconds: int
    hold: bool


def in_force(claims: Iterable[Claim], *, base: int, ceiling: int, now: float) -> Grace:
    """The largest of the base and the live claims, at most the ceiling; hold while any live claim's hold lasts.

    The policy computes the same at the edge, for each request: fastly/policy/init.vcl, `edgeguard_grace`.
    """
    alive = live(claims, now=now, ceiling=ceiling)
    return Grace(
        seconds=min(ceiling, max([base, *(claim.grace for claim in alive)])),
        hold=any(now < claim.hold_until < now + LONGEST_HOLD for claim in alive),
    )


def runway(expires: float, limit: float, claims: Iterable[Claim], *, base: int, ceiling: int, now: float) -> float:
    """For how many seconds from `now` a page could be served if the origin failed, as claims end one after the other.

    The page's TTL ends (or ended) at `expires`, and it may be `limit` seconds stale at most by itself. So it is served
    while what has passed since `expires` is no more than `limit` and the grace that is in force at that moment.
    """
    alive = sorted(live(claims, now=now, ceiling=ceiling), key=lambda claim: claim.until)
    since = now
    for number, claim in enumerate(alive):
        granted = min(ceiling, max([base, *(other.grace for other in alive[number:])]))
        if expires + min(limit, granted) < claim.until:
            return max(0.0, max(since, expires + min(limit, granted)) - now)
        since = float(claim.until)
    return max(0.0, max(since, expires + min(limit, base)) - now)
