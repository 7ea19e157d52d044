"""Hostile text from each source, as each reader sees it: nothing that a terminal obeys, and no line that it forged."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.cli.border import harmless
from edgeguard.cluster.record import Lock, Record
from edgeguard.deploy.report.text import history
from edgeguard.grace import audit, show
from edgeguard.monitor.formats import unknown
from edgeguard.monitor.prometheus import no_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

HOSTILE = "x\x1b[2J\x9b1m\u202e\u2028\ud800y"
FORGED = f"{HOSTILE}\nedgeguard: all is well"


def _audit(text: str) -> str:
    items = {
        "audit-1795864926289-abcd": json.dumps({"did": "grace extend", "id": "support1", "who": text, "why": text})
    }
    edge = {"node": "n", "grace": 60, "hold": False}
    lines = [{**line, "at": "now"} for line in audit.lines(items)]
    return show.text(
        {
            "hold": False,
            "base": 60,
            "ceiling": 60,
            "in_force": 60,
            "claims": [],
            "findings": [],
            "edge": edge,
            "audit": lines,
        }
    )


def _lock(text: str) -> str:
    lock = Lock.of({"deploy": "d", "holder": text, "since": text, "counter": 1})
    return f"{lock.holder} {lock.since}"


def _closure(text: str) -> str:
    closure = Record.of({"closure": {"id": "d", "who": text, "why": text, "until": text}}).closure
    assert closure is not None
    return f"{closure.who} {closure.why} {closure.until}"


SOURCES: dict[str, Callable[[str], str]] = {
    "the audit": _audit,
    "the record's lock": _lock,
    "the record's closure": _closure,
    "the record's history": lambda text: history("production", Record.of({"history": [{"who": text}]}).history, ()),
    "an error, for Nagios": lambda text: unknown("nagios", "production", text),
    "a name, for Prometheus": no_verdict,
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_person_reads_it_harmlessly(source: str) -> None:
    shown = harmless(SOURCES[source](FORGED))
    assert {letter for letter in shown if not letter.isprintable()} <= {"\n"}
    assert [line for line in shown.splitlines() if line.startswith("edgeguard: ")] == []


@pytest.mark.parametrize("how", ["text", "nagios", "prometheus", "json"])
def test_a_monitor_reads_the_name_of_an_environment_harmlessly(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "probe", "x\x1b[2J\u202e", "--format", how],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3
    said = (done.stdout + done.stderr).decode()
    assert {letter for letter in said if not letter.isprintable()} <= {"\n"}
