"""Find a pipeline's claim in the edge's dictionary: all that `hook pre` leaves for `hook post` is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE
from edgeguard.errors import Locked, UsageError
from edgeguard.grace import audit
from edgeguard.times import duration, rfc3339
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from edgeguard.edge.claim import Claim
    from edgeguard.environment import EdgeSide
    from edgeguard.grace.claims import Seen


@dataclass(frozen=True)
class Found:
    """A pipeline's claim: its slot, the claim (None: it is not there any more), and whether it is in force."""

    slot: str
    claim: Claim | None
    live: bool

    def left(self, seen: Seen) -> str:
        """How long it lasts, for people."""
        if self.claim is None:
            return ""
        return f"{rfc3339(self.claim.until)} ({duration(max(0, self.claim.until - int(seen.now)))} left)"


def find(environment: EdgeSide, seen: Seen, slot: str | None, nonce: str | None = None) -> Found:
    """The claim in the named slot. Without a name, the only claim in force, or else one that is over.

    If the claim's `nonce` is known, a claim with another nonce in that slot is not found.

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
    last = (
        f"; the last, {said['id']}, was given back {rfc3339(said['at'])} by {on_one_line(str(said.get('who')))}"
        if said
        else ""
    )
    base = duration(environment.settings.edge.base_grace)
    return UsageError(
        f"no deploy's claim is in force: `hook pre` has not run, or `hook post` has already{last}",
        f"Nothing was done. The base grace of {base} is in force; support's claims are in `edgeguard grace show`.",
    )
