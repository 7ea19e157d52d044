"""The lock and the record, on servers in memory that fence as every driver does (tests/contracts)."""

from __future__ import annotations

import copy
import os
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest

from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Phase, Record, Unfinished
from edgeguard.errors import ClusterError, Fenced, Locked
from edgeguard.machine.renewal import Renewal
from tests.cluster.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import Cluster


def record(servers: Servers, environment: str = "production") -> SharedRecord:
    return SharedRecord(cast("Cluster", servers), environment, lease=0.2)


OPENED = {"generation": "d0", "release": "abc"}


def under_way(name: str) -> Unfinished:
    return Unfinished.new(id=name, phase=Phase.LOCK)


def test_before_the_first_deploy_there_is_nothing() -> None:
    assert record(Servers()).look() == Record.new()


def test_the_lock_says_who_holds_it() -> None:
    servers = Servers()
    mine = record(servers)
    mine.take(under_way("d1"))
    assert mine.epoch == 1
    for found in servers.read_record().values():
        assert found is not None
        assert found["lock"]["deploy"] == "d1"
        assert f"pid {os.getpid()}" in found["lock"]["holder"]


def test_a_lock_that_is_held_is_refused_and_its_holder_named() -> None:
    servers = Servers()
    record(servers).take(under_way("d1"))
    with pytest.raises(Locked, match=f"d1 holds the lock: .*pid {os.getpid()}") as caught:
        record(servers).take(under_way("d2"))
    assert "status" in caught.value.remedy


def test_each_holder_has_a_greater_epoch_and_finds_what_was_noted() -> None:
    servers = Servers()
    first, second = record(servers), record(servers)
    first.take(under_way("d1"))
    first.note(opened=OPENED, deploy=None)
    first.release()
    assert record(servers).look().lock is None
    second.take(under_way("d2"))
    assert second.epoch == first.epoch + 1
    assert second.look().json["opened"] == OPENED


def test_who_was_replaced_can_write_nothing() -> None:
    servers = Servers()
    old = record(servers)
    old.take(under_way("d1"))
    taken = {**old.look().json, "lock": {"deploy": "d2", "holder": "another", "since": "now", "counter": 0}}
    servers.write_record(2, taken, expected=1)
    for act in (old.renew, old.release, lambda: old.note(without=["web1"])):
        with pytest.raises(Fenced):
            act()
    assert record(servers).look().json["lock"]["deploy"] == "d2"


def test_of_many_at_once_one_gets_the_lock() -> None:
    servers, won = Servers(), []
    barrier = threading.Barrier(8)

    def take(number: int) -> None:
        barrier.wait()
        try:
            record(servers).take(under_way(f"d{number}"))
        except Locked:
            return
        won.append(f"d{number}")

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert {(found or {})["lock"]["deploy"] for found in servers.read_record().values()} == set(won)


def test_an_unfinished_deploy_is_in_the_way_of_all_but_its_successor() -> None:
    servers = Servers()
    first = record(servers)
    first.take(under_way("d1"))
    first.note_deploy(phase="hook")
    first.release()
    with pytest.raises(Locked, match="d1 is unfinished: it reached hook") as caught:
        record(servers).take(under_way("d2"))
    for command in ("resume production", "rollback production", "--supersede d1"):
        assert command in caught.value.remedy
    with pytest.raises(Locked, match="d1 is unfinished"):
        record(servers).take(under_way("d2"), instead_of="d0")
    fix = record(servers)
    fix.take(under_way("d2"), instead_of="d1")
    assert fix.look().json["deploy"]["id"] == "d2"


def test_there_must_be_something_to_supersede() -> None:
    with pytest.raises(Locked, match="nothing to supersede"):
        record(Servers()).take(under_way("d2"), instead_of="d1")


