"""The mechanism "vcl": the policy as snippets of a version, and claims as items of a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.claim import DEPLOY_SLOTS
from edgeguard.edge.fastly import policy
from edgeguard.edge.fastly.fastly import Fastly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.edge import ActiveVersion
    from edgeguard.edge.fastly.wanted import Wanted
    from edgeguard.findings import Finding
    from edgeguard.settings import ClaimSettings

SLICE = 8
"""The number of groups in one purge call: all groups take 32 calls."""


class ByVcl(Fastly):
    """Implements Edge. The base grace is in force, and claims raise it up to the ceiling."""

    @property
    def claims(self) -> bool:
        """As in Edge."""
        return True

    @property
    def base(self) -> int:
        """As in Edge."""
        return self._settings.base_grace

    @property
    def revision(self) -> str:
        """As in Edge."""
        return policy.revision(self._settings)

    @property
    def _wanted(self) -> Wanted:
        from edgeguard.edge.fastly import wanted  # noqa: PLC0415 (with the API's side)

        return wanted.policy_of(self._settings)

    def active_version(self) -> ActiveVersion:
        """As in Edge."""
        from edgeguard.edge.fastly import active, conflicts  # noqa: PLC0415 (with the API's side)

        return active.ActiveVersion(self._service.versions.look(), self._settings, conflicts.with_policy)

    def shortened(self, url: str, headers: Mapping[str, str]) -> Finding | None:
        """As in Edge."""
        from edgeguard.edge.fastly import conflicts  # noqa: PLC0415 (with the API's side)

        kept, promised = self._settings.base_grace, self.freshness(headers).promised
        return conflicts.shortened(url, promised, self._settings, kept=kept, remedy=conflicts.raise_base)

    def require_claims(self) -> None:
        """As in Edge: claims are possible."""

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """As in Edge."""
        return tuple(policy.GROUPS[start : start + SLICE] for start in range(0, len(policy.GROUPS), SLICE))

    @property
    def left_by_remove(self) -> str:
        """As in Edge: nothing is left."""
        return ""

    def explain(self, phase: str, *, slot: str, claim: ClaimSettings) -> tuple[str, ...]:
        """As in Edge."""
        edge = self._settings
        items = f"PATCH {edge.api_url}/service/{edge.service}/dictionary/<{edge.dictionary}>/items"
        if phase == "claim":
            grace = min(edge.ceiling, edge.base_grace + claim.duration)
            return (f"{items}: {slot} = now+{claim.duration}:{grace}:now+{claim.hold}",)
        if phase == "open":
            return (f"{items}: {slot} without its hold",)
        if phase == "release":
            return (f"{items}: {' and '.join(DEPLOY_SLOTS)} = free, but for a pipeline's claim",)
        return super().explain(phase, slot=slot, claim=claim)
