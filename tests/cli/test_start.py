"""A command imports what it uses: its verb's file alone, and no library whose work it does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer.core
import typer.main

from edgeguard.cli.app import FAMILIES, app, import_families

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("asyncio", "fastly", "httpx", "pydantic_settings", "tenacity", "urllib3", "yaml")
API = {"fastly", "tenacity", "urllib3"}  # what a question to Fastly's API needs
NOWHERE = "http://127.0.0.1:9"

ENDS: dict[str, tuple[int, set[str]]] = {
    "--version": (0, set()),
    "--help": (0, set()),
    "probe": (2, set()),
    "history": (0, set()),
    "report": (2, set()),
    "plan": (2, set()),
    "edge diff": (5, API),
    "grace show": (5, API),
    "status": (0, API),
}
"""Each command, its exit code where nothing can be reached, and the heavy libraries that it has used until then."""

ASK = """
import json, sys
from edgeguard.cli import main
code = main(sys.argv[1:])
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


def environment_file(folder: Path) -> None:
    """An environment whose servers were never set up, and whose edge and repository are not there."""
    (folder / "here.toml").write_text(
        f"""
        [application]
        repository = "{folder}/no-repository"
        branch = "main"
        [cluster]
        root = "{folder}/servers"
        options = {{gate_port = 9}}
        [edge]
        service = "abc"
        url = "{NOWHERE}"
        health_url = "{NOWHERE}/"
        api_url = "{NOWHERE}"
        """
    )


def ended(folder: Path, command: str) -> tuple[int, set[str]]:
    """Run the command; its exit code, and the modules that its process has at its end."""
    words = command.split()
    if not command.startswith("--"):
        environment_file(folder)
        words += ["here", "--config", str(folder), "--state", str(folder / "state")]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("EDGEGUARD_")}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *words],
        env={**variables, "FASTLY_API_TOKEN": "not-a-token-of-anybody"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize("command", ENDS)
def test_a_command_imports_no_library_that_it_does_not_use(tmp_path: Path, command: str) -> None:
    code, modules = ended(tmp_path, command)

    assert (code, {name for name in HEAVY if name in modules}) == ENDS[command]


def test_a_command_imports_the_file_of_its_own_verb_alone(tmp_path: Path) -> None:
    _, modules = ended(tmp_path, "probe")

    assert {family for family in FAMILIES if f"edgeguard.cli.{family}" in modules} == {"probe"}


def test_every_verb_is_in_the_file_that_has_it_by_the_table() -> None:
    import_families()
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)

    assert sorted(group.commands) == sorted(verb for verbs in FAMILIES.values() for verb in verbs)


@pytest.mark.parametrize("verb", [verb for verbs in FAMILIES.values() for verb in verbs])
def test_a_verb_is_found_when_its_file_alone_is_imported(verb: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "edgeguard", verb, "--help"], capture_output=True, text=True, check=True
    )

    assert told.stdout.startswith(f"Usage: edgeguard {verb}")
