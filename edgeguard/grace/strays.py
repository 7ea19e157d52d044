"""Strays: items of the dictionary that nobody can read. Findings, from the items alone.

Anybody with a token can write to the dictionary. The edge passes over what is no claim; these findings name it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from edgeguard.edge.claim import DEPLOY_SLOTS, SLOTS, flaw
from edgeguard.findings import Finding
from edgeguard.grace import audit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgeguard.environment import EdgeSide

MOST = 10
"""The most findings of one kind. One more tells how many are left out."""
_SHOWN = 60
_BY_HAND = "Delete the item in the service's dictionary"


def find(items: Mapping[str, str], *, now: float, ceiling: int) -> tuple[Finding, ...]:
    """The strays among a dictionary's items. `now` is Unix time of the edge. Remedies call the environment ENV."""
    return (*slots(items, now=now, ceiling=ceiling), *_few(_lines(items)), *_few(_others(items)))


def slots(values: Mapping[str, str], *, now: float, ceiling: int) -> Iterator[Finding]:
    """The findings on the slots alone, as the dictionary has them or as a node shows them."""
    for slot in SLOTS:
        value = values.get(slot, "")
        if wrong := flaw(slot, value, now=now, ceiling=ceiling):
            text = f"the item {slot} {wrong}, and the edge passes over it: {_shown(value)}"
            remedy = f"edgeguard grace release ENV {slot} frees it; so does the next claim in it."
            if slot in DEPLOY_SLOTS:
                remedy = "The next deploy or `edgeguard hook pre ENV` that takes this slot writes over it."
            yield Finding("unreadable-claim", "warning", text, remedy)


def _lines(items: Mapping[str, str]) -> Iterator[Finding]:
    for key, why in audit.unreadable(items).items():
        text = f"the item {key} is no line of the audit: {why}: {_shown(items[key])}"
        remedy = f"{_BY_HAND}, or wait until {audit.LINES} newer lines are there."
        yield Finding("unreadable-audit", "warning", text, remedy)


def _others(items: Mapping[str, str]) -> Iterator[Finding]:
    for key in sorted(items):
        if key not in SLOTS and not audit.is_key(key):
            text = f"the item {_shown(key)} is none of edgeguard's, and nothing reads it: {_shown(items[key])}"
            yield Finding("unknown-item", "note", text, f"{_BY_HAND}, if nobody needs it.")


def _few(found: Iterable[Finding]) -> Iterator[Finding]:
    """The first MOST findings, and one that tells how many more there are."""
    findings = iter(found)
    first = list(islice(findings, MOST))
    yield from first
    if left := sum(1 for _ in findings):
        yield Finding(first[0].name, first[0].severity, f"{left} more items are like these {MOST}", first[0].remedy)


def _shown(text: str) -> str:
    """A text from somebody else, safe to print: quoted, in ASCII, and cut."""
    shown = ascii(text[:_SHOWN])
    return shown if len(text) <= _SHOWN else f"{shown} and more"


def warnings(environment: EdgeSide, items: Mapping[str, str], *, now: float) -> list[str]:
    """The strays that somebody has to do something about, each in one line for people."""
    found = find(items, now=now, ceiling=environment.settings.edge.ceiling)
    return [f"{each.text}. {each.remedy}" for each in about(environment, found) if each.bad]


def about(environment: EdgeSide, found: Iterable[Finding]) -> list[Finding]:
    """Findings with the environment's name in their remedies."""
    return [finding.about(environment.argument) for finding in found]
