"""Before and after a deploy by other means: claim the grace, then prove the site healthy, purge, and give it back.

`pre` and `post` may run on machines that share nothing: all they know is in the edge's dictionary. A claim of theirs
carries a nonce that begins with HOOK or KEPT, so that a guarded deploy's claim is never taken for one of theirs.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, KEPT, Claim, new_nonce, parse
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
from edgeguard.grace.claims import LostSlot, Made, Seen, Wish
from edgeguard.purge import Changes, of_deploy
from edgeguard.purge.run import Run
from edgeguard.site import front_door
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.environment import EdgeSide
    from edgeguard.machine.signals import Stop


def pre(
    environment: EdgeSide,
    *,
    stop: Stop,
    lasting: int | None = None,
    renews: str | None = None,
    hold: int = 0,
    did: str = "hook pre",
    why: str = "",
) -> Made:
    """Claim the grace for a deploy and wait until the edge shows it. Where that fails, the slot holds what it did.

    The claim is in force for `lasting` seconds (default claim.duration); the grace is the base and that, at most the
    ceiling. A claim that was kept after a failed deploy is taken over, and so is the claim that `renews` names. Neither
    gets shorter.

    There is no hold by default: hold has a short life of its own and needs a process that renews it.

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
    seen = claims.look(environment)
    alive = seen.live(DEPLOY_SLOTS, settings.edge.ceiling)
    for claim in alive.values():
        if not claim.nonce.startswith(KEPT) and not (claim.slot == renews and claim.nonce.startswith(HOOK)):
            raise _in_the_way(environment, seen, claim)
    slot = renews or next(iter(alive), DEPLOY_SLOTS[0])
    wish = Wish(lasting=seconds, stale=stale, hold=hold, did=did, why=why, owner=HOOK, over=alive.get(slot))
    stop.check()
    try:
        return claims.take(environment, seen, slot, wish, sleep=stop.sleep)
    except (LostSlot, EdgeUnauthorized):  # what is there is somebody else's; or nothing was written
        raise
    except EdgeguardError as exc:  # also where no answer came to the write: it may have been done
        ends = max(int(seen.now) + seconds, wish.over.until if wish.over else 0)
        left = take_back(environment, slot, wish.before, ends=ends)
        remedy = left if isinstance(exc, (NotConfirmed, Interrupted)) else f"{left} {exc.remedy}".rstrip()
        raise exc.with_more(remedy=remedy) from exc


def _in_the_way(environment: EdgeSide, seen: Seen, claim: Claim) -> Locked:
    said = audit.of_claim(claim, audit.lines(seen.items))
    whose = f"{said.get('did', 'an unknown command')} of {said.get('who', 'somebody')}"
    if claim.nonce.startswith(HOOK):
        remedy = (
            f"If that deploy is over: edgeguard hook post {environment.name} {claim.slot}. If it is this one, tried "
            f"again, renew it with --id {claim.slot}"
        )
    else:
        remedy = "That deploy gives it back when it ends; if its process is gone, the claim ends by itself."
    return Locked(f"a deploy's claim is in force: {claim.slot}, by {whose}, until {rfc3339(claim.until)}", remedy)


def take_back(environment: EdgeSide, slot: str, before: str, *, ends: int, nonce: str | None = None) -> str:
    """Give a slot back the value that it had `before` it was claimed for a deploy that does not begin. Returns a
    sentence on what is left.

    If the claim's `nonce` is known and the slot has become somebody else's, it is left to them.
    """
    try:
        if nonce is not None:
            there = parse(slot, environment.edge.items().get(slot, ""))
            if there is not None and there.nonce != nonce and there.value() != before:
                return f"{slot} is somebody else's now, and left to them."
        environment.edge.write({slot: before})
    except EdgeError as exc:
        return (
            f"Its claim, {slot}, could not be taken back ({exc.message}) and may be in force: it ends by itself, "
            f"{rfc3339(ends)} at the latest. To go on before that: edgeguard hook pre {environment.name} --id {slot} "
            "renews it, and so does `wrap` with that --id."
        )
    return "Its claim is taken back." if before == FREE else f"Its claim is taken back: {slot} is as it was before."


