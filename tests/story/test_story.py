"""One rehearsal with one guarded deploy, and the answers that visitors got meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.observer import CLOSED, Visitor, edge_status, releases_in_turn
from tests.staying_rehearsal import PATIENCE
from tests.story.rehearsal import Ended, Rehearsal, environment, processes, rehearsing, until, visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TTL = 1.0  # of the bundled application's pages, in seconds


@dataclass(frozen=True)
class Notes:
    """One deploy as its caller, its visitors, the edge's API and the hooks saw it."""

    deploy: Ended
    anonymous: Visitor
    authenticated: Visitor
    gate: Visitor
    asked: list[dict[str, Any]]  # of the API, during the deploy
    hooks: list[tuple[float, str]]  # what the hook noted, during the deploy
    status: Mapping[str, str]

    @property
    def report(self) -> dict[str, Any]:
        return self.deploy.last

    @property
    def old(self) -> str:
        return self.gate.answers[0].release

    @property
    def new(self) -> str:
        return self.gate.answers[-1].release


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("rehearsal")
    with rehearsing(folder, "--hook-seconds", "2") as found:
        yield found


@pytest.fixture(scope="module")
def notes(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Notes:
    """The one deploy for most tests here."""
    edge = rehearsal.ready["edge_url"]
    asked_before, hooks_before = len(rehearsal.history()), len(rehearsal.hook_notes)
    with (
        visitor(edge) as anonymous,
        visitor(edge, Cookie="session=Ada") as authenticated,
        visitor(rehearsal.gate_url) as gate,
    ):
        until(lambda: len(anonymous.answers) > 50)  # each page twice: the edge has a copy of it
        deploy = rehearsal.edgeguard("deploy", "rehearsal", "--state", tmp_path_factory.mktemp("state"))
        until(
            lambda: edge_status(edge)["grace"] == edge_status(edge)["base"]
        )  # a write takes a while to reach the edge
        seen = len(anonymous.answers)
        until(lambda: len(anonymous.answers) > seen + 50)
    hooks = [(datetime.fromisoformat(line.split()[0]).timestamp(), line.split()[1]) for line in rehearsal.hook_notes]
    return Notes(
        deploy,
        anonymous,
        authenticated,
        gate,
        rehearsal.history()[asked_before:],
        hooks[hooks_before:],
        edge_status(edge),
    )


def test_the_release_is_deployed_on_every_server(notes: Notes) -> None:
    report = notes.report

    assert notes.deploy.code == 0, notes.deploy.said
    assert report["event"] == "report"
    assert report["outcome"] == "deployed"
    assert [server["name"] for server in report["servers"]] == ["web1", "web2", "web3"]
    assert {server["release"] for server in report["servers"]} == {report["release"]}
    assert all(server["open"] for server in report["servers"])
    assert report["release"] != report["previous"]


def test_the_report_has_its_keys(notes: Notes) -> None:
    report = notes.report
    visitors = {"requests", "errors", "stale", "p50", "p99", "seconds_down"}

    assert set(report) >= {
        *("event", "deploy", "environment", "release", "previous", "ref", "outcome", "exit_code", "started", "ended"),
        *("phases", "closed_seconds", "hook_seconds", "servers", "grace", "purged", "visitors"),
    }
    assert [set(phase) for phase in report["phases"]] == [{"name", "seconds", "outcome"}] * len(report["phases"])
    names = "build lock preflight stage claim stop-tasks close drain swap hook check open healthy"
    assert [phase["name"] for phase in report["phases"]] == [*names.split(), "purge", "release", "post-deploy"]
    assert {phase["outcome"] for phase in report["phases"]} == {"done"}
    assert set(report["grace"]) == {"base", "claimed", "until", "confirmed_seconds", "nodes"}
    assert {key: report["purged"][key] for key in ("keys", "requests", "reasons")} == {
        "keys": 1,
        "requests": 1,
        "reasons": ["purge.release_key: release"],
    }
    assert len(report["purged"]["ids"]) == 1
    assert {name: set(figures) for name, figures in report["visitors"].items()} == dict.fromkeys(
        ("anonymous", "authenticated", "origin"), visitors
    )


def test_its_events_are_one_a_line_in_the_order_of_time(notes: Notes) -> None:
    times = [event["at"] for event in notes.deploy.events[:-1]]

    assert times == sorted(times)
    assert all(event["event"] for event in notes.deploy.events)


def test_no_anonymous_visitor_sees_an_error(notes: Notes) -> None:
    """There is none in hundreds of requests. Stale copies kept them served, since the pages' TTL was over."""
    stale = [
        answer
        for answer in notes.anonymous.answers
        if notes.gate.first(CLOSED).ended + TTL < answer.began and answer.ended < notes.gate.last(CLOSED).began
    ]

    assert notes.anonymous.broken == []
    assert len(notes.anonymous.answers) >= 200
    assert {answer.release for answer in stale} == {notes.old}
    assert notes.report["visitors"]["anonymous"]["errors"] == 0
    assert notes.report["visitors"]["anonymous"]["requests"] >= 100
    assert notes.report["visitors"]["anonymous"]["stale"] > 0


def test_no_page_goes_back_to_the_old_release(notes: Notes) -> None:
    for page in {answer.page for answer in notes.anonymous.answers}:
        answers = [answer for answer in notes.anonymous.answers if answer.page == page]
        assert releases_in_turn(answers) == [notes.old, notes.new]


def test_authenticated_visitors_are_down_while_it_is_closed_and_not_longer(notes: Notes) -> None:
    broken = notes.authenticated.broken
    figures = notes.report["visitors"]["authenticated"]

    assert 0 < broken[-1].ended - broken[0].began <= notes.report["closed_seconds"] + 1
    assert 0 < figures["seconds_down"] <= notes.report["closed_seconds"] + 1
    assert figures["stale"] == 0


def test_releases_never_mix(notes: Notes) -> None:
    """The gate's answers are, in this order, of the old release, refusals, and of the new release, and nothing else."""
    assert releases_in_turn(notes.gate.answers) == [notes.old, CLOSED, notes.new]
    assert notes.old != notes.new
    assert releases_in_turn(notes.authenticated.answers) == [notes.old, CLOSED, notes.new]


def test_the_environment_s_file_is_as_it_is_documented(rehearsal: Rehearsal) -> None:
    """config/rehearsal.toml explains its settings. A rehearsal's file only differs in its own addresses and options."""
    of_a_rehearsal = {"repository", "root", "gate_port", "service", "url", "health_url", "api_url", "token_file"}
    of_its_options = {"env:HOOK_SECONDS", "planned_closure", "duration", "anonymous", "origin"}

    def leaves(table: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", ... if key in of_a_rehearsal | of_its_options else value

    written = rehearsal.own_config
    documented = Path(__file__).parents[2] / "config" / "rehearsal.toml"
    one, other = (dict(leaves(tomllib.loads(path.read_text(encoding="utf-8")))) for path in (written, documented))
    assert one == other


def test_a_refusal_says_so_properly(notes: Notes) -> None:
    refusals = [answer for answer in notes.gate.answers if answer.release == CLOSED]

    assert {answer.status for answer in refusals} == {500}
    for answer in refusals:
        deploy, until_ = answer.headers["edgeguard-closed"].split("; until=")
        assert deploy == notes.report["deploy"]
        assert datetime.fromisoformat(until_).timestamp() > answer.ended
        assert answer.headers["cache-control"] == "no-store"
        assert int(answer.headers["retry-after"]) > 0


def test_the_hook_runs_once_while_nothing_is_open(notes: Notes) -> None:
    [(started, first), (done, second)] = notes.hooks

    assert (first, second) == ("started", "done")
    assert notes.gate.last(notes.old).began < started
    assert notes.gate.first(CLOSED).began < started
    assert done < notes.gate.first(notes.new).ended


def test_nothing_is_purged_before_the_new_release_is_seen_open(notes: Notes) -> None:
    purges = [entry for entry in notes.asked if "/purge" in entry["path"]]

    assert len(purges) == 1
    assert purges[0]["soft"]
    assert notes.gate.last(CLOSED).began < purges[0]["at"]
    assert notes.hooks[-1][0] < purges[0]["at"]


def test_the_grace_is_back_at_its_base(rehearsal: Rehearsal, notes: Notes) -> None:
    shown = rehearsal.edgeguard("grace", "show", "rehearsal")

    assert notes.status["grace"] == notes.status["base"] == "1"
    assert notes.status["hold"] == "0"
    assert (shown.last["in_force"], shown.last["claims"], shown.last["hold"]) == (1, [], False)
    assert shown.last["edge"]["grace"] == 1


def test_the_service_got_no_new_version(rehearsal: Rehearsal, notes: Notes) -> None:
    """A deploy writes dictionary items and purges. Its other calls only read."""
    written = {(entry["method"], entry["path"].rsplit("/", 1)[-1]) for entry in notes.asked if entry["method"] != "GET"}

    assert written == {("PATCH", "items"), ("POST", "purge")}
    assert rehearsal.ready["token"] not in notes.deploy.said + str(notes.deploy.events)


@pytest.mark.usefixtures("notes")  # the deploy before it, whose laws don't know of other claims
def test_support_s_claims_outlive_a_deploy(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """One was there before, and one is made while the cluster is closed. Each is one write."""
    edge = rehearsal.ready["edge_url"]
    asked_before = len(rehearsal.history())
    before = rehearsal.edgeguard("grace", "extend", "rehearsal", "--for", "1h", "--reason", "the database moves")
    written = [entry["method"] for entry in rehearsal.history()[asked_before:] if entry["method"] != "GET"]

    with subprocess.Popen(
        [
            *(sys.executable, "-m", "edgeguard", "deploy", "rehearsal", "--json"),
            *("--config", rehearsal.ready["config"], "--state", str(tmp_path)),
        ],
        env=environment(rehearsal.folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as deploy:
        assert deploy.stdout is not None
        while '"hook"' not in deploy.stdout.readline():
            assert deploy.poll() is None
        meanwhile = rehearsal.edgeguard("grace", "extend", "rehearsal", "--for", "2h", "--reason", "it takes longer")
        deploy.stdout.read()
        code = deploy.wait(PATIENCE)
    until(lambda: edge_status(edge)["hold"] == "0" and int(edge_status(edge)["grace"]) == 7201)
    shown = rehearsal.edgeguard("grace", "show", "rehearsal").last

    assert written == ["PATCH"]
    assert (before.code, meanwhile.code, code) == (0, 0, 0)
    assert {claim["id"]: claim["grace"] for claim in shown["claims"]} == {"support1": 3601, "support2": 7201}
    for slot in ("support1", "support2"):
        assert rehearsal.edgeguard("grace", "release", "rehearsal", slot).code == 0
    assert edge_status(edge)["grace"] == "1"


# -- the same rehearsal, deployed in two other ways --------------------------------------------------------------

OTHERS_DEPLOY = """
echo "somebody else's deploy begins: it closes, swaps and opens, and knows nothing of any grace"
exec "$PYTHON" -m edgeguard deploy rehearsal --accept unguarded --quiet --json --config "$CONFIG" --state "$(mktemp -d)"
"""
"""Only edgeguard can close the rehearsal's gate. With `unguarded` it claims nothing, as a deploy by other means."""


def runner(rehearsal: Rehearsal, folder: Path) -> tuple[Path, dict[str, str]]:
    """A machine of a pipeline. It has an environment's file with only an [edge], and the token."""
    folder.mkdir()
    whole = tomllib.loads(rehearsal.own_config.read_text(encoding="utf-8"))
    edge = {key: value for key, value in whole["edge"].items() if key not in ("token_file", "release_header")}
    lines = [f"{key} = {json.dumps(value)}" for key, value in edge.items()]
    (folder / "site.toml").write_text("\n".join(["[edge]", *lines, "[claim]", "duration = 60", "hold = 6"]))
    variables = {
        "PYTHON": sys.executable,
        "CONFIG": rehearsal.ready["config"],
        "FASTLY_API_TOKEN": rehearsal.ready["token"],
    }
    return folder, environment(rehearsal.folder) | variables | {"EDGEGUARD_CONFIG": str(folder)}


def run(command: Sequence[str], where: tuple[Path, dict[str, str]]) -> str:
    """Run a command that must succeed. Returns its output."""
    folder, variables = where
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def hooked(rehearsal: Rehearsal, folder: Path) -> None:
    """`hook pre` on one machine, the deploy on another, `hook post` on a third. The machines share nothing."""
    before, deploying, after = (runner(rehearsal, folder / name) for name in ("before", "deploying", "after"))
    claim = run([sys.executable, "-m", "edgeguard", "hook", "pre", "site"], before)
    shutil.rmtree(before[0])
    run(["sh", "-c", OTHERS_DEPLOY], deploying)
    run([sys.executable, "-m", "edgeguard", "hook", "post", "site", claim.strip(), "--purge-key", "release"], after)


def wrapped(rehearsal: Rehearsal, folder: Path) -> None:
    wrap = (sys.executable, "-m", "edgeguard", "wrap", "site", "--purge-key", "release", "--")
    run([*wrap, "sh", "-c", OTHERS_DEPLOY], runner(rehearsal, folder / "one"))


@pytest.mark.usefixtures("notes")  # the deploy before it, whose laws don't know of others
@pytest.mark.parametrize("way", [hooked, wrapped])
def test_other_ways_to_deploy_are_as_kind_to_visitors(
    rehearsal: Rehearsal, tmp_path: Path, way: Callable[[Rehearsal, Path], None]
) -> None:
    edge = rehearsal.ready["edge_url"]
    with (
        visitor(edge) as anonymous,
        visitor(edge, Cookie="session=Ada") as authenticated,
        visitor(rehearsal.gate_url) as gate,
    ):
        until(lambda: len(anonymous.answers) > 50)
        way(rehearsal, tmp_path)
        until(lambda: edge_status(edge)["grace"] == edge_status(edge)["base"])

    assert anonymous.broken == []
    assert authenticated.broken != []
    assert [name == CLOSED for name in releases_in_turn(gate.answers)] == [False, True, False]
    assert gate.last(CLOSED).began - gate.first(CLOSED).began > int(edge_status(edge)["base"]) + TTL


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which processes live in a folder")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_rehearsal_ends_without_a_trace(tmp_path: Path, by: signal.Signals) -> None:
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    with rehearsing(folder, "--servers", "1", "--hook-seconds", "0") as found:
        lived = processes(folder)
        found.process.send_signal(by)
        found.process.wait(PATIENCE)

    assert len(lived) >= 5  # the command, the stand-in, the gate, a supervisor, the application
    assert processes(folder) == set()
    assert list(folder.iterdir()) == []
