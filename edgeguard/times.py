"""Times, durations and digests in the forms that people and other programs read."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """A Unix time in the form of RFC 3339, in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    """Seconds for people: 90 s, 5 min, 4 h, 7 d. Where no unit fits exactly: hours with a decimal, or seconds."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:.0f} {unit}"
    if seconds >= 3600:  # noqa: PLR2004
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s"


def short(digest: str | None) -> str:
    """A release's digest, shortened for people; "none" for None."""
    return digest[:12] if digest else "none"
