"""The hooks of a pipeline, which deploys by other means. `pre` claims the grace before its deploy. After the deploy,
`post` waits until the site is healthy, purges, and gives the claim back; `post_failed` keeps the claim.

`pre` and `post` may run on machines that share nothing: all their knowledge is in the edge's dictionary. The nonce of a
pipeline's claim begins with HOOK or KEPT, so that a guarded deploy's claim is never mistaken for a pipeline's.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, KEPT, new_nonce, parse
from edgeguard.errors import (
    CleanupUnfinished,
    EdgeError,
    EdgeguardError,
    EdgeUnauthorized,
    Interrupted,
    Locked,
    NotConfirmed,
    OriginsUnhealthy,
    UsageError,
)
from edgeguard.grace import audit, claims
from edgeguard.grace.claims import Begun, LostSlot, Made, Wish
from edgeguard.grace.found import find
from edgeguard.purge import Changes, of_deploy
from edgeguard.purge.run import Run
from edgeguard.site import front_door
from edgeguard.times import duration, rfc3339
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgeguard.edge.claim import Claim
    from edgeguard.environment import EdgeSide
    from edgeguard.grace.claims import Seen
    from edgeguard.grace.found import Found
    from edgeguard.machine.signals import Stop

TO_TAKE_BACK = 5.0
"""Seconds in which a claim is taken back after a signal, whether the API answers or not."""


def pre(
    environment: EdgeSide,
    *,
    stop: Stop,
    lasting: int | None = None,
    renews: str | None = None,
    hold: int = 0,
    did: str = "hook pre",
    why: str = "",
    say: Callable[[str], None] = lambda _: None,
) -> Made:
    """Claim the grace for a deploy and wait until the edge shows it. If this fails, the slot gets its old value back.

    The claim is in force for `lasting` seconds (default claim.duration). The grace is the base plus `lasting`, at most
    the ceiling. A claim that was kept after a failed deploy is taken over, and so is the claim in the slot `renews`.
    Neither gets shorter.

    By default there is no hold: a hold is short and needs a process that renews it. `say` is as in claims.look.

    Raises:
        Locked: a deploy's claim is in force.
        UsageError, NotConfirmed, EdgeError, Interrupted: see claims.take.
    """
    settings = environment.settings
    seconds = settings.claim.duration if lasting is None else lasting
    stale = min(settings.edge.ceiling, settings.edge.base_grace + seconds)
    claims.within_limits(environment, seconds, stale)
    if renews not in (None, *DEPLOY_SLOTS):
        raise UsageError(f"{renews!r} is not a deploy's claim", f"One of: {', '.join(DEPLOY_SLOTS)}.")
    seen = claims.look(environment, say=say)
    alive = seen.live(DEPLOY_SLOTS, settings.edge.ceiling)
    _refuse_others(environment, seen, alive.values(), renews)
    slot = renews or next(iter(alive), DEPLOY_SLOTS[0])
    wish = Wish(lasting=seconds, stale=stale, hold=hold, did=did, why=why, owner=HOOK, over=alive.get(slot))
    stop.check()
    try:
        return claims.take(environment, seen, slot, wish, sleep=stop.sleep)
    except (LostSlot, EdgeUnauthorized):  # the slot has somebody else's claim; or nothing was written
        raise
    except EdgeguardError as exc:  # among others a write without an answer, which may have happened
        if isinstance(exc, Interrupted) and not isinstance(exc, Begun):
            raise  # nothing was written
        ends = wish.claim(slot, seen.now).until
        stop.respite(TO_TAKE_BACK)
        raise take_back(environment, slot, wish.before, ends=ends).after(exc) from exc


def _refuse_others(environment: EdgeSide, seen: Seen, alive: Iterable[Claim], renews: str | None) -> None:
    """Raise Locked if a claim in force is neither kept after a failed deploy nor the pipeline's claim to be renewed."""
    for claim in alive:
        of_hook = claim.nonce.startswith(HOOK)
        if claim.nonce.startswith(KEPT) or (of_hook and claim.slot == renews):
            continue
        remedy = "That deploy gives it back when it ends; if its process is gone, the claim ends by itself."
        if of_hook:
            remedy = (
                f"If that deploy is over: edgeguard hook post {environment.name} {claim.slot}. If it is this one, "
                f"tried again, renew it with --id {claim.slot}"
            )
        line = audit.of_claim(claim, audit.lines(seen.items))
        whose = on_one_line(f"{line.get('did', 'an unknown command')} of {line.get('who', 'somebody')}")
        raise Locked(f"a deploy's claim is in force: {claim.slot}, by {whose}, until {rfc3339(claim.until)}", remedy)