@dataclass(frozen=True)
class Found:
    """A pipeline's claim, as the edge's dictionary has it: its slot, and whether it is in force or over."""

    slot: str
    claim: Claim | None
    live: bool

    def left(self, seen: Seen) -> str:
        """How long it lasts, for people."""
        if self.claim is None:
            return ""
        return f"{rfc3339(self.claim.until)} ({duration(max(0, self.claim.until - int(seen.now)))} left)"


def find(environment: EdgeSide, seen: Seen, slot: str | None, nonce: str | None = None) -> Found:
    """The claim that `post` is about: the claim that is named, else the only one in force, else one that is over. If
    its `nonce` is known, a claim with another nonce in that slot is not it.

    Raises:
        UsageError: there is no claim of a pipeline, or more than one; or the name is no deploy's slot.
        Locked: the claim belongs to a guarded deploy.
    """
    if slot not in (None, *DEPLOY_SLOTS):
        raise UsageError(f"{slot!r} is not a deploy's claim", f"`hook pre` prints it: {' or '.join(DEPLOY_SLOTS)}.")
    alive = seen.live(DEPLOY_SLOTS, environment.settings.edge.ceiling)
    if slot in alive and not alive[slot].of_pipeline:
        raise Locked(f"{slot} belongs to `edgeguard deploy`, which gives it back itself", "Wait until it has ended.")
    there = {each: claim for each in DEPLOY_SLOTS if (claim := seen.claim(each)) and claim.of_pipeline}
    ours = {each: claim for each, claim in there.items() if each in alive}
    if slot is None and len(ours) > 1:
        raise UsageError(f"{len(ours)} claims of pipelines are in force", f"Say which: {' or '.join(ours)}.")
    if slot is None:
        slot = next(iter(ours or there), None)
    if slot is None or (slot not in there and seen.items.get(slot) != FREE):
        raise _nothing_there(environment, seen)
    if nonce is not None and slot in there and there[slot].nonce != nonce:
        return Found(slot, None, live=False)
    return Found(slot, there.get(slot), slot in ours)


def _nothing_there(environment: EdgeSide, seen: Seen) -> UsageError:
    given_back = (line for line in audit.lines(seen.items) if line.get("id") in DEPLOY_SLOTS and "nonce" not in line)
    said = next(given_back, None)
    last = f"; the last, {said['id']}, was given back {rfc3339(said['at'])} by {said.get('who')}" if said else ""
    base = duration(environment.settings.edge.base_grace)
    return UsageError(
        f"no deploy's claim is in force: `hook pre` has not run, or `hook post` has already{last}",
        f"Nothing was done. The base grace of {base} is in force; support's claims are in `edgeguard grace show`.",
    )


def post_failed(
    environment: EdgeSide, slot: str | None, *, nonce: str | None = None, did: str = "hook post --failed"
) -> dict[str, Any]:
    """Keep the claim, since the deploy failed, and say how long it lasts. Its hold ends.

    Raises:
        UsageError: there is no claim in force that could be kept; also as in find.
        CleanupUnfinished: the edge's API failed; the claim stays until it ends by itself.
    """
    try:
        seen = claims.look(environment)
    except EdgeError as exc:
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
    except EdgeError as exc:
        raise _not_kept(environment, found.slot, exc) from exc
    return {
        "id": found.slot,
        "outcome": "kept",
        "grace": found.claim.grace,
        "until": rfc3339(found.claim.until),
        "seconds_left": found.claim.until - int(seen.now),
    }


def _not_kept(environment: EdgeSide, slot: str | None, failure: EdgeError) -> CleanupUnfinished:
    claim, named = slot or "the deploy's claim", f" {slot}" if slot else ""
    again = f"edgeguard hook post {environment.name}{named} --failed"
    left = f"{claim} could not be marked as kept ({failure.message}); it stays in force until it ends by itself"
    return CleanupUnfinished(
        left, f"{failure.remedy} Then repeat it, or the next `hook pre` is refused: {again}".lstrip()
    )


