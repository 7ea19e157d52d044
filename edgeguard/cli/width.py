"""How wide text is on a terminal, and text that is cut to a width."""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """The columns that a text takes at most."""
    return sum(map(_columns, text))


def fitted(text: str, columns: int, mark: str = "…") -> str:
    """The text, cut where it is wider than so many columns. The mark shows the cut."""
    if width(text) <= columns:
        return text
    left = columns - width(mark)
    kept = ""
    for character in text:
        left -= _columns(character)
        if left < 0:
            break
        kept += character
    return f"{kept}{mark}" if columns > 0 else ""


def padded(text: str, columns: int) -> str:
    """The text, with spaces behind it up to this width."""
    return text + " " * (columns - width(text))


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf") and character != "\N{VARIATION SELECTOR-16}":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
