from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster.record import Ended
from edgeguard.deploy import report
from edgeguard.deploy.journal import Journal, read
from edgeguard.deploy.report.text import history, render
from edgeguard.errors import UsageError, joined
from edgeguard.site import samples
from edgeguard.site.samples import Sample
from edgeguard.width import width

if TYPE_CHECKING:
    from edgeguard.deploy.journal import Entry

Told = tuple[float, str, dict[str, Any]]
SERVERS = [{"name": "web1", "release": "b" * 64, "open": True}]
KEYS = {
    *("deploy", "command", "environment", "release", "previous", "ref", "outcome", "exit_code", "error", "remedy"),
    *("started", "ended", "phases", "closed_seconds", "hook_seconds", "servers", "without", "grace", "purged"),
    "visitors",
}


def story(*told: Told, code: int | None = 0) -> list[Entry]:
    """A journal: a deploy's beginning at 1000, these events, and its end at 1100."""
    names = {"deploy": "d1", "command": "deploy", "environment": "production", "ref": None}
    entries: list[Entry] = [{"event": "deploy", "at": 1000.0, **names, "base": 60}]
    entries += [{"event": event, "at": at, **facts} for at, event, facts in told]
    if code is not None:
        error = None if code == 0 else "it failed"
        remedy = "Mend it." if error else None
        entries.append(
            {"event": "end", "at": 1100.0, "exit_code": code, "error": error, "remedy": remedy, "servers": SERVERS}
        )
    return entries


def begin(at: float, step: str) -> Told:
    return at, "begin", {"step": step, "before": {}}


def done(at: float, step: str, **facts: Any) -> Told:  # noqa: ANN401 (as a journal)
    return at, "done", {"step": step, **facts}


def event(at: float, name: str, step: str) -> Told:
    return at, name, {"step": step}


WHOLE: tuple[Told, ...] = (
    *(begin(1000, "build"), done(1001, "build", release="b" * 64, ref="main", commit="c", reused=False)),
    *(begin(1001, "preflight"), done(1002, "preflight", previous="a" * 64, servers=["web1"])),
    begin(1002, "claim"),
    done(1003, "claim", base=60, claimed=180, until=1180, confirmed_seconds=0.9, nodes=["n1"]),
    *(begin(1003, "proof"), done(1003, "proof")),
    *(begin(1004, "close"), done(1004.5, "close")),
    *(begin(1005, "hook"), done(1035.25, "hook", server="web1")),
    *(begin(1036, "open"), done(1036.5, "open")),
    (1037.0, "committed", {}),
    *(begin(1037, "purge"), done(1038, "purge", keys=12, requests=1, ids=["x"])),
    *(begin(1038, "finish"), done(1039, "finish")),
)


def test_a_whole_deploy() -> None:
    found = report.fold(story(*WHOLE), [Sample(1005.0, "anonymous", 200, 0.01, stale="hold")])
    assert found.keys() == KEYS
    assert (found["deploy"], found["environment"], found["ref"]) == ("d1", "production", "main")
    assert (found["release"], found["previous"]) == ("b" * 64, "a" * 64)
    assert (found["outcome"], found["exit_code"], found["error"]) == ("deployed", 0, None)
    assert (found["started"], found["ended"]) == ("1970-01-01T00:16:40.000Z", "1970-01-01T00:18:20.000Z")
    assert [phase["name"] for phase in found["phases"]] == [
        *("build", "preflight", "claim", "close", "hook", "open", "purge"),
    ]
    assert found["phases"][4] == {"name": "hook", "seconds": 30.25, "outcome": "done"}
    assert (found["closed_seconds"], found["hook_seconds"]) == (32.5, 30.25)
    assert found["servers"] == SERVERS
    assert found["grace"] == {
        "base": 60,
        "claimed": 180,
        "until": "1970-01-01T00:19:40.000Z",
        "confirmed_seconds": 0.9,
        "nodes": ["n1"],
    }
    assert found["purged"] == {"keys": 12, "requests": 1, "ids": ["x"], "reasons": []}
    assert found["visitors"]["anonymous"]["stale"] == 1


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *((0, "deployed"), (12, "deployed"), (10, "rolled-back"), (11, "held"), (1, "abandoned")),
        *((code, "refused") for code in range(2, 10)),
        *((130, "interrupted"), (None, "running")),
    ],
)
def test_each_exit_code_has_its_outcome(code: int | None, outcome: str) -> None:
    found = report.fold(story(code=code), [])
    assert (found["outcome"], found["exit_code"]) == (outcome, code)
    assert found.keys() == KEYS