def test_a_dead_holder_is_watched_and_then_replaced_with_what_it_left() -> None:
    servers = Servers()
    said: list[str] = []
    dead = record(servers)
    dead.take(under_way("d1"))
    dead.note_deploy(phase="close")
    heir = record(servers)
    heir.take_over(wait=time.sleep, say=said.append)
    assert (heir.epoch, heir.look().json["deploy"]) == (2, {"id": "d1", "phase": "close", "without": []})
    assert "0.2 s" in said[0]
    with pytest.raises(Fenced):
        dead.renew()


def test_a_living_holder_is_not_replaced() -> None:
    servers = Servers()
    alive = record(servers)
    alive.take(under_way("d1"))
    renewal = Renewal("lock", 0.02, alive.renew, failed=lambda *_: None).start()
    try:
        with pytest.raises(Locked, match="d1 is alive"):
            record(servers).take_over(wait=time.sleep, say=lambda _: None)
    finally:
        renewal.stop()
    assert alive.look().epoch == 1


def test_who_let_go_is_not_waited_for() -> None:
    servers = Servers()
    first = record(servers)
    first.take(under_way("d1"))
    first.release()
    record(servers).take_over(wait=lambda _: pytest.fail("nobody to wait for"), say=lambda _: None)


def test_a_server_that_a_write_did_not_reach_tells_the_older_story() -> None:
    servers = Servers()
    mine = record(servers)
    mine.take(under_way("d1"))
    old = copy.deepcopy(servers.records["web1"])
    mine.note_deploy(phase="close")
    servers.records["web1"] = old
    assert mine.look().json["deploy"]["phase"] == "close"


def test_renewing_and_noting_at_once_lose_nothing() -> None:
    servers = Servers()
    mine = record(servers)
    mine.take(under_way("d1"))
    renewing = [threading.Thread(target=mine.renew) for _ in range(20)]
    for number, thread in enumerate(renewing):
        thread.start()
        mine.note(**{f"n{number}": number})
    for thread in renewing:
        thread.join()
    found = mine.look().json
    assert found["lock"]["counter"] == 20
    assert [found[f"n{number}"] for number in range(20)] == [*range(20)]


def test_a_record_of_another_environment_is_not_ours() -> None:
    servers = Servers()
    record(servers, "staging").take(under_way("d1"))
    with pytest.raises(ClusterError, match="web1: its record is of the environment 'staging'") as caught:
        record(servers).look()
    assert "cluster.root" in caught.value.remedy


def test_a_record_of_a_newer_edgeguard_is_left_alone() -> None:
    servers = Servers()
    servers.records["web2"] = {"version": 99, "environment": "production", "epoch": 1, "serial": 1}
    with pytest.raises(ClusterError, match="web2: its record has version 99"):
        record(servers).take(under_way("d1"))
    assert servers.records["web1"] is None


def test_a_record_that_one_server_lost_is_told_by_the_others_and_written_there_again() -> None:
    servers = Servers()
    mine = record(servers)
    mine.take(under_way("d1"))
    mine.note(opened=OPENED, deploy=None)
    mine.release()
    servers.records["web2"] = None
    assert record(servers).look().json["opened"] == OPENED
    record(servers).take(under_way("d2"))
    found = servers.records["web2"] or {}
    assert (found["epoch"], found["opened"]) == (2, OPENED)


def test_a_server_that_cannot_be_read_is_named_with_what_to_do() -> None:
    servers = Servers()
    record(servers).take(under_way("d1"))
    servers.unreadable = {"web2"}
    before = copy.deepcopy(servers.records)
    acts: list[Callable[[SharedRecord], object]] = [
        SharedRecord.look,
        lambda mine: mine.take(under_way("d2")),
        lambda mine: mine.take_over(wait=time.sleep, say=lambda _: None),
    ]
    for act in acts:
        with pytest.raises(ClusterError, match="web2: the record of web2 is torn") as caught:
            act(record(servers))
        assert caught.value.remedy.startswith("Mend it. If web2 is lost")
        assert "--without web2" in caught.value.remedy
    assert servers.records == before


