"""The border of output: whatever a text has in it, a terminal shows it, and obeys none of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HOSTILE = "a\x1b[2Jb\x9bc\u202ed\u2028e\udcfff\ud800g\x00h\u200bi\rj"
SHOWN = r"a\x1b[2Jb\x9bc\u202ed\u2028e\udcfff\ud800g\x00h\u200bi\rj"

WAYS = {
    "print_text": "output.print_text(text)",
    "print_text on stderr": "output.print_text(text, err=True)",
    "print_text with secrets": "output.print_text(text, secrets=True)",
    "teller": "output.teller(quiet=False)(text)",
    "warning": "hear({'event': 'warning', 'at': 0.0, 'text': text})",
    "a hook's line": "hear({'event': 'output', 'at': 0.0, 'text': text})",
    "done": "hear({'event': 'done', 'step': 'hook', 'at': 0.0, 'server': text})",
    "failed": "hear({'event': 'failed', 'step': 'hook', 'at': 0.0, 'error': text})",
    "found": "hear({'event': 'found', 'at': 0.0, 'phase': 'hook', 'servers': [text], 'will': 'go on'})",
    "an error": "from edgeguard.cli import _say; _say(text)",
    "probe": "from edgeguard.cli.probe import _write; _write(text)",
    "a signal": "from edgeguard.machine import signals; signals._write(text)",
    "a line that the next one replaces": "with Voice().fleeting() as show: show(text)",
}
PROGRAM = """
import os, pty, sys
{terminal}
from edgeguard.cli import output
from edgeguard.cli.options import Voice
text = {text!r}
hear = output.hearing(as_json=False, quiet=False, verbose=True)
{way}
output.print_text("afterwards")
"""
ON_A_TERMINAL = "main, side = pty.openpty(); os.dup2(side, 2)"
READ_IT = "sys.stderr.flush(); print(os.read(main, 10_000).decode().replace(chr(13), '').replace(chr(27) + '[J', ''))"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_a_terminal_would_obey_is_shown(way: str, encoding: str) -> None:
    on_terminal = "next one" in way
    program = PROGRAM.format(terminal=ON_A_TERMINAL if on_terminal else "", text=HOSTILE, way=WAYS[way])
    done = subprocess.run(
        [sys.executable, "-c", program + (READ_IT if on_terminal else "")],
        capture_output=True,
        check=True,
        env={"PYTHONIOENCODING": encoding, "PATH": "/usr/bin:/bin"},
    )
    said = (done.stdout + done.stderr).decode()
    assert SHOWN in said
    assert "afterwards" in said
    assert {letter for letter in said if not letter.isprintable()} <= {"\n"}


def test_json_is_ascii_and_read_back_as_it_was() -> None:
    program = f"from edgeguard.cli.output import print_json; print_json({{'why': {HOSTILE!r}}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.isascii()
    assert {byte for byte in done.stdout if byte < 0x20} == {0x0A}
    assert json.loads(done.stdout) == {"why": HOSTILE}


@pytest.mark.parametrize("arguments", [["\x1b[2J"], ["status", "a", "\x1b[2J"], ["grace", "show", "--\x1b"]])
def test_an_argument_that_is_refused_is_quoted_harmlessly(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "edgeguard", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert r"\x1b" in done.stderr
    assert "\x1b" not in done.stderr