def test_a_deploy_that_was_refused_never_closed() -> None:
    found = report.fold(story(*WHOLE[:2], begin(1002, "lock"), event(1003, "failed", "lock"), code=3), [])
    assert found["closed_seconds"] is None
    assert found["hook_seconds"] is None
    assert found["phases"][-1] == {"name": "lock", "seconds": 1.0, "outcome": "failed"}
    assert found["grace"] == {"base": 60, "claimed": None, "until": None, "confirmed_seconds": None, "nodes": []}
    assert found["purged"] == {"keys": 0, "requests": 0, "ids": [], "reasons": []}
    assert (found["error"], found["remedy"]) == ("it failed", "Mend it.")


def test_what_was_taken_back_is_closed_until_then() -> None:
    told = (
        *(begin(1000, "claim"), done(1001, "claim")),
        *(begin(1004, "close"), done(1004.5, "close")),
        *(begin(1005, "hook"), event(1006, "failed", "hook")),
        *(event(1006, "undoing", "close"), event(1008, "undone", "close")),
        *(event(1008, "undoing", "claim"), event(1009, "undo-failed", "claim")),
    )
    found = report.fold(story(*told, code=11), [])
    assert found["closed_seconds"] == 4.0
    assert {phase["name"]: phase["outcome"] for phase in found["phases"]} == {
        "claim": "undo-failed",
        "close": "undone",
        "hook": "failed",
    }


def test_a_second_closure_counts_too() -> None:
    """The new release is sick after the opening. So the gate closes, opens, closes again, and opens again."""
    told = (
        *(begin(1010, "close"), done(1010, "close"), begin(1012, "open"), done(1013, "open")),
        *(begin(1013, "healthy"), event(1020, "failed", "healthy")),
        *(event(1020, "undoing", "open"), event(1021, "undone", "open")),
        *(event(1021, "undoing", "close"), event(1025, "undone", "close")),
    )
    assert report.fold(story(*told, code=10), [])["closed_seconds"] == 8.0


def test_a_cluster_that_stays_closed_counts_until_the_end() -> None:
    found = report.fold(story(begin(1010, "close"), done(1010, "close"), event(1030, "undo-failed", "close")), [])
    assert found["closed_seconds"] >= 20.0


def test_a_run_s_end_tells_the_closure_over_all_runs() -> None:
    """An earlier run closed the cluster 41 s before this one found it closed."""
    found = (1000.0, "found", {"phase": "hook", "closed": True})
    entries = story(found, begin(1001, "open"), done(1002, "open", closed_seconds=43.0))
    entries[-1] |= {"closed_seconds": 43.0, "closed": False}
    whole = report.fold(entries, [])
    assert (whole["closed_seconds"], whole.get("still_closed")) == (43.0, None)
    assert "  closed for 43.000 s (█)" in render(whole)

    entries = story(begin(1010, "close"), done(1010, "close"), event(1020, "halted", "swap"), code=11)
    entries[-1] |= {"closed_seconds": 90.0, "closed": True}
    stays = report.fold(entries, [])
    assert (stays["closed_seconds"], stays["still_closed"]) == (90.0, True)
    assert "  closed for 90.000 s so far (█)" in render(stays)


def test_a_step_under_way_is_running() -> None:
    found = report.fold(story(begin(1000, "build"), code=None), [])
    assert found["phases"] == [{"name": "build", "seconds": None, "outcome": "running"}]
    assert found["ended"] is None
    assert "running" in render(found)