def test_a_lock_that_could_not_be_taken_everywhere_is_given_back() -> None:
    """After a full disk on one server, nobody has to wait for a lock without a holder."""
    servers = Servers()
    first = record(servers)
    first.take(under_way("d1"))
    first.note(deploy=None)
    first.release()
    servers.full = {"web3"}
    with pytest.raises(ClusterError, match="web3: no space left"):
        record(servers).take(under_way("d2"))
    servers.full = set()
    assert (record(servers).look().lock, record(servers).look().deploy) == (None, None)
    record(servers).take(under_way("d3"))
    assert {(found or {})["lock"]["deploy"] for found in servers.records.values()} == {"d3"}


def test_a_server_that_is_left_out_is_written_down_and_not_asked() -> None:
    servers = Servers()
    first = record(servers)
    first.take(under_way("d1"))
    first.note(deploy=None)
    first.release()
    servers.unreadable = servers.full = {"web3"}
    fewer = servers.without(["web3"])
    second = record(fewer)
    second.take(under_way("d2"))
    assert second.look().json["deploy"]["without"] == ["web3"]
    assert record(servers).look().json["deploy"]["id"] == "d2"  # whoever looks knows then not to ask it
    with pytest.raises(ClusterError, match="web3"):
        record(servers).take_over(wait=time.sleep, say=lambda _: None)
    second.note(deploy=None, without=["web3"])
    second.release()
    servers.unreadable = servers.full = set()
    whole = record(servers)
    whole.take(under_way("d3"))  # it is back, with an old record
    assert (whole.epoch, whole.without, whole.look().json["deploy"]["without"]) == (3, ("web3",), [])
    assert servers.records["web1"] == servers.records["web3"]


def test_a_wall_clock_that_jumps_kills_no_lease() -> None:
    """Times in a record are for people. A reader judges by its own monotonic clock whether the holder lives."""
    servers = Servers()
    record(servers).take(under_way("d1"))

    def jump(year: int) -> None:
        for found in servers.records.values():
            assert found is not None
            found["lock"]["since"] = f"{year}-01-01T00:00:00+00:00"
            found["lock"]["counter"] += 1

    renewal = Renewal("lock", 0.02, lambda: jump(1999), failed=lambda *_: None).start()
    try:
        with pytest.raises(Locked, match="d1 is alive"):
            record(servers).take_over(wait=time.sleep, say=lambda _: None)
    finally:
        renewal.stop()
    jump(2099)  # and dies
    record(servers).take_over(wait=time.sleep, say=lambda _: None)
    assert record(servers).look().epoch == 2


def test_whatever_is_written_while_a_lock_is_watched_shows_that_its_holder_lives() -> None:
    """Otherwise its last write, after its last renewal, would be lost under the record from before the watch."""
    servers = Servers()
    holder = record(servers)
    holder.take(under_way("d1"))

    def wait(seconds: float) -> None:
        if holder.look().json["deploy"]["phase"] != "close":
            holder.note_deploy(phase="close")  # and dies
        time.sleep(seconds)

    with pytest.raises(Locked, match="d1 is alive"):
        record(servers).take_over(wait=wait, say=lambda _: None)
    later = record(servers)
    later.take_over(wait=time.sleep, say=lambda _: None)
    assert later.look().json["deploy"]["phase"] == "close"


def test_a_renewal_goes_on_after_it_failed_until_it_is_stopped() -> None:
    told: list[tuple[str, str]] = []
    turns = []
    enough = threading.Event()

    def act() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ClusterError("web1 is away")
        enough.set()

    renewal = Renewal("lock", 0.005, act, failed=lambda name, failure: told.append((name, failure.message))).start()
    assert enough.wait(10)
    renewal.stop()
    renewal.stop()
    assert told == [("lock", "web1 is away")]
    assert "renew lock" not in {thread.name for thread in threading.enumerate()}


def test_a_renewal_that_never_started_can_be_stopped() -> None:
    Renewal("lock", 1, lambda: None, failed=lambda *_: None).stop()
