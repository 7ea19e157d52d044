"""Who may act on a server: the holder of the epoch that is in force, and of its sessions the newest, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import fence, files
from edgeguard.cluster.host.errors import DAMAGED, FENCED, HostError

if TYPE_CHECKING:
    from pathlib import Path


def acts(folder: Path, epoch: int, session: int = 0, serial: int = 0, *, after: int | None = None) -> bool:
    """Whether an act of this caller is accepted."""
    codes = []
    try:
        with fence.fenced(folder, fence.Caller(epoch, session, serial), after=after):
            pass
    except HostError as exc:
        codes.append(exc.code)
    assert codes in ([], [FENCED])
    return not codes


def hold(folder: Path, epoch: int, **record: object) -> None:
    folder.mkdir(exist_ok=True)
    files.write(folder / "record.json", {"epoch": epoch, **record})


def test_only_the_epoch_in_force_acts(tmp_path: Path) -> None:
    hold(tmp_path, 3)

    assert [acts(tmp_path, epoch) for epoch in (2, 3, 4)] == [False, True, False]


def test_whoever_takes_the_lock_may_follow_any_older_epoch_and_no_newer_one(tmp_path: Path) -> None:
    hold(tmp_path, 3)

    assert [acts(tmp_path, 5, after=newest) for newest in (2, 3, 4)] == [False, True, True]


def test_a_session_s_acts_are_accepted_in_rising_order_alone(tmp_path: Path) -> None:
    hold(tmp_path, 1)
    session = fence.new_session(tmp_path)

    assert [acts(tmp_path, 1, session, serial) for serial in (1, 3, 2, 3, 4)] == [True, True, False, False, True]


def test_a_new_session_shuts_out_the_older_ones_from_its_first_act_on(tmp_path: Path) -> None:
    """A half-dead connection can't deliver a late `close` after an `open` of the same epoch."""
    hold(tmp_path, 1)
    old, new = fence.new_session(tmp_path), fence.new_session(tmp_path)
    assert new > old
    assert acts(tmp_path, 1, old, 1)
    assert not acts(tmp_path, 2, new, 1)  # it does not hold the lock
    assert acts(tmp_path, 1, old, 2)
    assert acts(tmp_path, 1, new, 1)

    assert fence.new_session(tmp_path) > new
    assert not acts(tmp_path, 1, old, 2)
    assert acts(tmp_path, 1, new, 2)


def test_a_caller_of_another_epoch_uses_up_no_serial(tmp_path: Path) -> None:
    hold(tmp_path, 2)
    session = fence.new_session(tmp_path)
    assert not acts(tmp_path, 1, session, 5)

    assert acts(tmp_path, 2, session, 1)


def test_a_record_never_goes_back_within_its_epoch(tmp_path: Path) -> None:
    hold(tmp_path, 2, serial=7, phase="hook")
    for serial, phase in ((6, "close"), (7, "check"), (8, "open")):
        fence.write_record(tmp_path, 2, {"serial": serial, "phase": phase})
    record = files.read(tmp_path / "record.json")

    assert record == {"epoch": 2, "serial": 8, "phase": "open"}
    fence.write_record(tmp_path, 3, {"serial": 1})
    assert files.read(tmp_path / "record.json") == {"epoch": 3, "serial": 1}


def test_a_record_without_a_whole_number_for_its_epoch_is_damaged(tmp_path: Path) -> None:
    files.write(tmp_path / "record.json", {"epoch": "two"})
    with pytest.raises(HostError) as damaged, fence.fenced(tmp_path, fence.Caller(1)):
        pass

    assert damaged.value.code == DAMAGED


def test_who_waits_for_a_lock_of_its_own_process_finds_no_other_holder(tmp_path: Path) -> None:
    """/proc has who reads it under two more names, `self` and `thread-self`."""
    with fence.locked(tmp_path), (tmp_path / "lock").open(encoding="utf-8") as again:
        assert fence._holders(again) == []  # noqa: SLF001 (else it takes 30 s to be asked)
