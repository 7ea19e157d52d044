"""A diagnosis as text for people: the answer, then the findings by severity, with similar ones together."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.doctor import Diagnosis
    from edgeguard.findings import Finding
    from edgeguard.site.pages import Page

HEADINGS = {
    "critical": "a visitor would notice",
    "warning": "should be repaired, too",
    "note": "good to know",
    "ok": "as it should be",
}
SHOWN = 3
"""The number of findings with one name and remedy that are shown; the others are counted."""
UNSEEN = ("api-unknown", "no-pages")
"""Findings after which the answer is not sure."""
_INDENT, _WIDTH = 22, 118


def render(found: Diagnosis, *, quiet: bool = False, verbose: bool = False) -> str:
    """The whole answer. `quiet` leaves out notes and good findings; `verbose` adds a line for each page."""
    verdict = "an anonymous visitor would notice a deploy now"
    if not found.would_notice:
        blind = any(finding.name in UNSEEN for finding in found.findings)
        verdict = f"nobody would notice a deploy now{', as far as could be looked' if blind else ''}"
    lines = [f"{found.environment}: {verdict}"]
    lines.append(f"  a closure is expected to last {duration(found.expected)} ({found.known_from})")
    for severity, heading in HEADINGS.items():
        of_it = [finding for finding in found.findings if finding.severity == severity]
        if of_it and not (quiet and severity in ("note", "ok")):
            lines += ["", f"  {heading}:", *_group(of_it)]
    if verbose:
        lines += ["", "  pages, and their runway (under a deploy's claim):", *map(_page, found.pages)]
    return "\n".join(lines)


def _page(page: Page) -> str:
    if page.runway is None or page.runway_claimed is None:
        runway = "unknown" if page.cached else "none"
    else:
        runway = f"{duration(page.runway)} ({duration(page.runway_claimed)})"
    return f"    {page.why or 'copy':<16}  {runway:<22}  {page.url}"


def _group(findings: Sequence[Finding]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.name, finding.remedy), []).append(finding)
    for (name, remedy), alike in groups.items():
        for number, finding in enumerate(alike[:SHOWN]):
            yield from _wrapped(finding.text, first=name if number == 0 else "")
        if len(alike) > SHOWN:
            yield from _wrapped(f"… and {len(alike) - SHOWN} more like these")
        if remedy:
            yield from _wrapped(f"→ {remedy}")


def _wrapped(text: str, *, first: str = "") -> list[str]:
    before = f"    {first}".ljust(_INDENT)
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=before if len(before) == _INDENT else f"{before} ",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
