"""Findings: the result of one check, with its evidence and a remedy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Severity = Literal["ok", "note", "warning", "critical"]
"""`critical`: a visitor would notice a closure. `note` is information alone, and `ok` needs nothing."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    `name` is stable: scripts test it, and where a finding refuses something, it names the override. `text` says what
    was found, with its evidence. `remedy` says what to do now ("" where there is nothing to do). `url` is the page that
    it is about, if it is about one.
    """

    name: str
    severity: Severity
    text: str
    remedy: str
    url: str | None = None

    def about(self, environment: str) -> Finding:
        """The same finding, with the environment's name in place of ENV in the commands of its remedy."""
        return replace(self, remedy=self.remedy.replace("ENV", environment))

    @property
    def bad(self) -> bool:
        """Whether something has to be done about it."""
        return self.severity in ("warning", "critical")
