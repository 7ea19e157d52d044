"""What a deploy prints, and whoever reads it, never decides how the deploy ends."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from edgeguard.deploy.journal import Journal, read
from tests.deploy.rehearsal import EDGEGUARD, QUICK, come_from, repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal


def shell(rehearsal: Rehearsal, site: Path, redirection: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Deploy the site from a shell that redirects the output so."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FASTLY_", "EDGEGUARD_"))}
    environment |= {"EDGEGUARD_CONFIG": str(rehearsal.config), "EDGEGUARD_STATE": str(rehearsal.state)}
    environment |= {**QUICK, **come_from(site), **variables}
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}", "sh", *EDGEGUARD, "deploy", "rehearsal", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "redirection",
    [">&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "2>&1 | head -1", "| (sleep 3; cat >/dev/null)"],
)
def test_output_that_goes_nowhere_changes_nothing(rehearsal: Rehearsal, tmp_path: Path, redirection: str) -> None:
    ended = shell(rehearsal, repository(tmp_path / "r"), redirection)

    assert ended.returncode == 0, ended.stderr
    last = json.loads(rehearsal.run("history", "rehearsal", "--json").out)["history"][-1]
    assert (last["outcome"], last["exit_code"]) == ("deployed", 0)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_the_output_s_encoding_lacks_are_escaped(
    rehearsal: Rehearsal, tmp_path: Path, encoding: str
) -> None:
    site = repository(tmp_path / "r", deploy="printf 'migrated \\342\\234\\223 \\351\\n'")
    ended = shell(rehearsal, site, "", PYTHONIOENCODING=encoding)

    assert ended.returncode == 0, ended.stderr
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    assert "migrated ✓ \N{REPLACEMENT CHARACTER}" in [event.get("text") for event in said]


def test_a_reader_that_does_not_read_holds_nothing_up(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Its pipe holds 64 KiB; the hook writes much more."""
    site = repository(tmp_path / "r", deploy="seq 1 100000")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    assert deploy.process.wait(timeout=120) == 0
    deploy.end()

    assert {server["open"] for server in rehearsal.status()["servers"]} == {True}


def test_a_journal_takes_names_that_are_no_utf_8(tmp_path: Path) -> None:
    name = b"caf\xe9.md".decode(errors="surrogateescape")
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("output", text=name)

    assert read(tmp_path / "journal.jsonl")[0]["text"] == name
