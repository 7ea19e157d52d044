"""Progress on a terminal is one line that the next one replaces, however narrow the terminal is just then."""

from __future__ import annotations

import os
import re
import sys
from functools import partial

import pytest

from edgeguard.width import fitted, padded, width, wrapped
from tests.terminal import Terminal

NAMES = "purge 東京のページ news cafe\N{COMBINING ACUTE ACCENT} 👩‍👩‍👧 ✓ " * 4


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("purge", 5), ("東京", 4), ("e\N{COMBINING ACUTE ACCENT}", 1), ("\N{ZERO WIDTH JOINER}", 0), ("👩", 2)],
)
def test_a_text_takes_so_many_columns(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "cut"),
    [
        ("purge", 5, "purge"),
        ("purges", 5, "purg…"),
        ("東京", 3, "東…"),
        ("東京", 2, "…"),
        ("e\N{COMBINING ACUTE ACCENT}e", 2, "e\N{COMBINING ACUTE ACCENT}e"),
        ("e\N{COMBINING ACUTE ACCENT}ee", 2, "e\N{COMBINING ACUTE ACCENT}…"),
        ("purge", 0, ""),
    ],
)
def test_a_text_is_cut_to_so_many_columns(text: str, columns: int, cut: str) -> None:
    assert fitted(text, columns) == cut
    assert width(padded(cut, columns)) == columns


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("  a   b", ["  a   b"]),
        ("to be or not", ["to be", "  or", "  not"]),
        ("a abcdefgh b", ["a", "  abcde", "  fgh b"]),
        ("abcdefghi", ["abcdefg", "  hi"]),
        ("東京の東京", ["東京の", "  東京"]),
    ],
)
def test_a_text_is_wrapped_and_nothing_of_it_is_lost(text: str, lines: list[str]) -> None:
    assert wrapped(text, 2, 7).split("\n") == lines


SHOWS = """
import sys, time
from edgeguard.cli import fleeting
from edgeguard.cli.output import print_text
for count in range(int(sys.argv[1])):
    sys.stdin.readline()
    fleeting.show(sys.argv[2])
print_text("done", err=True)
"""


def shown(columns: list[int], **variables: str) -> list[str]:
    """What is written on a terminal of one width after another, a line of progress at each."""
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **variables}
    terminal = Terminal(sys.executable, "-c", SHOWS, str(len(columns)), NAMES, environment=environment)
    for count, wide in enumerate(columns, 1):
        terminal.resize(wide)
        terminal.type("\n")
        if count < len(columns):
            terminal.until(partial(_has, terminal, count))
    assert terminal.end()[0] == 0
    assert terminal.screen.endswith("\x1b[Jdone\n")
    return _lines(terminal.screen)


def _has(terminal: Terminal, count: int) -> bool:
    return len(_lines(terminal.screen)) == count


def _lines(screen: str) -> list[str]:
    return re.findall(r"\x1b\[J\r([^\r\n]+)\r", screen)


def test_progress_fits_the_terminal_as_it_is_just_then() -> None:
    """It takes all columns but the last, in which some terminals go on in the next line at once; a wide character may
    leave one more."""
    columns = [80, 40, 20, 400]
    lines = shown(columns)

    assert [wide - width(line) in (1, 2) for line, wide in zip(lines, columns, strict=True)] == [
        True,
        True,
        True,
        False,
    ]
    assert lines[-1] == NAMES.replace("\N{ZERO WIDTH JOINER}", r"\u200d")


def test_characters_that_are_shown_as_escapes_count_as_such() -> None:
    [line] = shown([40], PYTHONIOENCODING="ascii:backslashreplace")
    assert line.isascii()
    assert len(line) < 40


def test_a_terminal_that_can_erase_nothing_is_told_no_progress() -> None:
    terminal = Terminal(sys.executable, "-c", SHOWS, "1", NAMES, environment={**os.environ, "TERM": "dumb"})
    terminal.type("\n")
    assert terminal.end()[0] == 0
    assert "\x1b" not in terminal.screen
