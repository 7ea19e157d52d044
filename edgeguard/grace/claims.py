"""Claims on the grace: read them, take one, renew it, give it back. Support, pipelines and deploys all use this.

There is no compare-and-set on an edge dictionary, so two people who write at the same moment may choose the same free
slot, and the last write wins. Every claim has a nonce. A writer that finds another nonce in its slot, in the dictionary
or at the edge, has lost the slot: LostSlot. It watches the slot until the claim is confirmed, not after that.
"""

from __future__ import annotations

import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import FREE, Claim, live, new_nonce, parse, parse_all
from edgeguard.edge.clock import edge_clock
from edgeguard.errors import EdgeError, Interrupted, Locked, UsageError
from edgeguard.grace import audit, strays
from edgeguard.grace.confirm import Confirmed, confirm
from edgeguard.machine.signals import pause
from edgeguard.times import apart, duration, option, rfc3339

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
        """Unix time by the edge's clock. Claims end by this clock."""
        return self.clock()

    def claim(self, slot: str) -> Claim | None:
        """The claim in a slot, in force or not."""
        return parse(slot, self.items.get(slot, ""))

    def live(self, slots: tuple[str, ...], ceiling: int) -> dict[str, Claim]:
        """The claims in force, by slot."""
        claims = live(parse_all(self.items), now=self.now, ceiling=ceiling)
        return {claim.slot: claim for claim in claims if claim.slot in slots}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A wish for a claim that lasts `lasting` seconds, lets pages be `stale` seconds old, and holds for `hold` seconds.

    `did`, `why` and `who` are for the audit line. `owner` is the nonce's first letter. `over` is the claim that the new
    one takes over, if there is one; only with `shortens` may the new one be shorter, or grant less.
    """

    lasting: int
    stale: int
    did: str
    why: str
    hold: int = 0
    owner: str = ""
    over: Claim | None = None
    who: str = ""
    shortens: bool = False

    @property
    def before(self) -> str:
        """The value to which the slot returns if the claim can't be made."""
        return FREE if self.over is None else self.over.value()

    def claim(self, slot: str, now: float) -> Claim:
        """The claim that begins `now` (Unix time, the edge's clock)."""
        begins = math.ceil(now)
        hold_until = begins + self.hold if self.hold else 0
        claim = Claim(slot, begins + self.lasting, self.stale, new_nonce(self.owner), hold_until)
        return claim if self.shortens else no_shorter(claim, than=self.over)


@dataclass(frozen=True)
class Made:
    """A claim that the edge has shown to be in force."""

    claim: Claim
    confirmed: Confirmed
    before: str = FREE
    """The slot's value before: the claim that was taken over, or FREE."""

    def json(self) -> dict[str, Any]:
        """The claim as `--json` shows it. `id` is the slot, by which it is given back."""
        return {
            "id": self.claim.slot,
            "grace": self.claim.grace,
            "until": rfc3339(self.claim.until),
            "confirmed_seconds": round(self.confirmed.seconds, 3),
            "nodes": list(self.confirmed.nodes),
            "clock_difference": round(self.confirmed.clock_difference, 1),
        }


class LostSlot(Locked):
    """Somebody else wrote to the same slot at almost the same moment, but later: our claim is not there any more."""


class Begun(Interrupted):
    """A signal came after a write to a slot had begun. `written` says whether the API has confirmed the write."""

    def __init__(self, message: str, *, written: bool) -> None:
        super().__init__(message)
        self.written = written


@contextmanager
def _begun(*, written: bool) -> Iterator[None]:
    """Turn an interruption in the block into Begun: Interrupted would say that everything is as before."""
    try:
        yield
    except Interrupted as exc:
        raise Begun(exc.message, written=written) from exc


def no_shorter(claim: Claim, *, than: Claim | None) -> Claim:
    """This claim, but it ends no sooner, and grants no less, than the claim that it replaces.

    The rule holds for every writer: a site may depend on the copies that the earlier claim promised. Only giving a
    claim back ends it before its time. The rule leaves out hold, which is short on purpose and often ended early.
    """
    if than is None:
        return claim
    return replace(claim, until=max(claim.until, than.until), grace=max(claim.grace, than.grace))


