"""A server whose disk fills up while a deploy is under way: what finishes it, or takes it back, works all the same."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import fence, files, generations, homes, reserve
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.generations import Generation, Runs
from tests.cluster.host.small_disk import for_root, small_disk

if TYPE_CHECKING:
    from pathlib import Path


def fill(server: Path) -> None:
    """Leave not one byte on the server's disk."""
    with (server.parent / "filler").open("ab", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError as exc:
            assert exc.errno == errno.ENOSPC  # noqa: PT017 (the loop has no other end)


def generation(tmp_path: Path, name: str, copy_of: str | None = None) -> Generation:
    variables = {} if copy_of else {"KEY": "value"}
    return Generation(name, "digest", tmp_path / "image", Runs(tmp_path, ("true",)), variables, copy_of=copy_of)


pytestmark = for_root


def test_a_disk_that_fills_after_the_staging_keeps_no_act_from_writing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as root:
        server = root / "web1"
        first = generation(tmp_path, "one")
        generations.put(server, first)
        homes.seed(server, first)
        for again in (False, True):  # another program takes at once what was let go
            fill(server)
            session = fence.new_session(server)
            with fence.fenced(server, fence.Caller(0, session, 1)):
                fence.write_record(server, 0, {"serial": 1, "phase": "rollback", "again": again})
            files.write(server / "closure.json", {"deploy": "two"})
        second = generation(tmp_path, "two", copy_of="one")
        generations.put(server, second)
        homes.seed(server, second)
        generations.prepare_link(server, "two")
        generations.make_current(server, "two")

        assert generations.current(server) == "two"
        assert generations.variables(server, "two") == {"KEY": "value"}
        record = files.read(server / "record.json")
        assert record is not None
        assert record["phase"] == "rollback"


def test_a_reserve_for_which_there_is_no_room_is_told_before_anything_changes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "2m") as root:
        server = root / "web1"
        server.mkdir()
        assert reserve.lacking(server) is None
        fill(server)
        assert "there is no room for what edgeguard writes while a deploy is under way" in (
            reserve.lacking(server) or ""
        )
        with pytest.raises(HostError, match="a full disk could keep this server from being opened again"):
            generations.put(server, generation(tmp_path, "one"))

        (server.parent / "filler").unlink()
        reserve.keep(server)
        reserve.keep(server)
        assert (server / "reserve").stat().st_size == reserve.SIZE
        fill(server)
        assert reserve.lacking(server) is None  # it is there
