"""Support's two verbs: raise the grace for a while in a slot of its own, and give that back before its time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, SUPPORT_SLOTS
from edgeguard.errors import EdgeError, EdgeUnauthorized, Interrupted, Locked, NotConfirmed, UsageError
from edgeguard.grace import claims
from edgeguard.grace.claims import LostSlot, Seen, Wish
from edgeguard.machine.signals import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.environment import EdgeSide


def extend(
    environment: EdgeSide,
    *,
    lasting: int,
    reason: str,
    stale: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    last: bool = False,
) -> dict[str, Any]:
    """Claim a support slot for `lasting` seconds; pages may then be `stale` seconds old (default: base + lasting).
    `last` is as in Stop.

    Raises:
        UsageError: the claim would go beyond the ceiling, its reason is missing, or all slots are taken.
        NotConfirmed: it is written, but the edge does not show it, or a signal came before it did.
    """
    settings = environment.settings
    wanted = stale if stale is not None else settings.edge.base_grace + lasting
    claims.within_limits(environment, lasting, wanted)
    if wanted < settings.edge.base_grace:
        raise UsageError(
            f"a grace of {wanted} s changes nothing: the base grace of {settings.edge.base_grace} s is always in force",
            f"Leave --grace out, or name more than {settings.edge.base_grace}s.",
        )
    if settings.claim.reason_required and not reason.strip():
        raise UsageError("a reason is needed here (claim.reason_required)", 'Say why: --reason "…".')
    wish = Wish(lasting=lasting, stale=wanted, did="grace extend", why=reason)
    stop = Stop(last=last)
    with stop.listening():
        for _ in SUPPORT_SLOTS:
            seen = claims.look(environment)
            slot = _free_slot(environment, seen)
            stop.check()
            with _told_how_to_go_on(environment, slot):
                try:
                    return claims.take(environment, seen, slot, wish, sleep=stop.sleep).json()
                except LostSlot as exc:
                    say(f"{exc.message}; taking another")
    raise Locked("every slot was taken by somebody else at the same moment", "Try again.")


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
        said = f"{exc.message}; {slot} may have been written all the same"
        raise type(exc)(said, f"{exc.remedy} {remedy}".lstrip()) from exc
    except Interrupted as exc:  # it would say that everything is as before
        raise NotConfirmed(f"{slot} is written, but not confirmed: {exc.message}", remedy) from exc


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
    """Give one support claim back before its time, in one write. Other claims stay as they are.

    If the claim is not in force any more, nothing is written, and `released` is False. That is no error.

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
    seen = claims.look(environment)
    if slot not in seen.live(SUPPORT_SLOTS, environment.settings.edge.ceiling):
        return {"id": slot, "released": False}
    claims.give_back(environment, seen, slot, did="grace release", why=reason)
    try:
        confirmed = claims.wait_until_shown(environment, slot, None)
    except NotConfirmed as exc:
        remedy = f"It ends by itself in any case. Look: edgeguard grace show {environment.argument}"
        raise NotConfirmed(f"{slot}: {exc.message}", remedy) from exc
    seconds, nodes = round(confirmed.seconds, 3), list(confirmed.nodes)
    return {"id": slot, "released": True, "confirmed_seconds": seconds, "nodes": nodes}
