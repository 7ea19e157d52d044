"""Findings: the result of one check, with its evidence and a remedy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["ok", "note", "warning", "critical"]
"""`critical`: a visitor would notice a closure. `note` is information alone, and `ok` needs nothing."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    `name` is stable: scripts test it, and where a finding refuses something, it names the override. `text` says what
    was found, with its evidence. `remedy` says what to do now ("" where there is nothing to do). `url` is the page that
    it is about, if it is about one, and `more` are other pages with the same trouble.
    """

    name: str
    severity: Severity
    text: str
    remedy: str
    url: str | None = None
    more: tuple[str, ...] = ()

    def about(self, environment: str) -> Finding:
        """The same finding, with the environment's name in place of ENV in the commands of its remedy."""
        return replace(self, remedy=self.remedy.replace("ENV", environment))

    @property
    def bad(self) -> bool:
        """Whether something has to be done about it."""
        return self.severity in ("warning", "critical")


_NAMED = 2
"""Pages that a text names beside the first."""


def together(findings: Iterable[Finding]) -> list[Finding]:
    """The findings, with those about pages that have one name, severity and remedy made one, in place of the first."""
    groups: dict[object, list[Finding]] = {}
    for number, finding in enumerate(findings):
        trouble = (finding.name, finding.severity, finding.remedy)
        groups.setdefault(number if finding.url is None else trouble, []).append(finding)
    return [_one(alike[0], tuple(dict.fromkeys(str(other.url) for other in alike[1:]))) for alike in groups.values()]


def _one(first: Finding, more: tuple[str, ...]) -> Finding:
    more = tuple(url for url in more if url != first.url)
    if not more:
        return first
    pages = f"{len(more)} more page{'s' if len(more) > 1 else ''}"
    named = ", ".join([*more[:_NAMED], *("…" for _ in more[_NAMED : _NAMED + 1])])
    return replace(first, text=f"{first.text} (and {pages}: {named})", more=more)
