"""Strays: items of the dictionary that nobody can read, and claims that nobody believes to be there, or gone. Findings,
from the items alone.

Anybody with a token can write to the dictionary. The edge passes over what is no claim; these findings name it. A write
whose answer did not come may take effect minutes later, when its command has given it up. Each writer leaves a line in
the audit, in the same write, so a slot that is not as its last line says was written late.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DAY, DEPLOY_SLOTS, SLOTS, flaw, live, parse_all
from edgeguard.findings import Finding
from edgeguard.grace import audit
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edgeguard.edge.claim import Claim
    from edgeguard.environment import EdgeSide

MOST = 10
"""The most findings of one kind. One more tells how many are left out."""
_SHOWN = 120
_BY_HAND = "Delete the item in the service's dictionary"


def find(items: Mapping[str, str], *, now: float, ceiling: int) -> tuple[Finding, ...]:
    """The strays among a dictionary's items. `now` is Unix time of the edge. Remedies call the environment ENV."""
    late = _late(items, now=now, ceiling=ceiling)
    return (*slots(items, now=now, ceiling=ceiling), *late, *_few(_lines(items)), *_few(_others(items)))


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


def _late(items: Mapping[str, str], *, now: float, ceiling: int) -> Iterator[Finding]:
    """The slots that are not as the last line of the audit about them says. A slot without a line has no finding."""
    alive = {claim.slot: claim for claim in live(parse_all(items), now=now, ceiling=ceiling)}
    last: dict[str, Mapping[str, Any]] = {}
    for each in audit.lines(items):  # the newest first
        last.setdefault(str(each.get("id")), each)
    for slot in SLOTS:
        if (line := last.get(slot)) is None:
            continue
        claim = alive.get(slot)
        said = f"the audit's last line about it is {_shown(_words(line))}"
        if claim is not None and line.get("nonce") != claim.nonce:
            text = f"{slot} is in force until {rfc3339(claim.until)}, but {said}: its write landed late"
            yield Finding("claim-late", "warning", text, _given_back(claim))
        elif (
            claim is None
            and _lasts(line, now, ceiling)
            and not flaw(slot, items.get(slot, ""), now=now, ceiling=ceiling)
        ):
            text = (
                f"{slot} has no claim in force, but {said}, until {rfc3339(line['until'])}: an older write landed late"
            )
            remedy = "If it is still needed, claim again: edgeguard grace extend ENV, or edgeguard hook pre ENV."
            yield Finding("claim-lost", "warning", text, remedy)


def _words(line: Mapping[str, Any]) -> str:
    return f"{line.get('did', 'an unknown command')} by {line.get('who', 'somebody')}, {rfc3339(line['at'])}"


def _lasts(line: Mapping[str, Any], now: float, ceiling: int) -> bool:
    """Whether a line's claim should be in force. A guarded deploy's line is older than its renewals and its end."""
    known = "nonce" in line and line.get("did") != "deploy"
    return known and now < int(line.get("until", 0)) < now + ceiling + DAY


def _given_back(claim: Claim) -> str:
    if claim.slot not in DEPLOY_SLOTS:
        return f"edgeguard grace release ENV {claim.slot} gives it back, if nobody needs it."
    if claim.of_pipeline:
        return f"edgeguard hook post ENV {claim.slot} gives it back, if no deploy is under way."
    return "It ends by itself; the next deploy gives it back."


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
