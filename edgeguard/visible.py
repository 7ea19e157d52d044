"""The characters in texts of others that a terminal obeys, or that no reader sees, shown as escapes.

All text for people passes `visible` where it leaves the program (docs/decisions/hostile-text.md says why there).
"""

from __future__ import annotations

import re

_UNSEEN = (
    ("\x00-\x08", "\x0b-\x1f", "\x7f-\x9f"),  # C0 but tab and newline, DEL, C1
    ("\u200e", "\u200f", "\u061c", "\u202a-\u202e", "\u2066-\u2069"),  # they turn the direction of writing
    ("\u2028", "\u2029"),  # they end a line
    ("\xad", "\u200b-\u200d", "\u2060-\u2065", "\u206a-\u206f", "\ufeff", "\ufff0-\ufffb"),  # of no width
    ("\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b-\u180f", "\u3164", "\uffa0"),  # fillers and joiners
    ("\U00013430-\U0001343f", "\U0001bca0-\U0001bca3", "\U0001d173-\U0001d17a"),  # controls of scripts and of music
    ("\U000e0000-\U000e0fff",),  # tags and selectors, in which whole texts can hide
    ("\ud800-\udfff",),  # halves of characters, which no stream can write
)
_LETTERS = "".join(letters for kind in _UNSEEN for letters in kind)
_IN_TEXT = re.compile(f"[{_LETTERS}]")
_IN_A_LINE = re.compile(f"[\t\n{_LETTERS}]")
_ONE_BYTE, _TWO = 0xFF, 0xFFFF
_NAMES = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def visible(text: str) -> str:
    r"""The text with each such character as an escape: \x1b, \u202e. Newlines and tabs stay."""
    return _IN_TEXT.sub(_escape, text)


def on_one_line(text: str) -> str:
    """A text of others as a part of one line: `visible`, with newlines and tabs as escapes."""
    return _IN_A_LINE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    letter = found[0]
    number = ord(letter)
    if letter in _NAMES:
        return _NAMES[letter]
    return f"\\x{number:02x}" if number <= _ONE_BYTE else f"\\u{number:04x}" if number <= _TWO else f"\\U{number:08x}"