class TakenBack(NamedTuple):
    """Whether a claim was taken back, or is somebody else's by now; and a sentence for people about that."""

    surely: bool
    said: str

    def after(self, exc: EdgeguardError) -> EdgeguardError:
        """The error of a deploy that does not begin. An interruption that leaves a claim is no mere interruption."""
        if isinstance(exc, Interrupted):
            return (Interrupted if self.surely else NotConfirmed)(exc.message, self.said)
        remedy = "" if isinstance(exc, NotConfirmed) else exc.remedy
        return exc.with_more(remedy=f"{self.said} {remedy}".rstrip())


def take_back(environment: EdgeSide, slot: str, before: str, *, ends: int, nonce: str | None = None) -> TakenBack:
    """Give a slot back the value that it had `before` the claim of a deploy that does not begin.

    If the claim's `nonce` is known and the slot has somebody else's claim by now, that claim stays.
    """
    try:
        if nonce is not None:
            there = parse(slot, environment.edge.item(slot))
            if there is not None and there.nonce != nonce and there.value() != before:
                return TakenBack(True, f"{slot} is somebody else's now, and left to them.")
        claims.put_back(environment, slot, before, did="hook pre")
    except (EdgeError, Interrupted) as exc:
        return TakenBack(
            False,
            f"Its claim, {slot}, could not be taken back ({exc.message}) and may be in force: it ends by itself, "
            f"{rfc3339(ends)} at the latest. To go on before that: edgeguard hook pre {environment.name} --id {slot} "
            "renews it, and so does `wrap` with that --id.",
        )
    return TakenBack(True, "Its claim is taken back" + ("." if before == FREE else f": {slot} is as it was before."))