def look(environment: EdgeSide, *, say: Callable[[str], None] = lambda _: None) -> Seen:
    """Read the present claims with one status question and one reading of the dictionary.

    `say` hears a warning for each stray: what nobody can read, and what nobody believes to be there.

    Raises:
        UsageError: this edge takes no claims.
        EdgeError: see Edge.items.
    """
    environment.edge.require_claims()
    clock = edge_clock(environment.edge)
    seen = Seen(environment.edge.items(), clock)
    for warning in strays.warnings(environment, seen.items, now=seen.now):
        say(warning)
    return seen


def within_limits(environment: EdgeSide, lasting: int, stale: int) -> None:
    """Refuse a claim that can't be granted, or that would end before it is confirmed.

    Raises:
        UsageError: the claim is refused. The error says what the limit is.
    """
    environment.edge.require_claims()
    settings = environment.settings.edge
    if not 0 < stale <= settings.ceiling:
        most = settings.ceiling - settings.base_grace
        asked, ceiling = apart(stale, settings.ceiling)
        raise UsageError(
            f"a grace of {asked} can't be granted: the ceiling is {ceiling}, the base grace included",
            f"Ask for at most --for {option(most)}, or name the grace with --grace (at most "
            f"{option(settings.ceiling)}).",
        )
    if not settings.propagation < lasting <= settings.ceiling:
        asked, ceiling = apart(lasting, settings.ceiling)
        raise UsageError(
            f"a claim can't last {asked}",
            f"It has to last longer than a write takes to spread, {duration(settings.propagation)} (edge.propagation), "
            f"and at most the ceiling, {ceiling}.",
        )


def take(
    environment: EdgeSide,
    seen: Seen,
    slot: str,
    wish: Wish,
    *,
    sleep: Callable[[float], None],
    see: Callable[[Status], None] = lambda _: None,
) -> Made:
    """Write a claim to this slot, in one write with its audit line, and wait until the edge shows it in force.

    `see` is called with every status answer meanwhile.

    Raises:
        LostSlot: somebody else took it at the same moment. Nothing of ours is left in the dictionary.
        NotConfirmed: it is written, but the edge does not show it, or grants less.
        EdgeError: it could not be written.
        Interrupted: a signal came before anything was written; Begun: it may be written.
    """
    claim = wish.claim(slot, seen.now)
    ours_or_older = (claim.value(), seen.items.get(slot, ""))

    def watch(status: Status) -> None:
        see(status)
        if status.slots.get(slot, "") not in ours_or_older:
            _still_ours(environment, slot, ours_or_older)

    line = write(environment, seen, slot, claim, did=wish.did, why=wish.why, who=wish.who)
    try:
        with _begun(written=True):
            _still_ours(environment, slot, ours_or_older)
            confirmed = wait_until_shown(environment, slot, claim, sleep=sleep, see=watch)
            _still_ours(environment, slot, ours_or_older)
    except LostSlot:
        with suppress(EdgeError, Interrupted):  # the audit shall not say of their slot that it is ours
            environment.edge.write({line: None})
        raise
    return Made(claim, confirmed, wish.before)


def renew(environment: EdgeSide, claim: Claim, *, now: float, lasting: int, hold: int) -> None:
    """Write a claim of ours once more: it ends `lasting` seconds from `now`, and its hold `hold` seconds from `now`.

    Raises:
        EdgeError: another claim is in force in its slot, or the claim could not be written.
    """
    there = parse(claim.slot, environment.edge.item(claim.slot))
    if there is not None and there.nonce != claim.nonce and there.until > now:
        raise EdgeError(f"{claim.slot} is somebody else's now, in force until {rfc3339(there.until)}")
    later = replace(claim, until=int(now) + lasting, hold_until=int(now) + hold)
    environment.edge.write({claim.slot: no_shorter(later, than=claim).value()})


