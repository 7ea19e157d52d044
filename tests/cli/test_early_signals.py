"""A signal that comes before a command has begun ends it at once, with an exit code that is true."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED, HELD, UNKNOWN = 130, 11, 3
EARLY = """
import os, signal, sys
class Early:
    def find_spec(self, name, *_):
        if name == "edgeguard.cli":
            os.kill(os.getpid(), signal.SIG{number})
sys.meta_path.insert(0, Early())
from edgeguard.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("number", "arguments", "code"),
    [
        ("INT", ("deploy", "production"), INTERRUPTED),
        ("HUP", ("status", "production"), INTERRUPTED),
        ("TERM", ("rollback", "production"), HELD),  # they are called where a cluster is closed
        ("HUP", ("resume", "production"), HELD),
        ("INT", ("cluster", "open", "production"), HELD),
        ("TERM", ("deploy", "production", "--supersede", "20261123-113749-d23b"), HELD),
        ("TERM", ("probe", "production"), UNKNOWN),
    ],
)
def test_a_signal_while_a_command_is_imported_leaves_no_traceback(
    number: str, arguments: tuple[str, ...], code: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EARLY.format(number=number), *arguments], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(f"edgeguard: interrupted by SIG{number}")
    assert ended.stderr.count("\n") == 1