def post_failed(
    environment: EdgeSide,
    slot: str | None,
    *,
    nonce: str | None = None,
    did: str = "hook post --failed",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Keep the claim of a deploy that failed, and end its hold. Returns how long the claim lasts. `say`: claims.look.

    Raises:
        UsageError: no claim in force could be kept; also as in find.
        CleanupUnfinished: the edge's API failed, or a signal came; the claim stays until it ends by itself.
    """
    try:
        seen = claims.look(environment, say=say)
    except (EdgeError, Interrupted) as exc:
        raise _not_kept(environment, slot, exc) from exc
    found = find(environment, seen, slot, nonce)
    if found.claim is None or not found.live:
        over = "is not in force any more" if found.claim is None else f"ended by itself {rfc3339(found.claim.until)}"
        raise UsageError(
            f"{found.slot} {over}; only the base grace of {duration(environment.settings.edge.base_grace)} is in force",
            f"To keep the site up meanwhile: edgeguard grace extend {environment.argument} --for 2h",
        )
    kept = replace(found.claim.without_hold(), nonce=new_nonce(KEPT))
    try:
        claims.write(environment, seen, found.slot, kept, did=did, why="kept, as it failed")
    except (EdgeError, Interrupted) as exc:
        raise _not_kept(environment, found.slot, exc) from exc
    return {
        "id": found.slot,
        "outcome": "kept",
        "grace": found.claim.grace,
        "until": rfc3339(found.claim.until),
        "seconds_left": found.claim.until - int(seen.now),
    }


def _not_kept(environment: EdgeSide, slot: str | None, failure: EdgeError | Interrupted) -> CleanupUnfinished:
    claim, named = slot or "the deploy's claim", f" {slot}" if slot else ""
    again = f"edgeguard hook post {environment.name}{named} --failed"
    left = f"{claim} could not be marked as kept ({failure.message}); it stays in force until it ends by itself"
    remedy = "" if isinstance(failure, Interrupted) else failure.remedy
    return CleanupUnfinished(left, f"{remedy} Then repeat it, or the next `hook pre` is refused: {again}")


def post(
    environment: EdgeSide,
    slot: str | None,
    *,
    stop: Stop,
    purge_keys: Sequence[str] = (),
    nonce: str | None = None,
    did: str = "hook post",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Wait until the site is healthy through the front door, purge softly, and give this claim back. Others stay.

    The site is asked and purged even if the claim is over already. `outcome` is "released", "ended" (the claim ended by
    itself before this: visitors may have seen errors) or "free" (it was given back before, so this repeats a post).
    `say` is as in claims.look.

    Raises:
        OriginsUnhealthy: the site is not well; the claim stays.
        CleanupUnfinished: the site is well, but the purge or the release could not be done; or a signal came before.
        UsageError, Locked: see find.
    """
    try:
        seen = claims.look(environment, say=say)
        found = find(environment, seen, slot, nonce)
    except EdgeError as exc:  # the site is asked all the same: that needs no API
        again, claim = _again(environment, slot, purge_keys), slot or "the deploy's claim"
        left = f"purge and release ({exc.message}); {claim} stays in force until it ends by itself"
        _wait_healthy(environment, stop, again, f"left to do: {left}")
        raise _left_to_do(left, exc.remedy, f"Then repeat it: {again}") from exc
    except Interrupted as exc:
        claim = slot or "the deploy's claim"
        left = f"{claim} stays in force until it ends by itself"
        raise _nothing_yet(exc, left, _again(environment, slot, purge_keys)) from exc
    again = _again(environment, found.slot, purge_keys)
    kept = f"{found.slot} stays in force until {found.left(seen)}" if found.live else f"{found.slot} is over"
    if found.live and found.claim is not None and found.claim.hold_until > seen.now:
        try:
            environment.edge.write({found.slot: found.claim.without_hold().value()})
        except EdgeError:
            pass  # hold ends by itself soon; the edge shall fetch pages anew from here on
        except Interrupted as exc:
            raise _nothing_yet(exc, kept, again) from exc
    _wait_healthy(environment, stop, again, kept, f"edgeguard grace extend {environment.argument} --for 2h")
    stop.shield()  # the rest is done to its end, as after a deploy's commit
    purged = _purge_and_give_back(environment, seen, found, again, stop=stop, purge_keys=purge_keys, did=did)
    outcome = "released" if found.live else "free" if found.claim is None else "ended"
    ended = rfc3339(found.claim.until) if outcome == "ended" and found.claim else None
    return {"id": found.slot, "outcome": outcome, "ended": ended, "purged": purged}


def _again(environment: EdgeSide, slot: str | None, purge_keys: Sequence[str]) -> str:
    """The command that repeats `post`."""
    keys = [f"--purge-key {shlex.quote(key)}" for key in purge_keys]
    return " ".join(["edgeguard hook post", environment.name, *([slot] if slot else []), *keys])


def _wait_healthy(environment: EdgeSide, stop: Stop, again: str, left: str, more_time: str = "") -> None:
    """Wait until the site is healthy. An error says what is `left`, and by which commands to go on."""
    try:
        front_door.wait_healthy(environment.settings.edge, None, sleep=stop.sleep)
    except OriginsUnhealthy as exc:
        remedy = f"Mend the site, then: {again}" + (f". More time: {more_time}" if more_time else "")
        raise OriginsUnhealthy(f"{exc.message}; {left}", remedy) from exc
    except Interrupted as exc:
        raise _nothing_yet(exc, left, again) from exc


def _nothing_yet(exc: Interrupted, left: str, again: str) -> CleanupUnfinished:
    return CleanupUnfinished(f"{exc.message}; nothing is purged or given back yet; {left}", f"Then repeat it: {again}")


def _purge_and_give_back(
    environment: EdgeSide, seen: Seen, found: Found, again: str, *, stop: Stop, purge_keys: Sequence[str], did: str
) -> dict[str, Any]:
    """Purge, and give the claim back if it is in force, even if the purge failed. Returns what was purged."""
    failed: dict[str, EdgeguardError] = {}
    purged: dict[str, Any] = {}
    try:
        purged = _purge(environment, purge_keys, stop)
    except (EdgeError, OriginsUnhealthy) as exc:
        failed["purge"] = exc
    try:
        if found.live:
            claims.give_back(environment, seen, found.slot, did=did, why="the site is well")
    except (EdgeError, LostSlot) as exc:
        failed["release"] = exc
    if failed:
        left = "; ".join(f"{act} ({exc.message})" for act, exc in failed.items())
        remedies = [exc.remedy for exc in failed.values()]
        raise _left_to_do(left, *remedies, f"Then repeat it: {again}. The claim ends by itself in any case.")
    return purged


def _left_to_do(left: str, *remedies: str) -> CleanupUnfinished:
    return CleanupUnfinished(
        f"the site is well, but left to do: {left}", " ".join(dict.fromkeys(filter(None, remedies)))
    )


def _purge(environment: EdgeSide, keys: Sequence[str], stop: Stop) -> dict[str, Any]:
    """Purge as a deploy does, but without keys derived from changes: the changes of this deploy are not known here."""
    settings = environment.settings
    changes = Changes(None, "the deploy was made by other means")
    wanted = of_deploy(settings.purge, keys, changes, grouped=bool(environment.edge.slices))
    return {
        **Run(environment.edge, settings.purge, settings.edge, sleep=stop.sleep).purge(wanted),
        "reasons": list(wanted.reasons),
    }


def text(done: dict[str, Any]) -> str:
    """The result of post or post_failed, for people."""
    if done["outcome"] == "kept":
        stale = duration(done["grace"])
        left = duration(done["seconds_left"])
        return f"{done['id']} is kept: pages may be served {stale} stale, until {done['until']} ({left} left)"
    what = {
        "released": "is given back",
        "free": "was given back before",
        "ended": f"ended by itself {done['ended']}, before this: visitors may have seen errors since. "
        "Let it last longer with --for",
    }
    keys = done["purged"]["keys"]
    purged = f"{keys} key{'s' if keys != 1 else ''} softly purged"
    return f"the site is well; {purged}; {done['id']} {what[done['outcome']]}"
