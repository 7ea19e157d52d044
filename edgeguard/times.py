"""Times, durations and digests in the forms that people and other programs read."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

_UNITS = ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s"))

_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first and the last second of the years 1 to 9999."""


def rfc3339(at: float) -> str:
    """A Unix time in the form of RFC 3339, in UTC with milliseconds. A time beyond a calendar's years is its end."""
    return (
        datetime.fromtimestamp(min(max(_FIRST, at), _LAST), UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def unix(text: str) -> float:
    """The Unix time of a text in the form of RFC 3339.

    Raises:
        ValueError: the text is not such a time, or has no time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()


def duration(seconds: float) -> str:
    """Seconds for people, in two units at most: 0.5 s, 90 s, 5 min, 1 h 30 min, 7 days."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 (a tenth of a second matters, and a hundredth below one)
        return f"{seconds:.2g} s"
    if whole < 120 and whole % 60:  # noqa: PLR2004 (two minutes: nobody says 1 min 30 s)
        return f"{whole} s"
    for (size, unit), (smaller, part) in pairwise(_UNITS):
        parts = round(whole / smaller)
        if parts * smaller >= size:
            many, rest = divmod(parts, size // smaller)
            more = f" {rest} {part}" if rest else ""
            return f"{many} {unit if many != 1 or unit != 'days' else 'day'}{more}"
    raise AssertionError("ten seconds have minutes, or are told above")


def apart(one: float, other: float) -> tuple[str, str]:
    """Two durations for people, who can see that they differ if they do."""
    said = duration(one), duration(other)
    return said if said[0] != said[1] or one == other else (f"{one:g} s", f"{other:g} s")


def option(seconds: int) -> str:
    """Seconds as an option or a setting takes them, exactly: 7d, 4h, 90m, 5401s."""
    for size, letter in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def measured(seconds: float) -> str:
    """A time that was measured, for people: in milliseconds up to two minutes."""
    return f"{seconds:.3f} s" if seconds < 120 else duration(seconds)  # noqa: PLR2004 (as in `duration`)


def short(digest: str | None, *others: str | None) -> str:
    """A release's digest, shortened for people as far as it still differs from the others; "none" for None."""
    if not digest:
        return "none"
    shown = 12
    different = [other for other in others if other and other != digest]
    while shown < len(digest) and any(other[:shown] == digest[:shown] for other in different):
        shown += 1
    return digest[:shown]
