"""The record's types: records of older and newer edgeguards, and records that make no sense.

samples/ has records that edgeguards of the past wrote, and one with keys that no edgeguard knows yet.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Damaged, Ended, Opened, Phase, Record
from edgeguard.cluster.time_closed import TimeClosed
from edgeguard.errors import ClusterError
from tests.cluster.servers import Servers

if TYPE_CHECKING:
    from edgeguard.cluster import Cluster

SAMPLES = Path(__file__).parent / "samples"
FUTURE = "of-the-future"


def sample(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return content


def holding(content: object) -> Servers:
    """Three servers, each with this record."""
    servers = Servers()
    servers.records = {name: copy.deepcopy(cast("dict[str, Any]", content)) for name in servers.servers}
    return servers


def shared(servers: Servers) -> SharedRecord:
    return SharedRecord(cast("Cluster", servers), "rehearsal", lease=0.01)


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_a_record_of_any_time_is_read_and_written_back_as_it_was(name: str) -> None:
    content = sample(name)
    found = shared(holding(content)).look()

    assert content == found.json
    assert {**content, "serial": 1000} == found.also(serial=1000).json


def test_the_history_keeps_as_many_runs_as_are_to_be_kept() -> None:
    servers = Servers()
    for name in ("d1", "d2", "d3"):
        mine = SharedRecord(cast("Cluster", servers), "rehearsal", lease=0.01, history=2)
        mine.take_over(wait=lambda _: None, say=lambda _: None)
        mine.release(Ended.new(id=name))

    assert [run.id for run in shared(servers).look().history] == ["d2", "d3"]


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_who_takes_over_changes_the_lock_and_nothing_else(name: str) -> None:
    content = sample(name)
    servers = holding(content)

    mine = shared(servers)
    mine.take_over(wait=lambda _: None, say=lambda _: None)
    mine.release()

    expected = {"opened": None, "before": None, "deploy": None, "history": [], **content}
    expected |= {"epoch": content["epoch"] + 1, "serial": content.get("serial", 0) + 2, "lock": None}
    if expected["deploy"]:
        expected["deploy"] = {**content["deploy"], "without": []}
    assert expected == servers.records["web1"]


def test_the_keys_of_the_future_survive_every_write_at_every_level() -> None:
    content = sample(FUTURE)
    servers = holding(content)

    mine = shared(servers)
    mine.take_over(wait=lambda _: None, say=lambda _: None)
    mine.renew()
    mine.note_deploy(phase=Phase.OPEN, held=True)
    mine.note(before=mine.opened, opened=Opened.new(generation="d3", release="ccc"))
    mine.release(Ended.new(id="d3", outcome="deployed"))

    found = servers.records["web3"] or {}
    assert content["region"] == found["region"]
    assert content["opened"] == found["before"]
    assert {**content["deploy"], "phase": "open", "held": True} == found["deploy"]
    assert [*content["history"], {"id": "d3", "outcome": "deployed"}] == found["history"]


def test_what_an_older_edgeguard_wrote_in_between_is_believed() -> None:
    """It keeps the keys that it does not know, and writes a higher epoch."""
    servers = holding(sample(FUTURE))
    older = {**sample(FUTURE), "epoch": 8, "deploy": None, "opened": {"generation": "d9", "release": "eee"}}
    servers.records["web2"] = older

    found = shared(servers).look()

    assert older == found.json
    assert (found.deploy, found.opened and found.opened.release) == (None, "eee")


def test_closures_are_counted_from_the_first_close_to_the_real_opening() -> None:
    first = TimeClosed.closing(None, 100.0)
    again = TimeClosed.closing(first, 120.0)  # another run closes what is closed
    opened = again.opening(143.0)
    twice = TimeClosed.closing(opened, 200.0)
    read = TimeClosed.of(json.loads(json.dumps(twice.json)))
    assert [each.seconds(210.0) for each in (first, again, opened, opened.opening(150.0), twice, read)] == [
        *(110.0, 110.0, 43.0, 43.0, 53.0, 53.0),
    ]


def test_servers_are_believed_where_the_record_says_another_thing_about_a_closure() -> None:
    closed, opened = TimeClosed.new(since=100.0), TimeClosed.new(since=100.0, until=143.0)
    twice = TimeClosed.new(since=200.0, earlier=43.0)
    assert closed.seen(is_open=True) is None, "the close was written down, and did not happen"
    assert [each.seconds(210.0) for each in (opened.seen(is_open=False), opened.seen(is_open=True)) if each] == [
        *(110.0, 43.0),
    ]
    seen = twice.seen(is_open=True)
    assert seen is not None
    assert seen.seconds(210.0) == 43.0


def deep(levels: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for _ in range(levels):
        content = {"superseded": content, "id": "d1", "phase": "lock"}
    return content


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"lock": "mine"}, "lock is not an object"),
        ({"lock": {"deploy": "d1", "holder": "somebody", "since": "now"}}, "lock.counter is missing"),
        ({"lock": {"deploy": "d1", "holder": 5, "since": "now", "counter": 0}}, "lock.holder is not a text"),
        ({"epoch": "seven"}, "epoch is not a whole number"),
        ({"epoch": True}, "epoch is not a whole number"),
        ({"serial": 1.5}, "serial is not a whole number"),
        ({"serial": math.nan}, "not JSON"),
        ({"region": {"load": math.inf}}, "not JSON"),
        ({"deploy": {"id": "d1", "phase": "teleported"}}, "deploy.phase is none of lock, close, hook, open, committed"),
        ({"deploy": {"id": "d1", "phase": "hook", "hook": {}}, "opened": []}, "opened is not an object"),
        ({"deploy": {"id": "d1", "phase": "hook", "hook": {"server": None, "x": 1}}}, "deploy.hook.server is missing"),
        ({"deploy": {"id": "d1", "phase": "lock", "purge_keys": ["news", 5]}}, "purge_keys is not a list of texts"),
        ({"deploy": deep(400)}, "nested too deeply"),
        ({"beneath": {"slot": 1}}, "beneath has a value that is not a text"),
        ({"closure": {"who": "somebody"}}, "closure.id is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_record_names_its_server_and_what_to_do(change: dict[str, Any], part: str) -> None:
    """Nothing is written, neither to that server nor to another one."""
    servers = holding(sample(FUTURE))
    whole = servers.records["web1"]
    damaged = {**sample(FUTURE), **change}
    servers.records["web2"] = damaged

    for act in (lambda: shared(servers).look(), lambda: shared(servers).take(None)):
        with pytest.raises(ClusterError, match=r"^web2: its record is damaged: ") as caught:
            act()
        assert part in caught.value.message
        assert "Put back the right one" in caught.value.remedy
        assert "--without web2" in caught.value.remedy
    assert (whole, whole) == (servers.records["web1"], servers.records["web3"])
    assert servers.records["web2"] is damaged


@pytest.mark.parametrize("content", [["a list"], "a text", 5])
def test_a_record_that_is_no_object_names_its_server(content: object) -> None:
    servers = holding(sample(FUTURE))
    servers.records["web3"] = cast("dict[str, Any]", content)

    with pytest.raises(ClusterError, match=r"^web3: its record is damaged: it is not a JSON object"):
        shared(servers).look()


def test_a_damaged_record_is_told_beside_those_that_can_be_read() -> None:
    servers = holding(sample(FUTURE))
    servers.records["web2"] = {**sample(FUTURE), "lock": 5}

    newest, unreadable = shared(servers).read()

    assert sample(FUTURE) == newest.json
    assert {name: failure.message for name, failure in unreadable.items()} == {
        "web2": "its record is damaged: lock is not an object"
    }


def test_a_damage_is_told_without_the_value() -> None:
    with pytest.raises(Damaged) as caught:
        Record.of({"lock": "s3cr3t-word"})
    assert "s3cr3t" not in f"{caught.value.message} {caught.value.remedy}"


def test_the_phases_of_a_deploy_are_in_the_order_of_its_story() -> None:
    assert sorted(Phase, key=lambda phase: [each < phase for each in Phase].count(True)) == [
        *(Phase.LOCK, Phase.CLOSE, Phase.HOOK, Phase.OPEN, Phase.COMMITTED)
    ]


def opened(generation: str, release: str, variables: str | None = "v") -> Opened:
    return Opened.new(generation=generation, release=release, variables=variables)


def after(record: Record, *openings: Opened, keep: int = 5) -> Record:
    for target in openings:
        record = record.also(**record.opening(target, keep=keep))
    return record


def kept(record: Record) -> list[str]:
    return [release.generation for release in record.releases]


@pytest.mark.parametrize(
    ("name", "releases"),
    [
        ("without-serial", ["20260901-101500-ab12"]),
        ("of-the-future", ["d2", "d1"]),
        ("killed-in-the-hook-without-history", ["20261128-010804-70f7", "20261128-010704-60b6"]),
    ],
)
def test_the_record_of_an_older_edgeguard_keeps_what_serves_and_what_was_before(name: str, releases: list[str]) -> None:
    record = Record.of(sample(name))

    assert releases == kept(record)
    assert kept(after(record, opened("d9", "new"))) == ["d9", *releases]


def test_the_kept_releases_differ_and_each_has_its_newest_generation() -> None:
    record = after(Record.new(), opened("d1", "a"), opened("d2", "b"), opened("d3", "b"), opened("d4", "a", "w"))
    assert kept(record) == ["d4", "d3", "d1"]  # other variables make another release

    again = after(record, opened("d5", "b"))
    assert kept(again) == ["d5", "d4", "d1"]
    assert again.before == again.releases[1]
    assert kept(after(again, opened("d6", "c"), keep=2)) == ["d6", "d5"]
    assert after(Record.new(), opened("d1", "a"), opened("d2", "a")).before is None


def test_an_older_edgeguard_that_opened_a_release_in_between_is_believed() -> None:
    """It writes `opened` and `before` alone, and prunes all others. It knows no variables."""
    record = after(Record.new(), opened("d1", "a"), opened("d2", "b"), opened("d3", "c"))
    older = Record.of({**record.json, "opened": {"generation": "d4", "release": "d"}, "before": record.json["opened"]})

    assert kept(older) == ["d4", "d3"]
    assert kept(after(older, opened("d5", "d"))) == ["d5", "d3"]  # as far as anybody knows, the same as d4


def test_one_damaged_run_of_the_history_does_not_hide_the_others() -> None:
    runs: list[Any] = [{"id": "d1", "outcome": "deployed"}, {"id": 5}, "torn", {"id": "d2", "outcome": "held"}]
    assert [run.id for run in Record.of({"history": runs}).history] == ["d1", "d2"]
