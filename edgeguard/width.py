"""How wide text is on a terminal, and text that is cut or wrapped to a width."""

from __future__ import annotations

import unicodedata

PAGE = 80
"""The columns of text for people: those that a terminal has at least, as a rule."""


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


def wrapped(text: str, indent: int, columns: int = PAGE) -> str:
    """The text in lines of at most so many columns, of which all but the first are indented. It breaks at spaces; a
    word that is wider than a line is continued on the next one."""
    lines, line = [], ""
    for number, word in enumerate(text.split(" ")):
        longer = f"{line} {word}" if number else word
        if number and width(longer) > columns:
            lines.append(line.rstrip())
            longer = " " * indent + word
        while width(longer) > columns:
            lines.append(fitted(longer, columns, ""))
            longer = " " * indent + longer[len(lines[-1]) :]
        line = longer
    return "\n".join([*lines, line])


def padded(text: str, columns: int) -> str:
    """The text, with spaces behind it up to this width."""
    return text + " " * (columns - width(text))


def _columns(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf") and character != "\N{VARIATION SELECTOR-16}":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