def give_back(environment: EdgeSide, seen: Seen, slot: str, *, did: str, why: str) -> None:
    """Free a slot, in one write with its audit line; other slots stay as they are."""
    write(environment, seen, slot, None, did=did, why=why)


def free(environment: EdgeSide, seen: Seen, slot: str, *, did: str, why: str, who: str) -> Confirmed:
    """Free a slot as `give_back` does, and wait until the edge shows it. Raises as `take` does."""
    write(environment, seen, slot, None, did=did, why=why, who=who)
    with _begun(written=True):
        return wait_until_shown(environment, slot, None)


def write(
    environment: EdgeSide, seen: Seen, slot: str, claim: Claim | None, *, did: str, why: str, who: str = ""
) -> str:
    """Put a claim into a slot (None: free it) and add the audit line about it, in one write. Returns the line's key.

    The slot is read by its name before, as a list of many items may be older than its last page.

    Raises:
        LostSlot: the slot has another claim than it was seen to have, in force, and nothing was written.
        EdgeError: it could not be written.
        Interrupted: a signal came before anything was written; Begun: it may be written.
    """
    before, there = seen.claim(slot), parse(slot, environment.edge.item(slot))
    another = there is not None and (before is None or there.nonce != before.nonce)
    if another and live([there] if there else [], now=seen.now, ceiling=environment.settings.edge.ceiling):
        raise _lost(environment, slot)
    line = audit.line(seen.items, at=seen.now, did=did, why=why, slot=slot, claim=claim, who=who)
    with _begun(written=False):
        environment.edge.write({slot: FREE if claim is None else claim.value(), **line})
    return next(key for key, value in line.items() if value is not None)


def put_back(environment: EdgeSide, slot: str, before: str, *, did: str) -> None:
    """Give a slot back the value that it had before, with an audit line: a write of ours may yet land after this one.

    Raises:
        EdgeError: it could not be written.
    """
    seen = Seen(environment.edge.items(), edge_clock(environment.edge))
    there = parse(slot, before)
    line = audit.line(seen.items, at=seen.now, did=did, why="taken back", slot=slot, claim=there, takes_back=True)
    environment.edge.write({slot: before, **line})


def give_up(environment: EdgeSide, slot: str, *, did: str) -> None:
    """Say in the audit that a write to this slot, of which no answer came, is given up. If it lands yet, it is named.

    Nothing is raised if that can't be said.
    """
    with suppress(EdgeError, Interrupted):
        seen = Seen(environment.edge.items(), edge_clock(environment.edge))
        why = "given up: no answer came"
        environment.edge.write(audit.line(seen.items, at=seen.now, did=did, why=why, slot=slot, takes_back=True))


def wait_until_shown(
    environment: EdgeSide,
    slot: str,
    claim: Claim | None,
    *,
    sleep: Callable[[float], None] = pause,
    see: Callable[[Status], None] = lambda _: None,
) -> Confirmed:
    """Wait until the edge shows this claim in this slot, in force (None: until it shows that the slot is free).

    Raises:
        NotConfirmed: the edge does not show it within edge.confirm_timeout, or grants less.
    """
    settings = environment.settings.edge
    return confirm(
        environment.edge,
        {slot: FREE if claim is None else claim.value()},
        propagation=settings.propagation,
        timeout=settings.confirm_timeout,
        grace=0 if claim is None else claim.grace,
        sleep=sleep,
        see=see,
    )


def _still_ours(environment: EdgeSide, slot: str, ours_or_older: tuple[str, str]) -> None:
    """Raise LostSlot if another claim is in the slot. If the dictionary can't be read, or lags behind, the edge's own
    answers decide."""
    try:
        there = environment.edge.item(slot)
    except EdgeError:
        return
    if there not in ours_or_older:
        raise _lost(environment, slot)


def _lost(environment: EdgeSide, slot: str) -> LostSlot:
    return LostSlot(
        f"{slot} was taken by somebody else at the same moment",
        f"Look who: edgeguard grace show {environment.argument}",
    )
