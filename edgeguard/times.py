"""Moments, durations and digests, as people and other programs read them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """A Unix time as people and machines write it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """RFC 3339 as Unix time.

    Raises:
        ValueError: it is none, or has no time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.timestamp()


def duration(seconds: float) -> str:
    """Seconds as people say them: 90 s, 5 min, 4 h, 7 d, exact where they are whole."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f} {unit}"
    if seconds >= 3600:  # noqa: PLR2004
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s"


def short(digest: str | None) -> str:
    """A release's digest as people read it."""
    return digest[:12] if digest else "none"
