"""The audit: lines that say who changed the grace, when and why. They are items of the dictionary, beside the slots.

A line's key is `audit-<Unix milliseconds>-<nonce>`, and its value is a JSON object. The newest LINES lines are kept:
the write that adds a line also removes older ones. Anybody with a token can write there: a line that has another form
than ours is passed over, and hides no other.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import strict_json
from edgeguard.edge.claim import Claim, new_nonce
from edgeguard.machine.who import this_holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINES = 200
_AT_ONCE = 500
"""The most old lines that one write removes. A write may have 1000 operations (Fastly: reference/api/dictionaries)."""
_WORDS = 500
"""Characters of a reason that are kept. An item's value holds 8000."""
_LONGEST = 8000
"""Characters of a value (Fastly: reference/api/dictionaries)."""
_TEXTS, _NUMBERS = ("did", "id", "who", "why", "nonce"), ("grace", "until")
_MOST = 10**10
_KEY = re.compile(r"audit-([0-9]{13})-[a-z0-9]+")
_APART = 5_000
"""Milliseconds by which clocks that follow the edge's may differ. Lines so close together keep the order of writing."""
_AHEAD = 2_000
"""Milliseconds that a line is put ahead of one that may land after it: two readings of the edge's clock differ by less,
and the lines that follow it still come after it (less than _APART)."""


class _Unreadable(Exception):
    """A value is no line of ours. The text is the reason."""


def line(
    items: Mapping[str, str],
    *,
    at: float,
    did: str,
    why: str,
    slot: str,
    claim: Claim | None = None,
    who: str = "",
    takes_back: bool = False,
) -> dict[str, str | None]:
    """The items to write for one more line: the line itself, and None for each old line that is removed.

    `items` are the dictionary's, `at` is Unix time, `did` is the command, and `claim` is in the slot afterwards.
    `who` is this process by default. A line that `takes_back` is newer than that of our write before it, which may be
    under way and is not among `items` then.
    """
    said: dict[str, object] = {"did": did, "id": slot, "who": who[:_WORDS] or this_holder(), "why": why[:_WORDS]}
    if claim is not None:
        said |= {"nonce": claim.nonce, "grace": claim.grace, "until": claim.until}
    there = sorted(key for key in items if _KEY.fullmatch(key))
    newest, time = int(there[-1].split("-")[1]) if there else 0, int(at * 1000) + (_AHEAD if takes_back else 0)
    time = newest + 1 if time <= newest < time + _APART else time
    old = there[: -LINES + 1][:_AT_ONCE]
    return {**dict.fromkeys(old), f"audit-{time:013d}-{new_nonce()}": json.dumps(said)}


def lines(items: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines as `line` wrote them, the newest first, with `at` (Unix time). Unreadable lines are left out."""
    return [said for said in _read(items).values() if isinstance(said, dict)]


def unreadable(items: Mapping[str, str]) -> dict[str, str]:
    """The keys of lines that nobody can read, the newest first, each with the reason."""
    return {key: said for key, said in _read(items).items() if isinstance(said, str)}


def is_key(key: str) -> bool:
    """Whether an item of this name is a line of the audit."""
    return _KEY.fullmatch(key) is not None


def _read(items: Mapping[str, str]) -> dict[str, dict[str, Any] | str]:
    """Every line by its key, the newest first; in place of an unreadable line, the reason."""
    found: dict[str, dict[str, Any] | str] = {}
    for key in sorted(items, reverse=True):
        if matched := _KEY.fullmatch(key):
            try:
                found[key] = {"at": int(matched[1]) / 1000, **_line(items[key])}
            except _Unreadable as exc:
                found[key] = str(exc)
    return found


def _line(value: str) -> dict[str, Any]:
    """The known parts of a line. Raises _Unreadable with the reason if the value is not of the form of `line`."""
    if len(value) > _LONGEST:
        raise _Unreadable("it is longer than a line can be")
    try:
        content = strict_json.read_object(value)
    except strict_json.Fault as exc:
        raise _Unreadable(str(exc)) from exc
    said: dict[str, Any] = {}
    for name in _TEXTS:
        if name in content:
            if not isinstance(content[name], str):
                raise _Unreadable(f"its {name} is no text")
            said[name] = content[name][:_WORDS].encode("utf-8", "replace").decode()  # half a character can't be printed
    for name in _NUMBERS:
        if name in content:
            if type(content[name]) is not int or not 0 <= content[name] < _MOST:
                raise _Unreadable(f"its {name} is no number of seconds")
            said[name] = content[name]
    return said


def of_claim(claim: Claim, audit: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The line about this claim; empty if there is none."""
    return next((said for said in audit if said.get("nonce") == claim.nonce and said.get("id") == claim.slot), {})
