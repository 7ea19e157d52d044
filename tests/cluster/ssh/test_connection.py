"""Acts are asked of a real host program, over a real ssh and sshd."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host.errors import HostError
from tests.cluster.ssh import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Iterator[sshd.Host]:
    with sshd.host(tmp_path) as started:
        yield started


def test_acts_are_answered_and_the_host_program_is_put_there_once(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        assert connection.ask("read_record") is None
        assert connection.change("write_record", 1, record={"serial": 1}, expected=0) is None
        assert connection.change("write_record", 1, record={"serial": 2}) is None
        assert connection.ask("read_record") == {"serial": 2, "epoch": 1}
    (there,) = (host.root / "host").iterdir()
    assert there.read_bytes() == archive.content()
    before = there.stat()
    with closing(host.connection()) as connection:
        assert connection.ask("greet")["user"] == before.st_uid
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_run_of_the_host_program_takes_much_and_says_what_it_prints(host: sshd.Host) -> None:
    asked = (b'{"id": %d, "act": "greet"}\n' % number for number in range(1, 5001))
    with closing(host.connection()) as connection:
        said = connection.stream("session", str(host.server), content=asked, limit=60)
        with pytest.raises(HostError, match="usage"):
            connection.stream("unknown", content=[b"x" * 65_536] * 100, limit=60)
    assert [json.loads(line)["id"] for line in said.splitlines()] == list(range(1, 5001))


def test_a_connection_that_is_cut_is_opened_again(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        connection.change("write_record", 1, record={"serial": 1}, expected=0)
        host.cut()
        assert connection.ask("read_record") == {"serial": 1, "epoch": 1}
        host.cut()
        connection.change("write_record", 1, record={"serial": 2})
        assert connection.ask("read_record") == {"serial": 2, "epoch": 1}


def test_an_unknown_host_key_is_named_with_what_to_do(host: sshd.Host) -> None:
    host.known.write_text("")
    with (
        closing(host.connection()) as connection,
        pytest.raises(HostError, match=r"host key of .* is not known") as told,
    ):
        connection.ask("greet")
    assert "ssh -F" in told.value.remedy
