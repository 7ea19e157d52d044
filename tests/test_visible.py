"""Characters that a terminal obeys, or that nobody sees, are shown as escapes; all others stay."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from edgeguard.visible import on_one_line, visible

PREPENDED = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
"""Characters of the category Cf that have a shape of their own (Unicode: Prepended_Concatenation_Mark)."""


def test_no_control_no_format_and_no_half_of_a_character_gets_through() -> None:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    letters = [chr(number) for number in range(sys.maxunicode + 1) if number not in PREPENDED]
    through = [letter for letter in letters if unicodedata.category(letter) in kinds and visible(letter) == letter]
    assert through == ["\t", "\n"]
    assert [
        letter for letter in letters if unicodedata.category(letter) in kinds and on_one_line(letter) == letter
    ] == []


def test_letters_and_signs_of_people_stay() -> None:
    text = "naïve Straße, 日本語, עברית, عربى, हिन्दी, ✔ → ░█ \U0001f600 \u00a0 é e\u0301 ⚠\ufe0f \\x1b"
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("a\u200bb\ufeffc\u2028d", r"a\u200bb\ufeffc\u2028d"),
        ("50 %\rdone", r"50 %\rdone"),
        ("file \udcff\ud800", r"file \udcff\ud800"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("two\nlines\t.", "two\nlines\t."),
    ],
)
def test_an_escape_is_shown_instead(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_a_text_in_a_line_can_not_begin_another() -> None:
    assert on_one_line("why\nedgeguard: all is well\t!") == r"why\nedgeguard: all is well\t!"
