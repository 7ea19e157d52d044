"""Support's two verbs: raise the grace for a while in a slot of its own, and give that back before its time."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, SUPPORT_SLOTS, flaw
from edgeguard.errors import (
    EdgeError,
    EdgeNotDone,
    EdgeUnauthorized,
    Locked,
    NotConfirmed,
    OriginsUnhealthy,
    UsageError,
)
from edgeguard.grace import audit, claims
from edgeguard.grace.claims import Begun, LostSlot, Seen, Wish
from edgeguard.machine.signals import Stop
from edgeguard.machine.who import this_person
from edgeguard.site import front_door
from edgeguard.times import apart, duration, option
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.edge import Status
    from edgeguard.edge.claim import Claim
    from edgeguard.environment import EdgeSide


def extend(
    environment: EdgeSide,
    *,
    lasting: int,
    reason: str,
    stale: int | None = None,
    who: str = "",
    prolongs: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
    last: bool = False,
) -> dict[str, Any]:
    """Claim a support slot for `lasting` seconds; pages may then be `stale` seconds old (default: base + lasting).

    `who` is for the audit (default: user and host). `prolongs` is the slot of a claim in force of the same `who`: that
    claim ends `lasting` seconds from now instead, later or sooner. `say` hears warnings, which are also in the result.
    `progress` hears each act that begins. `last` is as in Stop.

    Raises:
        UsageError: the claim would go beyond the ceiling, its reason is missing, or all slots are taken; or the claim
            to be prolonged is not in force, or somebody else's.
        NotConfirmed: it is written, but the edge does not show it, or a signal came before it did.
    """
    settings = environment.settings
    wanted = stale if stale is not None else settings.edge.base_grace + lasting
    claims.within_limits(environment, lasting, wanted)
    if wanted < settings.edge.base_grace:
        said, base = apart(wanted, settings.edge.base_grace)
        raise UsageError(
            f"a grace of {said} changes nothing: the base grace of {base} is always in force",
            f"Leave --grace out, or name more than {option(settings.edge.base_grace)}.",
        )
    if settings.claim.reason_required and not reason.strip():
        raise UsageError("a reason is needed here (claim.reason_required)", 'Say why: --reason "…".')
    wish = Wish(lasting=lasting, stale=wanted, did="grace extend", why=reason, who=who.strip() or this_person())
    stop = Stop(last=last)
    with stop.listening():
        for _ in SUPPORT_SLOTS:
            progress("looking at the claims that are in force")
            strays: list[str] = []
            seen = claims.look(environment, say=strays.append)
            if prolongs is not None:
                wish = replace(wish, over=_own(environment, seen, prolongs, wish.who), shortens=True)
            slot = prolongs or _free_slot(environment, seen)
            stop.check()
            warnings = [*strays, *_warnings(seen, wish)]
            for warning in warnings:
                say(warning)
            progress(f"writing {slot}")
            with _told_how_to_go_on(environment, slot):
                try:
                    see = _waiting(environment, slot, progress)
                    made = claims.take(environment, seen, slot, wish, sleep=stop.sleep, see=see)
                except LostSlot as exc:
                    if prolongs is not None:
                        raise
                    say(f"{exc.message}; taking another")
                else:
                    return {**made.json(), "warnings": warnings}
    raise Locked("every slot was taken by somebody else at the same moment", "Try again.")


def _waiting(environment: EdgeSide, slot: str, progress: Callable[[str], None]) -> Callable[[Status], None]:
    """A listener to the answers of nodes, for claims.take, which tells how long the wait has been."""
    began, least = time.monotonic(), environment.settings.edge.propagation

    def see(status: Status) -> None:
        passed = time.monotonic() - began
        waited = f"{duration(round(passed))} of at least {duration(least)}"
        progress(f"{slot} is written, and {status.node} is asked for it: {waited}")

    return see


def _own(environment: EdgeSide, seen: Seen, slot: str, who: str) -> Claim:
    """The claim in force in this slot, if it is of the same `who`. That is a convenience, not security."""
    _require_support_slot(environment, slot)
    claim = seen.live(SUPPORT_SLOTS, environment.settings.edge.ceiling).get(slot)
    if claim is None:
        raise UsageError(f"{slot} holds no claim that is in force", "Leave --claim out for a new one.")
    said = str(audit.of_claim(claim, audit.lines(seen.items)).get("who", "somebody")).partition(" pid ")[0]
    if said != who:
        owner = on_one_line(said)
        remedy = f"If it is yours to change: --who {shlex.quote(owner)}. Else leave --claim out for one of your own."
        raise UsageError(f"{slot} is of {owner}, not of {who}", remedy)
    return claim


def _warnings(seen: Seen, wish: Wish) -> Iterator[str]:
    """What may not be meant: a claim that ends sooner than before, or grants less."""
    until, over = seen.now + wish.lasting, wish.over
    if over is not None and until < over.until:
        yield f"{over.slot} ends {duration(round(over.until - until))} sooner than before"
    if over is not None and wish.stale < over.grace:
        yield f"{over.slot} grants {duration(wish.stale)} instead of {duration(over.grace)}"


def _require_support_slot(environment: EdgeSide, slot: str) -> None:
    """Raise UsageError for any other name."""
    if slot in DEPLOY_SLOTS:
        raise UsageError(
            f"{slot} is a deploy's claim; support's and deploys' never cancel each other",
            f"A pipeline's is given back with: edgeguard hook post {environment.name} {slot}",
        )
    if slot not in SUPPORT_SLOTS:
        raise UsageError(f"{slot!r} is not a support slot", f"One of: {', '.join(SUPPORT_SLOTS)}.")


@contextmanager
def _told_how_to_go_on(environment: EdgeSide, slot: str) -> Iterator[None]:
    """Add to a failure how to look for the claim and take it back, if it may have been written."""
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
    except EdgeError as exc:  # among others a write without an answer, which may have happened
        if not isinstance(exc, EdgeNotDone):
            claims.give_up(environment, slot, did="grace extend")
        said = f"{exc.message}; {slot} may have been written all the same"
        raise type(exc)(said, f"{exc.remedy} {remedy}") from exc
    except Begun as exc:
        state = "is written, but not confirmed" if exc.written else "may be written"
        raise NotConfirmed(f"{slot} {state}: {exc.message}", remedy) from exc


def _free_slot(environment: EdgeSide, seen: Seen) -> str:
    taken = seen.live(SUPPORT_SLOTS, environment.settings.edge.ceiling)
    for slot in SUPPORT_SLOTS:
        if slot not in taken:
            return slot
    raise UsageError(
        f"all {len(SUPPORT_SLOTS)} support slots are taken",
        f"Look whose: edgeguard grace show {environment.argument}; `edgeguard grace release` frees one.",
    )


def release(
    environment: EdgeSide,
    slot: str,
    *,
    reason: str,
    who: str = "",
    say: Callable[[str], None] = lambda _: None,
    last: bool = False,
) -> dict[str, Any]:
    """Give one support claim back before its time, in one write. Other claims stay as they are.

    `say` hears a warning if the front door is sick; the claim is given back all the same.

    If the claim is not in force any more, nothing is written, and `released` is False. That is no error. A value that
    nobody can read is taken away. `last` is as in Stop.

    Raises:
        UsageError: there is no such slot, or it belongs to a deploy.
        NotConfirmed: it is written, but the edge does not show it, or a signal came before it did.
    """
    with Stop(last=last).listening():
        return _released(environment, slot, reason=reason, who=who, say=say)


def _released(environment: EdgeSide, slot: str, *, reason: str, who: str, say: Callable[[str], None]) -> dict[str, Any]:
    _require_support_slot(environment, slot)
    strays: list[str] = []
    seen = claims.look(environment, say=strays.append)
    ceiling = environment.settings.edge.ceiling
    alive = slot in seen.live(SUPPORT_SLOTS, ceiling)
    warnings = [*strays, *(_sick(environment, slot) if alive else ())]
    for warning in warnings:
        say(warning)
    if not alive and not flaw(slot, seen.items.get(slot, ""), now=seen.now, ceiling=ceiling):
        return {"id": slot, "released": False, "warnings": warnings}
    remedy = f"It ends by itself in any case. Look: edgeguard grace show {environment.argument}"
    try:
        confirmed = claims.free(
            environment, seen, slot, did="grace release", why=reason, who=who.strip() or this_person()
        )
    except NotConfirmed as exc:
        raise NotConfirmed(f"{slot}: {exc.message}", remedy) from exc
    except Begun as exc:
        state = "is given back, but that is not confirmed" if exc.written else "may be given back"
        raise NotConfirmed(f"{slot} {state}: {exc.message}", remedy) from exc
    seconds, nodes = round(confirmed.seconds, 3), list(confirmed.nodes)
    return {"id": slot, "released": True, "confirmed_seconds": seconds, "nodes": nodes, "warnings": warnings}


def _sick(environment: EdgeSide, slot: str) -> Iterator[str]:
    """The warning that visitors may need the claim."""
    try:
        front_door.ask_once(environment.settings.edge, None)
    except OriginsUnhealthy as exc:
        yield f"{exc.message}; without {slot}, visitors may see errors sooner"
