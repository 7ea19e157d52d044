"""What a command says of bad usage, and what it keeps to itself."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "edgeguard", *arguments]
    return subprocess.run(
        argv, env={"FASTLY_API_TOKEN": TOKEN}, capture_output=True, check=False, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("wrong", "proposed"),
    [("--faster", ""), ("--yes", ""), ("--frce", ""), ("--stat", "--state"), ("--acept", "--accept"), ("-n", "")],
)
def test_an_option_that_does_not_exist_proposes_what_looks_like_it(wrong: str, proposed: str) -> None:
    done = run("deploy", "site", wrong)
    last = done.stderr.strip().splitlines()[-1]

    assert done.returncode == 2
    assert last.partition("No such option: ")[2].partition(" ")[0] == wrong
    assert [word.strip("(),.?") for word in last.split() if word.startswith("--") and word != wrong] == [
        *filter(None, [proposed])
    ]


@pytest.fixture
def folder(standin_edge: StandinEdge, tmp_path: Path) -> Path:
    standin_edge.install(standin_edge.policy())
    settings = standin_edge.settings
    (tmp_path / "site.toml").write_text(
        f"""
        [edge]
        service = "{settings.service}"
        url = "{settings.url}"
        health_url = "{settings.health_url}"
        api_url = "{settings.api_url}"
        base_grace = {settings.base_grace}
        ceiling = {settings.ceiling}
        propagation = 0.05
        confirm_timeout = 10
        """,
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize(
    "act",
    [
        ("grace", "extend", "site", "--for", "1m", "--reason", "a test"),
        ("grace", "release", "site", "support1"),
        ("purge", "site", "--key", "news", "--accept", "origins-sick"),
        ("edge", "install", "site"),
        ("edge", "remove", "site", "--accept", "claims-in-force"),
    ],
)
def test_an_act_that_is_done_says_nothing_if_it_has_to_be_quiet(folder: Path, act: tuple[str, ...]) -> None:
    done = run(*act, "--config", str(folder), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_was_asked_for_is_said_all_the_same(folder: Path) -> None:
    assert "in force" in run("grace", "show", "site", "--config", str(folder), "--quiet").stdout
