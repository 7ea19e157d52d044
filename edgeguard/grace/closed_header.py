"""The header with which a gate of one's own announces a planned closure: `Edgeguard-Closed: <deploy>; until=<time>`.

`probe` reads it from the gate's answers: until that time, the closure is no fault.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, live, parse_all
from edgeguard.errors import UsageError
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from edgeguard.edge import VisibleEdge
    from edgeguard.edge.claim import Claim
    from edgeguard.settings import EdgeOnlySettings

HEADER = "Edgeguard-Closed"


def closed_header(
    name: str, settings: EdgeOnlySettings, edge: VisibleEdge, *, lasting: int | None, deploy: str | None
) -> dict[str, Any]:
    """The header's value for a closure that begins now, as `closed-header --json` shows it.

    The closure is planned for `lasting` seconds, and ends with the claim that covers it at the latest. By default it
    lasts as long as that claim. It is called `deploy`, or after the claim. The edge is asked, which needs no token.

    Raises:
        UsageError: no claim is in force; or the edge takes none, and `lasting` is not given.
        EdgeUnavailable: the edge does not tell its claims.
    """
    now, until, called = time.time(), float("inf"), "deploy"
    if edge.claims:
        now, claim = _claim(name, settings, edge)
        until, called = claim.until, f"{claim.slot}-{claim.nonce}"
    elif lasting is None:
        raise UsageError("this edge takes no claims, which would tell until when", "Say how long: --for 10m.")
    until = until if lasting is None else min(until, now + lasting)
    called = deploy or called
    return {
        "environment": name,
        "header": HEADER,
        "value": f"{called}; until={rfc3339(until)}",
        "deploy": called,
        "until": rfc3339(until),
        "seconds_left": round(until - now),
    }


def _claim(name: str, settings: EdgeOnlySettings, edge: VisibleEdge) -> tuple[float, Claim]:
    """The edge's time, and the claim that covers a closure: a deploy's, else support's claim that lasts longest."""
    status = edge.status()
    alive = live(parse_all(status.slots), now=status.now, ceiling=settings.edge.ceiling)
    if not alive:
        raise UsageError(
            "no claim is in force, so nothing would cover a closure",
            f"Claim the grace first: edgeguard hook pre {name}, or edgeguard wrap {name} around your command.",
        )
    return status.now, max(alive, key=lambda claim: (claim.slot in DEPLOY_SLOTS, claim.until))
