"""Claims on the grace, made by people and pipelines: one write to a slot of one's own, confirmed, over by themselves.

There is no compare-and-set on an edge dictionary, so two people who write at one moment may choose the same free slot,
and the last write wins. Every claim carries a nonce; whoever finds another's nonce where his own should be, in the
dictionary or at the edge, has lost the slot and is told. Looked for until the claim is confirmed, not after.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, SUPPORT_SLOTS, Claim, live, new_nonce, parse, parse_all
from edgeguard.edge.clock import edge_clock
from edgeguard.errors import EdgeError, EdgeUnauthorized, Interrupted, Locked, NotConfirmed, UsageError
from edgeguard.grace import audit
from edgeguard.grace.confirm import Confirmed, confirm
from edgeguard.machine.signals import Stop
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgeguard.edge import Status
    from edgeguard.environment import EdgeSide


@dataclass(frozen=True)
class Seen:
    """The dictionary's items, and the edge's clock (see edge_clock)."""

    items: Mapping[str, str]
    clock: Callable[[], float]

    @property
    def now(self) -> float:
        """The edge's Unix time: by it a claim's end is judged."""
        return self.clock()

    def claim(self, slot: str) -> Claim | None:
        """What is in a slot, in force or not."""
        return parse(slot, self.items.get(slot, ""))

    def live(self, slots: tuple[str, ...], ceiling: int) -> dict[str, Claim]:
        """The claims in force, by slot."""
        claims = live(parse_all(self.items), now=self.now, ceiling=ceiling)
        return {claim.slot: claim for claim in claims if claim.slot in slots}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to claim: for how long (`lasting`), how stale a page may then be (`stale`), held for `hold` seconds.

    `did` and `why` are for the audit line; `owner` is the nonce's first letter. A claim that is taken over (`over`) is
    never shortened.
    """

    lasting: int
    stale: int
    did: str
    why: str
    hold: int = 0
    owner: str = ""
    over: Claim | None = None

    @property
    def before(self) -> str:
        """What the slot is to hold again where this comes to nothing."""
        return FREE if self.over is None else self.over.value()

    def claim(self, slot: str, now: float) -> Claim:
        """The claim, from this moment of the edge's clock on."""
        until, stale = math.ceil(now) + self.lasting, self.stale
        if self.over is not None:
            until, stale = max(until, self.over.until), max(stale, self.over.grace)
        held = math.ceil(now) + self.hold if self.hold else 0
        return Claim(slot, until, stale, new_nonce(self.owner), hold_until=held)


@dataclass(frozen=True)
class Made:
    """A claim that is in force, as the edge has shown."""

    claim: Claim
    confirmed: Confirmed
    before: str = FREE
    """What its slot held before: the value of the claim that it took over, or nothing's."""

    def json(self) -> dict[str, Any]:
        """For people and machines; `id` is what gives it back."""
        return {
            "id": self.claim.slot,
            "grace": self.claim.grace,
            "until": rfc3339(self.claim.until),
            "confirmed_seconds": round(self.confirmed.seconds, 3),
            "nodes": list(self.confirmed.nodes),
            "clock_difference": round(self.confirmed.clock_difference, 1),
        }


class LostSlot(Locked):
    """Somebody else wrote the same slot at the same moment, and later; ours is not there any more."""


def look(environment: EdgeSide) -> Seen:
    """What is claimed now. One status question, one reading of the dictionary.

    Raises:
        UsageError: there can be no claims here.
        EdgeError: see Edge.items.
    """
    environment.edge.require_claims()
    clock = edge_clock(environment.edge)
    return Seen(environment.edge.items(), clock)


def within_limits(environment: EdgeSide, lasting: int, stale: int) -> None:
    """Refuse what can't be granted, or would be over before it is confirmed.

    Raises:
        UsageError: with the most that can be asked for.
    """
    environment.edge.require_claims()
    settings = environment.settings.edge
    if not 0 < stale <= settings.ceiling:
        most = settings.ceiling - settings.base_grace
        raise UsageError(
            f"a grace of {stale} s can't be granted: the ceiling is {settings.ceiling} s, the base grace included",
            f"Ask for at most --for {most}s, or name the grace with --grace (at most {settings.ceiling}s).",
        )
    if not settings.propagation < lasting <= settings.ceiling:
        raise UsageError(
            f"a claim can't last {lasting} s",
            f"It has to last longer than a write takes to spread, {settings.propagation:.0f} s (edge.propagation), and "
            f"at most the ceiling, {settings.ceiling} s.",
        )


def take(environment: EdgeSide, seen: Seen, slot: str, wish: Wish, *, sleep: Callable[[float], None]) -> Made:
    """Write a claim to this slot, in one write with its audit line, and wait until the edge shows it in force.

    Raises:
        LostSlot: somebody else took it at the same moment.
        NotConfirmed: it is written, but the edge does not show it, or grants less.
        EdgeError: it could not be written.
    """
    settings = environment.settings.edge
    claim = wish.claim(slot, seen.now)
    line = audit.line(seen.items, at=seen.now, did=wish.did, why=wish.why, slot=slot, claim=claim)
    ours_or_older = (claim.value(), seen.items.get(slot, ""))

    def watch(status: Status) -> None:
        if status.slots.get(slot, "") not in ours_or_older:
            _still_ours(environment, slot, ours_or_older)

    environment.edge.write({slot: claim.value(), **line})
    _still_ours(environment, slot, ours_or_older)
    confirmed = confirm(
        environment.edge,
        {slot: claim.value()},
        propagation=settings.propagation,
        timeout=settings.confirm_timeout,
        grace=claim.grace,
        sleep=sleep,
        see=watch,
    )
    _still_ours(environment, slot, ours_or_older)
    return Made(claim, confirmed, wish.before)


