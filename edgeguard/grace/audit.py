"""Who changed the grace, when and why: items of their own in the dictionary, beside the slots.

A line's key is `audit-<Unix milliseconds>-<nonce>`, its value a JSON object. The newest LINES are kept: whoever adds
one removes what is older, in the same write.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import Claim, new_nonce
from edgeguard.machine.who import this_holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINES = 200
_AT_ONCE = 500
"""Of old lines removed in one write, whose limit is 1000 operations (Fastly: reference/api/dictionaries)."""
_WORDS = 500
"""Characters of a reason; an item's value holds 8000."""
_KEY = re.compile(r"audit-([0-9]{13})-[a-z0-9]+")
_APART = 5_000
"""Milliseconds by which clocks that follow the edge's may differ: lines that close keep the order of writing."""


def line(
    items: Mapping[str, str], *, at: float, did: str, why: str, slot: str, claim: Claim | None = None
) -> dict[str, str | None]:
    """What to write, beside the slot, for one more line: the line itself, and None for each that is too old.

    `items` are the dictionary's, `at` is Unix time; `did` is the command, `claim` what is in the slot afterwards.
    """
    said: dict[str, object] = {"did": did, "id": slot, "who": this_holder(), "why": why[:_WORDS]}
    if claim is not None:
        said |= {"nonce": claim.nonce, "grace": claim.grace, "until": claim.until}
    there = sorted(key for key in items if _KEY.fullmatch(key))
    newest, time = int(there[-1].split("-")[1]) if there else 0, int(at * 1000)
    time = newest + 1 if time <= newest < time + _APART else time
    old = there[: -LINES + 1][:_AT_ONCE]
    return {**dict.fromkeys(old), f"audit-{time:013d}-{new_nonce()}": json.dumps(said)}


def lines(items: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines, newest first: what `line` wrote, with `at` (Unix time). What can't be read is left out."""
    found = []
    for key in sorted(items, reverse=True):
        if matched := _KEY.fullmatch(key):
            try:
                content = json.loads(items[key])
            except ValueError:
                continue
            if isinstance(content, dict):
                found.append({"at": int(matched[1]) / 1000, **content})
    return found


def of_claim(claim: Claim, audit: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The line that tells of this claim; empty where there is none."""
    return next((said for said in audit if said.get("nonce") == claim.nonce and said.get("id") == claim.slot), {})
