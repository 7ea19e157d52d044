"""The mechanism "settings", for a service that may carry no VCL: its own stale-if-error is the grace for every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly.fastly import Fastly
from edgeguard.errors import UsageError
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.edge import ActiveVersion, Policy
    from edgeguard.edge.fastly.wanted import Wanted
    from edgeguard.findings import Finding
    from edgeguard.settings import ClaimSettings

REVISION = "settings"
"""This stands in place of a policy's revision."""


class BySettings(Fastly):
    """Implements Edge. The ceiling is always in force, there are no claims, and the edge can't show its grace."""

    @property
    def claims(self) -> bool:
        """As in Edge."""
        return False

    @property
    def base(self) -> int:
        """As in Edge."""
        return self._settings.ceiling

    @property
    def revision(self) -> str:
        """As in Edge. No node shows it."""
        return REVISION

    @property
    def _wanted(self) -> Wanted:
        from edgeguard.edge.fastly import wanted  # noqa: PLC0415 (with the API's side)

        return wanted.Wanted(REVISION, serve_stale=self._settings.ceiling)

    def active_version(self) -> ActiveVersion:
        """As in Edge."""
        from edgeguard.edge.fastly import active, conflicts  # noqa: PLC0415 (with the API's side)

        return active.ActiveVersion(self._service.versions.look(), self._settings, conflicts.with_setting)

    def shortened(self, url: str, headers: Mapping[str, str]) -> Finding | None:
        """As in Edge."""
        from edgeguard.edge.fastly import conflicts  # noqa: PLC0415 (with the API's side)

        kept, promised = self._settings.ceiling, self.freshness(headers).promised
        return conflicts.shortened(url, promised, self._settings, kept=kept, remedy=conflicts.raise_ceiling)

    def require_claims(self) -> None:
        """As in Edge: no claim is possible."""
        raise UsageError(
            "there are no claims where edge.mechanism is settings: the service's own stale-if-error is "
            f"{duration(self.base)} for every page, always, and raising it would not reach pages that are cached "
            "already",
            'Claims need the policy in the service: mechanism = "vcl", then edgeguard edge install.',
        )

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """As in Edge: only the policy gives pages a group."""
        return ()

    def in_words(self, policy: Policy) -> str:
        """As in Edge."""
        if policy.revision == REVISION:
            return "the service's own stale-if-error at the ceiling"
        return super().in_words(policy)

    @property
    def left_by_remove(self) -> str:
        """As in Edge."""
        return "the service's own stale-if-error stays as it is: what it was before is not known"

    def explain(self, phase: str, *, slot: str, claim: ClaimSettings) -> tuple[str, ...]:
        """As in Edge."""
        if phase == "claim":
            covered = f"the service's own stale-if-error covers {duration(self._settings.ceiling)}"
            return (f"{covered}; no claim is written, nothing is confirmed",)
        return super().explain(phase, slot=slot, claim=claim)