def _still_ours(environment: EdgeSide, slot: str, ours_or_older: tuple[str, str]) -> None:
    """Where the dictionary can't be read, or lags behind, what the edge shows decides."""
    try:
        there = environment.edge.items().get(slot, "")
    except EdgeError:
        return
    if there not in ours_or_older:
        raise LostSlot(
            f"{slot} was taken by somebody else at the same moment",
            f"Look who: edgeguard grace show {environment.argument}",
        )


def extend(
    environment: EdgeSide,
    *,
    lasting: int,
    reason: str,
    stale: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Claim a support slot for `lasting` seconds; pages may then be `stale` seconds old (default: base + lasting).

    Raises:
        UsageError: it would be beyond the ceiling, a reason is missing, or all slots are taken.
        NotConfirmed: it is written, but the edge does not show it.
    """
    settings = environment.settings
    wanted = stale if stale is not None else settings.edge.base_grace + lasting
    within_limits(environment, lasting, wanted)
    if wanted < settings.edge.base_grace:
        raise UsageError(
            f"a grace of {wanted} s changes nothing: the base grace of {settings.edge.base_grace} s is always in force",
            f"Leave --grace out, or name more than {settings.edge.base_grace}s.",
        )
    if settings.claim.reason_required and not reason.strip():
        raise UsageError("a reason is needed here (claim.reason_required)", 'Say why: --reason "…".')
    wish = Wish(lasting=lasting, stale=wanted, did="grace extend", why=reason)
    stop = Stop()
    with stop.listening():
        for _ in SUPPORT_SLOTS:
            seen = look(environment)
            slot = _free_slot(environment, seen)
            stop.check()
            with _told_how_to_go_on(environment, slot):
                try:
                    return take(environment, seen, slot, wish, sleep=stop.sleep).json()
                except LostSlot as exc:
                    say(f"{exc.message}; taking another")
    raise Locked("every slot was taken by somebody else at the same moment", "Try again.")


@contextmanager
def _told_how_to_go_on(environment: EdgeSide, slot: str) -> Iterator[None]:
    """For a claim that is written, and may come into force yet."""
    remedy = (
        f"It may come into force yet: edgeguard grace show {environment.argument}. "
        f"To take it back: edgeguard grace release {environment.argument} {slot}"
    )
    try:
        yield
    except NotConfirmed as exc:
        raise NotConfirmed(f"{slot}: {exc.message}", remedy) from exc
    except EdgeUnauthorized:  # nothing was written
        raise
    except EdgeError as exc:  # also where no answer came to the write: it may have been done
        said = f"{exc.message}; {slot} may have been written all the same"
        raise type(exc)(said, f"{exc.remedy} {remedy}".lstrip()) from exc
    except Interrupted as exc:
        raise Interrupted(f"{exc.message}; {slot} is written, but not confirmed", remedy) from exc


def _free_slot(environment: EdgeSide, seen: Seen) -> str:
    taken = seen.live(SUPPORT_SLOTS, environment.settings.edge.ceiling)
    for slot in SUPPORT_SLOTS:
        if slot not in taken:
            return slot
    raise UsageError(
        f"all {len(SUPPORT_SLOTS)} support slots are taken",
        f"Look whose: edgeguard grace show {environment.argument}; `edgeguard grace release` frees one.",
    )


def release(environment: EdgeSide, slot: str, *, reason: str) -> dict[str, Any]:
    """Give one support claim back before its time, in one write. Other claims stay as they are. One that isn't there
    any more is no error: nothing is written, and `released` is False.

    Raises:
        UsageError: there is no such slot, or it belongs to a deploy.
        NotConfirmed: it is written, but the edge does not show it.
    """
    if slot in DEPLOY_SLOTS:
        raise UsageError(
            f"{slot} is a deploy's claim; support's and deploys' never cancel each other",
            f"A pipeline's is given back with: edgeguard hook post {environment.name} {slot}",
        )
    if slot not in SUPPORT_SLOTS:
        raise UsageError(f"{slot!r} is not a support slot", f"One of: {', '.join(SUPPORT_SLOTS)}.")
    seen = look(environment)
    if slot not in seen.live(SUPPORT_SLOTS, environment.settings.edge.ceiling):
        return {"id": slot, "released": False}
    line = audit.line(seen.items, at=seen.now, did="grace release", why=reason, slot=slot)
    environment.edge.write({slot: FREE, **line})
    try:
        confirmed = confirm(
            environment.edge,
            {slot: FREE},
            propagation=environment.settings.edge.propagation,
            timeout=environment.settings.edge.confirm_timeout,
        )
    except NotConfirmed as exc:
        remedy = f"It ends by itself in any case. Look: edgeguard grace show {environment.argument}"
        raise NotConfirmed(f"{slot}: {exc.message}", remedy) from exc
    seconds, nodes = round(confirmed.seconds, 3), list(confirmed.nodes)
    return {"id": slot, "released": True, "confirmed_seconds": seconds, "nodes": nodes}
