"""A finding: one thing that was looked at, how it stands, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["ok", "note", "warning", "critical"]
"""From "as it should be" to "a visitor would notice a closure". `note` is for the reader's information alone."""


@dataclass(frozen=True)
class Finding:
    """`name` is stable: scripts test it, and where something is refused it names the override.

    `text` says what was found, with its evidence; `remedy` what to do now ("" where there is nothing to do); `url` the
    page that it is about, where it is about one.
    """

    name: str
    severity: Severity
    text: str
    remedy: str
    url: str | None = None

    def about(self, environment: str) -> Finding:
        """The same, with the environment's name in the commands of its remedy, which are written with ENV."""
        return replace(self, remedy=self.remedy.replace("ENV", environment))

    @property
    def bad(self) -> bool:
        """Whether something has to be done about it."""
        return self.severity in ("warning", "critical")