def test_a_report_is_a_function_of_its_folder(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("deploy", deploy="d1", command="deploy", environment="production", ref="main")
        journal.append("end", exit_code=8, error="no compiler", remedy="Install one.", servers=[])
    (tmp_path / "samples.jsonl").write_text('[1.0, "origin", null, 0.5, "", ""]\n')
    found = report.load(tmp_path)
    assert found == report.load(tmp_path) == json.loads(json.dumps(found))
    assert found["visitors"]["origin"]["errors"] == 1


def test_people_read_the_same() -> None:
    samples = [Sample(1005.0, "anonymous", 200, 0.01), Sample(1006.0, "origin", 500, 0.02)]
    text = render(report.fold(story(*WHOLE), samples))
    for part in ("hook", "30.250 s", "closed for 32.500 s", "anonymous", "origin", "deployed (exit 0)", "bbbbbbbbbbbb"):
        assert part in text
    assert "proof" not in text
    assert "finish" not in text


def test_the_output_of_others_follows_what_failed() -> None:
    entries = story(code=10)
    entries[-1]["error"] = joined("web1: it died\n  web1 wrote:\n  | no licence", "the previous release serves again")
    text = render(report.fold(entries, []))
    assert "\n  web1: it died; the previous release serves again.\n  web1 wrote:\n  | no licence\n  Mend it." in text
    past = {"started": "then", "id": "d1", "command": "deploy", "release": None, "who": "somebody"}
    run = Ended.new(**past, outcome="rolled-back", closed_seconds=1.0, error=entries[-1]["error"])
    line = history("production", [run], [])
    assert line.endswith("\n    web1: it died; the previous release serves again")


@pytest.mark.parametrize("who", ["n" * 300, "a-name@a-host " * 20, "東京" * 100])
def test_the_history_of_somebody_with_a_long_name_fits_a_terminal(who: str) -> None:
    past = {
        "started": "2026-11-28T13:00:00.000Z",
        "id": "20261128-130000-d23b",
        "command": "rollback",
        "release": "1f" * 32,
    }
    run = Ended.new(**past, who=who, outcome="rolled-back", closed_seconds=4321.0, still_closed=True, error=who)
    lines = history("production", [run], []).splitlines()

    assert max(map(width, lines)) <= 80
    assert "".join(lines).replace(" ", "").count(who.replace(" ", "")) == 2


def test_people_read_what_failed_and_what_to_do() -> None:
    text = render(report.fold(story(begin(1000, "build"), event(1001, "failed", "build"), code=8), []))
    assert "failed" in text
    assert "it failed." in text
    assert "Mend it." in text


SAMPLES = Path(__file__).parent / "samples"


@pytest.mark.parametrize("name", ["whole-without-history", "killed-in-the-hook-without-history"])
def test_the_journal_of_an_older_edgeguard_is_reported(name: str) -> None:
    """Its journal has no version, and fewer keys in its entries. Entries of a newer one may have more keys."""
    entries = read(SAMPLES / f"{name}.jsonl")
    found = report.fold(entries, [], alive=False)
    newer = report.fold([{**entry, "later": {"x": 1}} for entry in entries], [], alive=False)

    killed = name.startswith("killed")
    assert found["outcome"] == ("abandoned" if killed else "deployed")
    assert [phase["name"] for phase in found["phases"] if phase["outcome"] == "running"] == (["hook"] if killed else [])
    assert found["closed_seconds"] > 0
    assert "rehearsal" in render(found)
    assert newer == found


def test_a_journal_that_has_lost_its_beginning_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("begin", step="close")
    with pytest.raises(UsageError, match=str(tmp_path)) as caught:
        report.load(tmp_path)
    assert "edgeguard history" in caught.value.remedy


def test_damaged_samples_do_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    good: list[list[Any]] = [[1000.0, "anonymous", 200, 0.1], [1000.0, "origin", None, 0.1, "hold", "b"]]
    damaged = ["[" * 100_000, '[1e300, "anonymous", 200, 0.1]', '["1", "anonymous", 200, 0.1]', "{}", "[]", "\xff"]
    damaged += ['[1, "nobody", 200, 0.1]', '[1, "anonymous", 200, null]', '[1, "anonymous", 200, 1, "", "", 7]']
    path.write_text("\n".join([json.dumps(good[0]), *damaged, json.dumps(good[1]), '[1000.0, "anon']), "latin-1")
    assert samples.read(path) == [Sample(*found) for found in good]
