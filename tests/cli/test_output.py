"""How commands speak: to a reader that goes away, and of options that would do nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeguard import __version__
from edgeguard.cli.say.cluster import prepared

SPEAKS = """
import sys
from edgeguard.cli.output import hearing
hear = hearing(as_json={as_json}, quiet=False, verbose=True)
sys.stdin.read()
for _ in range(3):
    hear({{"event": "warning", "at": 0.0, "text": "said"}})
sys.exit(7)
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_reader_that_goes_away_does_not_end_who_speaks(*, as_json: bool) -> None:
    script = SPEAKS.format(as_json=as_json)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        process.stdin.close()
        assert process.wait(timeout=20) == 7


TWICE = """
import os, signal
from edgeguard.machine.signals import Stop
stop = Stop()
with stop.listening():
    os.close(2)
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    print(stop.asked())
"""


def test_a_terminal_that_goes_away_and_says_so_twice_breaks_nothing() -> None:
    told = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "True\n")


@pytest.mark.parametrize(
    "arguments", [("--ref", "x"), ("--stay", "--fail", "swap"), ("--stay", "--unguarded", "claim")]
)
def test_options_of_a_rehearsal_that_would_do_nothing_are_refused(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "rehearse", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert arguments[-2] in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["deploy", "--version"], ["grace", "show", "--version"]])
def test_the_version_is_told_wherever_it_is_asked_for(arguments: list[str]) -> None:
    told = subprocess.run([sys.executable, "-m", "edgeguard", *arguments], capture_output=True, check=True, text=True)
    assert told.stdout == f"edgeguard {__version__}\n"


def test_what_was_prepared_is_told_once_for_all_servers_of_which_it_is_true() -> None:
    done = {
        "web1": ["write /srv/site/servers/web1/prepared.json", "start the gate"],
        "web2": ["write /srv/site/servers/web2/prepared.json"],
    }
    assert prepared("production", done, dry_run=True).splitlines() == [
        "production: `cluster prepare` would",
        "  web1, web2: write /srv/site/servers/*/prepared.json",
        "  web1: start the gate",
    ]
    assert "nothing was left to do" in prepared("production", {"web1": [], "web2": []}, dry_run=False)
