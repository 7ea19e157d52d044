"""Deploys and other commands that are refused for their input: nothing changes on the servers or at the edge."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.deploy.rehearsal import Rehearsal, repository, said, untouched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_an_unknown_environment(rehearsal: Rehearsal) -> None:
    for command in ("deploy", "plan", "status", "report"):
        said(rehearsal.run(command, "nowhere"), 2, "nowhere", "rehearsal")


def test_an_unknown_key_is_named_with_its_path(rehearsal: Rehearsal, tmp_path: Path) -> None:
    text = (rehearsal.config / "rehearsal.toml").read_text().replace("start_timeout", "strat_timeout")
    (tmp_path / "rehearsal.toml").write_text(text)
    said(rehearsal.deploy("--config", str(tmp_path)), 2, "rehearsal.toml", "cluster.strat_timeout: unknown key")


def test_a_wrong_token(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.deploy(FASTLY_API_TOKEN="of-somebody-else"))
    said(ended, 5, "FASTLY_API_TOKEN")
    assert "of-somebody-else" not in ended.out + ended.err
    assert ended.report["outcome"] == "refused"
    said(rehearsal.run("grace", "show", "rehearsal", FASTLY_API_TOKEN="of-somebody-else"), 5, "FASTLY_API_TOKEN")


def test_a_missing_token(rehearsal: Rehearsal, tmp_path: Path) -> None:
    text = re.sub(r'"token_file" = .*\n', "", (rehearsal.config / "rehearsal.toml").read_text())
    (tmp_path / "rehearsal.toml").write_text(text)
    said(rehearsal.deploy("--config", str(tmp_path)), 2, "FASTLY_API_TOKEN")


def test_a_service_that_does_not_exist(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_EDGE__SERVICE="NoSuchService"))
    said(ended, 5, "NoSuchService")


def test_a_user_as_whom_the_application_can_t_run(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_CLUSTER__USER="no-such-user"))
    said(ended, 4, "there is no user no-such-user here", "useradd")
    said(rehearsal.deploy(EDGEGUARD_CLUSTER__USER="0"), 2, "cluster.user")
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_CLUSTER__USER="nobody"))
    if os.geteuid():
        said(ended, 4, "can't start the application as nobody")
    else:  # the rehearsal's folder is private
        said(ended, 6, "nobody can't enter", "chmod o+x")


def test_an_unknown_acceptance_is_refused_and_the_known_ones_named(rehearsal: Rehearsal) -> None:
    said(rehearsal.deploy("--accept", "everything"), 2, "everything", "mixed-releases")


def test_pages_that_would_not_last_stop_a_deploy_each_by_its_name(rehearsal: Rehearsal) -> None:
    pages = {"EDGEGUARD_VISITORS__ANONYMOUS": '["/", "/health", "/nothing"]'}
    ended = untouched(rehearsal, lambda: rehearsal.deploy(**pages))
    said(ended, 4, "/health", "Cache-Control: private", "--accept private", "/nothing answers 404", "--accept not-kept")
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_CLUSTER__PLANNED_CLOSURE="1h"))
    said(ended, 4, "a closure takes 1 h", "the claim's grace is too short", "--accept short-runway")
    accepted = ("--accept", "private", "--accept", "not-kept")
    said(rehearsal.deploy(*accepted, **pages, EDGEGUARD_EDGE__CONFIRM_TIMEOUT="0"), 9, "not confirmed")


@pytest.mark.parametrize(
    "arguments",
    [
        *(("deploy",), ("deploy", "rehearsal", "--faster"), ("deplyo", "rehearsal"), ("report", "rehearsal", "x")),
        *((verb, "rehearsal", "--purge-key", "two words") for verb in ("deploy", "plan")),
    ],
)
def test_a_wrong_command_line_is_refused(rehearsal: Rehearsal, arguments: tuple[str, ...]) -> None:
    ended = rehearsal.run(*arguments)
    assert ended.code == 2
    assert ended.err
    assert "Traceback" not in ended.err


def test_a_ref_that_does_not_exist(rehearsal: Rehearsal) -> None:
    said(untouched(rehearsal, lambda: rehearsal.deploy("--ref", "v9.9.9")), 2, "v9.9.9", "branches")


def test_a_repository_that_does_not_exist(rehearsal: Rehearsal, tmp_path: Path) -> None:
    said(rehearsal.deploy_of(tmp_path / "none"), 2, str(tmp_path / "none"))


def test_a_repository_without_an_application_file(rehearsal: Rehearsal, tmp_path: Path) -> None:
    said(rehearsal.deploy_of(repository(tmp_path / "r", application="")), 2, ".platform.app.yaml")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("name: [", "YAML"),
        ("name: site\n", "type"),
        ("name: site\ntype: python\nweb: {commands: {start: [a]}}\n", "web.commands.start"),
    ],
)
def test_a_broken_application_file(rehearsal: Rehearsal, tmp_path: Path, content: str, part: str) -> None:
    said(rehearsal.deploy_of(repository(tmp_path / "r", application=content)), 2, part)


def test_a_state_folder_that_cannot_be_written(rehearsal: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "rehearsal").write_text("no folder")
    ended = untouched(rehearsal, lambda: rehearsal.deploy("--state", str(tmp_path)))
    said(ended, 2, "journal", "--state")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text[: len(text) // 2], "torn"),
        (lambda text: json.dumps({**json.loads(text), "version": 99}), "version 99"),
        (lambda text: json.dumps({**json.loads(text), "environment": "staging"}), "'staging'"),
        (lambda text: json.dumps({**json.loads(text), "lock": "mine"}), "damaged: lock is not an object"),
        (lambda text: json.dumps({**json.loads(text), "epoch": math.nan}), "NaN"),
        (lambda _: '{"deploy": ' + "[" * 100_000, "torn"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_on_one_server(
    rehearsal: Rehearsal, change: Callable[[str], str], part: str
) -> None:
    """Nothing is written to any server, not even to that one."""
    root = rehearsal.root
    paths = [root / "servers" / server / "record.json" for server in ("web1", "web2", "web3")]
    whole = paths[1].read_text()
    paths[1].write_text(change(whole))
    before = [path.read_text() for path in paths]
    try:
        ended = rehearsal.deploy()
        after = [path.read_text() for path in paths]
    finally:
        paths[1].write_text(whole)
    said(ended, 6, "web2", part)
    assert ended.report["outcome"] == "refused"
    assert before == after


def test_report_refuses_a_journal_of_a_newer_edgeguard(rehearsal: Rehearsal, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal" / "20990101-000000-aaaa"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text('{"event":"deploy","at":1,"version":2,"deploy":"d"}\n')
    ended = rehearsal.run("report", "rehearsal", "--state", str(tmp_path))
    shutil.rmtree(folder)  # every journal that is left must be a true one
    said(ended, 2, "version 2", "newer", "edgeguard history")