def post(
    environment: EdgeSide,
    slot: str | None,
    *,
    stop: Stop,
    purge_keys: Sequence[str] = (),
    nonce: str | None = None,
    did: str = "hook post",
) -> dict[str, Any]:
    """Prove the site healthy through the front door, purge these keys softly, and give this claim back, no other.

    The site is proved and purged even if the claim is over already. `outcome` says "released", "ended" (by itself,
    before this: visitors may have seen errors) or "free" (it was given back before, so this repeats a post).

    Raises:
        OriginsUnhealthy: the site is not well; the claim stays.
        CleanupUnfinished: the site is well, but the purge or the release could not be done.
        UsageError, Locked: see find.
    """
    keys = "".join(f" --purge-key {shlex.quote(key)}" for key in purge_keys)
    try:
        seen = claims.look(environment)
        found = find(environment, seen, slot, nonce)
    except EdgeError as exc:
        named = f" {slot}" if slot else ""
        again = f"edgeguard hook post {environment.name}{named}{keys}"
        raise _not_looked_at(environment, slot, again, stop, exc) from exc
    again = f"edgeguard hook post {environment.name} {found.slot}{keys}"
    if found.live and found.claim is not None and found.claim.hold_until > seen.now:
        with suppress(EdgeError):  # it ends by itself soon; pages are to be fetched anew from here on
            environment.edge.write({found.slot: found.claim.without_hold().value()})
    try:
        front_door.wait_healthy(environment.settings.edge, None, sleep=stop.sleep)
    except OriginsUnhealthy as exc:
        kept = f"{found.slot} stays in force until {found.left(seen)}" if found.live else f"{found.slot} is over"
        more = f"edgeguard grace extend {environment.argument} --for 2h"
        raise OriginsUnhealthy(f"{exc.message}; {kept}", f"Mend the site, then: {again}. More time: {more}") from exc
    except Interrupted as exc:
        raise Interrupted(exc.message, f"Nothing is given back or purged yet: {again}") from exc
    stop.shield()  # the rest is done to its end, as after a deploy's commit
    unfinished: list[str] = []
    remedies: list[str] = []
    purged: dict[str, Any] = {}
    try:
        purged = _purge(environment, purge_keys, stop)
    except (EdgeError, OriginsUnhealthy) as exc:
        unfinished.append(f"purge ({exc.message})")
        remedies.append(exc.remedy)
    try:
        if found.live:
            claims.give_back(environment, seen, found.slot, did=did, why="the site is well")
    except EdgeError as exc:
        unfinished.append(f"release ({exc.message})")
        remedies.append(exc.remedy)
    if unfinished:
        remedies.append(f"Then repeat it: {again}. The claim ends by itself in any case.")
        left = f"the site is well, but left to do: {'; '.join(unfinished)}"
        raise CleanupUnfinished(left, " ".join(dict.fromkeys(filter(None, remedies))))
    outcome = "released" if found.live else "free" if found.claim is None else "ended"
    ended = rfc3339(found.claim.until) if outcome == "ended" and found.claim else None
    return {"id": found.slot, "outcome": outcome, "ended": ended, "purged": purged}


def _not_looked_at(
    environment: EdgeSide, slot: str | None, again: str, stop: Stop, failure: EdgeError
) -> EdgeguardError:
    """The error of `post` if the API does not tell of claims. The site is asked all the same: that needs no API."""
    claim = slot or "the deploy's claim"
    left = f"purge and release ({failure.message}); {claim} stays in force until it ends by itself"
    try:
        front_door.wait_healthy(environment.settings.edge, None, sleep=stop.sleep)
    except OriginsUnhealthy as exc:
        return OriginsUnhealthy(f"{exc.message}; left to do: {left}", f"Mend the site, then: {again}")
    except Interrupted as exc:
        return Interrupted(exc.message, f"Nothing is given back or purged yet: {again}")
    remedy = f"{failure.remedy} Then repeat it: {again}".lstrip()
    return CleanupUnfinished(f"the site is well, but left to do: {left}", remedy)


def _purge(environment: EdgeSide, keys: Sequence[str], stop: Stop) -> dict[str, Any]:
    """Purge as a deploy does. What changed is not known here, so no keys are derived."""
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
