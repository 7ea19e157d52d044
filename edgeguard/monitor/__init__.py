"""`probe`, the health check that a monitor runs each minute: how an environment is for its visitors now.

`look` asks, `judge` judges, and `formats` writes the verdict in the monitor's language. It writes no file and needs no
token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from edgeguard.edge.claim import Claim
    from edgeguard.findings import Finding
    from edgeguard.monitor.look import Asked, Seen
    from edgeguard.monitor.ranges import Range

State = Literal["ok", "warning", "critical", "unknown"]
CODES: dict[State, int] = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
"""The exit codes, which are those of monitoring plugins."""


@dataclass(frozen=True)
class Limits:
    """Thresholds for the runway while the edge covers for the origin, and the seconds that a check may take."""

    warning: Range | None
    critical: Range | None
    timeout: float


@dataclass(frozen=True)
class Closure:
    """A closed gate's announcement: for which deploy it is closed, and until when (Unix time).

    `seconds_left` is from now to then, by the edge's clock; it is negative when that time has passed.
    """

    deploy: str
    until: float
    seconds_left: float


@dataclass(frozen=True)
class Page:
    """A page of anonymous visitors. `runway` is the seconds for which it could be served without an origin (None:
    unknown)."""

    asked: Asked
    runway: float | None


@dataclass(frozen=True)
class Health:
    """The verdict and its evidence. `runway` is the shortest of the pages' runways (None: all are unknown)."""

    environment: str
    state: State
    summary: str
    closure: Closure | None
    runway: float | None
    pages: tuple[Page, ...]
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    expected_revision: str
    limits: Limits
    seen: Seen

    @property
    def code(self) -> int:
        """The exit code."""
        return CODES[self.state]

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of the figures that are unknown."""
        told = {"runway": self.runway is not None, "grace": self.seen.status is not None}
        return tuple(name for name, known in told.items() if not known)

    def json(self) -> dict[str, Any]:
        """The form of `probe --format json`. It always has the same keys; null is unknown."""
        status, closure, seen = self.seen.status, self.closure, self.seen
        return {
            "environment": self.environment,
            "state": self.state,
            "exit_code": self.code,
            "summary": self.summary,
            "closed": None
            if closure is None
            else {
                "deploy": closure.deploy,
                "until": rfc3339(closure.until),
                "seconds_left": round(closure.seconds_left, 3),
            },
            "runway": None if self.runway is None else round(self.runway, 3),
            "grace": None if status is None else {"in_force": status.grace, "base": status.base, "hold": status.hold},
            "claims": [
                {
                    "slot": claim.slot,
                    "grace": claim.grace,
                    "until": rfc3339(claim.until),
                    "seconds_left": round(claim.until - seen.now, 3),
                }
                for claim in self.claims
            ],
            "policy": {
                "node": status.node if status else None,
                "revision": status.revision if status else None,
                "expected": self.expected_revision,
            },
            "front_door": _asked(seen.front),
            "pages": [
                {**_asked(page.asked), "runway": None if page.runway is None else round(page.runway, 3)}
                for page in self.pages
            ],
            "origins": [_asked(origin) for origin in seen.origins],
            "findings": [vars(finding) for finding in self.findings],
            "unknown": list(self.unknown),
            "seconds": round(seen.seconds, 3),
        }


def _asked(asked: Asked) -> dict[str, Any]:
    answer = asked.answer
    return {
        "url": asked.url,
        "status": answer.status if answer else None,
        "seconds": round(answer.seconds, 3) if answer else None,
        "stale": asked.stale,
        "error": asked.error or None,
    }
