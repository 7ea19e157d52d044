"""Whole rehearsals, as users run them: without the guard, with a planted failure, and with other applications."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.staying_rehearsal import PATIENCE
from tests.story.rehearsal import Ended, edgeguard, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLICATIONS = Path(__file__).parents[1] / "applications"
AT_ONCE = 2  # a rehearsal mostly waits


@dataclass(frozen=True)
class EndedRehearsal:
    ended: Ended
    left: set[int]  # processes
    traces: list[Path]

    @property
    def report(self) -> dict[str, Any]:
        return self.ended.last

    @property
    def anonymous(self) -> dict[str, Any]:
        found: dict[str, Any] = self.report["visitors"]["anonymous"]
        return found


class Rehearsals:
    """Runs the rehearsals for this module's tests. It runs a few at a time, since a rehearsal mostly waits."""

    def __init__(self, folder: Path, wanted: list[tuple[str, ...]]) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._folder = folder
        self._begun: dict[tuple[str, ...], Future[EndedRehearsal]] = {}
        for arguments in wanted:
            self.begin(*arguments)

    def begin(self, *arguments: str) -> None:
        if arguments not in self._begun:
            self._begun[arguments] = self._pool.submit(self._run, self._folder / str(len(self._begun)), arguments)

    def result(self, *arguments: str) -> EndedRehearsal:
        self.begin(*arguments)
        return self._begun[arguments].result()

    def end(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _run(self, folder: Path, arguments: tuple[str, ...]) -> EndedRehearsal:
        folder.mkdir()
        ended = edgeguard("rehearse", "--json", *arguments, folder=folder)
        return EndedRehearsal(ended, processes(folder) if sys.platform == "linux" else set(), list(folder.iterdir()))


@pytest.fixture(scope="module")
def rehearsals(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rehearsals]:
    selected = [
        str(item.callspec.params["arguments"]).split()
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and "arguments" in item.fixturenames
    ]
    found = Rehearsals(tmp_path_factory.mktemp("rehearsals"), [tuple(arguments) for arguments in selected])
    yield found
    found.end()


@pytest.fixture
def rehearsal(rehearsals: Rehearsals, arguments: str) -> EndedRehearsal:
    """A rehearsal that has ended. It left nothing behind, with any outcome."""
    found = rehearsals.result(*arguments.split())
    assert found.report["event"] == "report", found.ended.said
    assert found.report["exit_code"] == found.ended.code
    assert found.left == set()
    assert found.traces == []
    return found


@pytest.mark.parametrize("arguments", ["--unguarded edge --hook-seconds 2", "--unguarded claim --hook-seconds 4"])
def test_without_the_guard_visitors_see_the_closure(rehearsal: EndedRehearsal) -> None:
    """So the check can fail. (Without a claim, the base grace and the pages' TTL hide the first 2 s of the closure.)"""
    assert rehearsal.ended.code == 0
    assert rehearsal.report["outcome"] == "deployed"
    assert rehearsal.anonymous["errors"] > 0
    assert rehearsal.anonymous["seconds_down"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        "--fail swap --hook-seconds 2",
        *(f"--fail {phase} --after-hook-failure rollback --hook-seconds 1" for phase in ("hook", "check", "healthy")),
    ],
)
def test_a_failure_after_the_close_brings_the_previous_release_back(rehearsal: EndedRehearsal, arguments: str) -> None:
    report = rehearsal.report

    assert rehearsal.ended.code == 10
    assert report["outcome"] == "rolled-back"
    assert report["error"]
    assert {phase["name"]: phase["outcome"] for phase in report["phases"]}[arguments.split()[1]] == "failed"
    assert {(server["release"], server["open"]) for server in report["servers"]} == {(report["previous"], True)}
    assert report["closed_seconds"] > 0
    assert report["visitors"]["authenticated"]["errors"] > 0
    assert rehearsal.anonymous["errors"] == 0


@pytest.mark.parametrize("arguments", [f"--fail {phase} --hook-seconds 1" for phase in ("hook", "check", "healthy")])
def test_a_failure_after_the_hook_leaves_the_cluster_closed_on_purpose(rehearsal: EndedRehearsal) -> None:
    report = rehearsal.report

    assert rehearsal.ended.code == 11
    assert report["outcome"] == "held"
    assert "the cluster stays closed" in report["error"]
    for command in ("resume", "rollback", f"--supersede {report['deploy']}"):
        assert command in report["remedy"]
    assert {(server["release"], server["open"]) for server in report["servers"]} == {(report["release"], False)}
    assert rehearsal.anonymous["errors"] == 0


@pytest.mark.parametrize("arguments", ["--fail claim --hook-seconds 2"])
def test_a_claim_that_fails_leaves_everything_as_it_was(rehearsal: EndedRehearsal) -> None:
    report = rehearsal.report

    assert rehearsal.ended.code == 5
    assert report["outcome"] == "refused"
    assert report["closed_seconds"] is None
    assert {(server["release"], server["open"]) for server in report["servers"]} == {(report["previous"], True)}
    assert {figures["errors"] for figures in report["visitors"].values()} == {0}


@pytest.fixture(scope="module", params=["pypiserver", "http-server"])
def others(
    request: pytest.FixtureRequest, rehearsals: Rehearsals, tmp_path_factory: pytest.TempPathFactory
) -> EndedRehearsal:
    """The rehearsal of an application that other people wrote, from its registry."""
    name = str(request.param)
    repository = tmp_path_factory.mktemp("others") / name
    fetched = subprocess.run(
        [str(APPLICATIONS / "fetch"), name, str(repository)],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    if fetched.returncode != 0 and "CI" not in os.environ:
        pytest.skip(f"{name} can't be had from its registry: {fetched.stderr.strip()[-200:]}")
    assert fetched.returncode == 0, fetched.stderr
    return rehearsals.result(str(repository))


def test_applications_of_others_are_deployed_too(others: EndedRehearsal) -> None:
    assert others.ended.code == 0, others.ended.said
    assert {server["release"] for server in others.report["servers"]} == {others.report["release"]}
    assert all(server["open"] for server in others.report["servers"])
    assert others.report["release"] != others.report["previous"]
    assert others.report["visitors"]["authenticated"]["errors"] > 0
    assert (others.left, others.traces) == (set(), [])


def test_their_anonymous_visitors_see_no_error(others: EndedRehearsal) -> None:
    assert others.anonymous["errors"] == 0
