"""Claims that people make by hand: one write each, confirmed at the edge, and over by themselves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from edgeguard.edge import grace
from edgeguard.edge.audit import audit_key
from edgeguard.edge.confirm import confirm
from edgeguard.errors import UsageError
from edgeguard.record import this_holder
from edgeguard.report import rfc3339

if TYPE_CHECKING:
    from edgeguard.environment import EdgeSide


def extend(environment: EdgeSide, *, lasting: int, reason: str, stale: int | None = None) -> dict[str, Any]:
    """Claim a support slot for `lasting` seconds; pages may then be `stale` seconds old (default: base + lasting).

    Raises:
        UsageError: it would be beyond the ceiling, or all slots are taken.
        NotConfirmed: it is written, but the edge does not show it.
    """
    settings = environment.settings.edge
    wanted = stale if stale is not None else settings.base_grace + lasting
    if not 0 < lasting <= settings.ceiling or not 0 < wanted <= settings.ceiling:
        raise UsageError(
            f"the most that can be granted is the ceiling, {settings.ceiling} s, base grace included",
            "Ask for less with --for, or name the grace with --grace.",
        )
    now = time.time()
    items = environment.edge.items()
    taken = {claim.slot for claim in grace.live(grace.parse_all(items), now=now, ceiling=settings.ceiling)}
    free = [slot for slot in grace.SUPPORT_SLOTS if slot not in taken]
    if not free:
        raise UsageError(
            f"all {len(grace.SUPPORT_SLOTS)} support slots are taken",
            "See `edgeguard grace show`; `edgeguard grace release ENV SLOT` frees one.",
        )
    claim = grace.Claim(free[0], int(now) + lasting, wanted, grace.new_nonce())
    audit = {"who": this_holder(), "why": reason, "grace": wanted, "until": claim.until}
    environment.edge.write({claim.slot: claim.value(), audit_key(): json.dumps(audit)})
    confirmed = _confirm(environment, {claim.slot: claim.value()})
    return {"slot": claim.slot, "grace": wanted, "until": rfc3339(claim.until), **confirmed}


def release(environment: EdgeSide, slot: str, *, reason: str) -> dict[str, Any]:
    """Give one support claim back before its time. Other claims stay as they are.

    Raises:
        UsageError: there is no such slot, or it belongs to a deploy.
    """
    if slot not in grace.SUPPORT_SLOTS:
        raise UsageError(f"{slot!r} is not a support slot", f"One of: {', '.join(grace.SUPPORT_SLOTS)}.")
    audit = {"who": this_holder(), "why": reason, "released": slot}
    environment.edge.write({slot: grace.FREE, audit_key(): json.dumps(audit)})
    return {"slot": slot, **_confirm(environment, {slot: grace.FREE})}


def _confirm(environment: EdgeSide, expected: dict[str, str]) -> dict[str, Any]:
    settings = environment.settings.edge
    confirmed = confirm(
        environment.edge,
        expected,
        written_at=time.monotonic(),
        propagation=settings.propagation,
        timeout=settings.confirm_timeout,
        clock=time.monotonic,
        sleep=time.sleep,
    )
    return {"confirmed_seconds": round(confirmed.seconds, 3), "nodes": sorted(confirmed.nodes)}
