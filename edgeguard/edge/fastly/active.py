"""The active version of a Fastly service. It is read once, and its rows answer several questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge import Granted
from edgeguard.edge.fastly import health_checks, policy, remarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.edge.fastly.rows import Rows
    from edgeguard.findings import Finding
    from edgeguard.settings import EdgeSettings


class ActiveVersion:
    """Implements ActiveVersion of edgeguard/edge."""

    def __init__(
        self, rows: Rows, settings: EdgeSettings, find: Callable[[Rows, EdgeSettings], tuple[Finding, ...]]
    ) -> None:
        """`find` finds the conflicts with the mechanism of these settings."""
        self.rows = rows
        self._settings = settings
        self._find = find

    @property
    def number(self) -> int:
        """The version's number."""
        return self.rows.number

    @property
    def fit(self) -> bool:
        """As in edgeguard/edge."""
        return self.rows.kind == "vcl"

    def conflicts(self) -> tuple[Finding, ...]:
        """As in edgeguard/edge."""
        return self._find(self.rows, self._settings)

    def remarks(self) -> tuple[Finding, ...]:
        """As in edgeguard/edge."""
        return remarks.find(self.rows)

    def health_checks(self, *, closure: float, green_path: str | None, patience: float) -> tuple[Finding, ...]:
        """As in edgeguard/edge."""
        return health_checks.find(self.rows, closure=closure, green_path=green_path, patience=patience)

    def granted(self) -> Granted:
        """As in edgeguard/edge. If this edgeguard can't read the policy, the values are those of the settings."""
        wanted = self._settings
        base, ceiling, dictionary = wanted.base_grace, wanted.ceiling, wanted.dictionary
        try:
            found = policy.literals_in({str(row["name"]): str(row["content"]) for row in self.rows.snippets})
        except ValueError:
            pass
        else:
            base, ceiling = int(found["base_grace"]), int(found["ceiling"])
            dictionary = str(found["dictionary"])
        there = dictionary in {row["name"] for row in self.rows.dictionaries}
        return Granted(base, ceiling, dictionary if there else None)
