"""Acts are asked of a real host program, over a real ssh and sshd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host.errors import FENCED, HostError
from tests.cluster.ssh import sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgeguard.cluster.ssh.connection import Connection

OWNER = """
import sys, time
from pathlib import Path
from edgeguard.cluster.ssh.connection import Connection, Target
host, root, folder = sys.argv[1:]
print(Connection(Target("web1", "web1", config=host), Path(root), Path(folder)).ask("greet")["user"], flush=True)
time.sleep(600)
"""


def program(host: sshd.Host) -> int:
    """The process of the host program that serves the newest connection."""
    running = [pid for pid in host.sessions() if b".pyz\0session" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return max(running, key=lambda pid: Path(f"/proc/{pid}").stat().st_mtime_ns)


def write(connection: Connection, record: dict[str, object], expected: int | None = None) -> None:
    connection.change("write_record", 1, record=record, expected=expected)


def test_acts_are_answered_and_the_host_program_is_put_there_once(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        assert connection.ask("read_record") is None
        write(connection, {"serial": 1}, expected=0)
        write(connection, {"serial": 2})
        assert connection.ask("read_record") == {"serial": 2, "epoch": 1}
    (there,) = (host.root / "host").iterdir()
    assert there.read_bytes() == archive.content()
    before = there.stat()
    with closing(host.connection()) as connection:
        assert connection.ask("greet")["user"] == before.st_uid
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_error_of_an_act_comes_with_its_code_and_the_connection_goes_on(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        write(connection, {}, expected=0)
        with pytest.raises(HostError) as told:
            connection.change("write_record", 2, record={}, expected=0)
        assert (told.value.code, bool(told.value.remedy)) == (FENCED, True)
        with pytest.raises(HostError, match="there is no act"):
            connection.ask("nothing")
        assert connection.ask("read_record") == {"epoch": 1}


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless")
def test_threads_share_a_connection_and_no_change_of_theirs_is_late(host: sshd.Host) -> None:
    with closing(host.connection()) as connection, ThreadPoolExecutor(8) as threads:
        write(connection, {}, expected=0)
        done = [threads.submit(write, connection, {"n": n}) for n in range(200)]
        asked = [threads.submit(connection.ask, "read_record") for _ in range(50)]
        assert [each.result() for each in done] == [None] * 200
        assert all(each.result()["epoch"] == 1 for each in asked)
        assert len(host.sessions()) <= 3


def test_a_run_of_the_host_program_takes_much_and_says_what_it_prints(host: sshd.Host) -> None:
    asked = (b'{"id": %d, "act": "greet"}\n' % number for number in range(1, 5001))
    with closing(host.connection()) as connection:
        said = connection.stream("session", str(host.server), content=asked, limit=60)
        with pytest.raises(HostError, match="usage"):
            connection.stream("unknown", content=[b"x" * 65_536] * 100, limit=60)
    assert [json.loads(line)["id"] for line in said.splitlines()] == list(range(1, 5001))


def endless() -> Iterator[bytes]:
    for number in count(1):
        yield b'{"id": %d, "act": "greet"}\n' % number


def broken_off() -> Iterator[bytes]:
    yield b'{"id": 1, "act": "greet"}\n'
    raise OSError("the disk")


def test_a_run_of_the_host_program_has_its_limits(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        with pytest.raises(HostError, match="session prints more than 8388608 bytes"):
            connection.stream("session", str(host.server), content=endless(), limit=120)
        with pytest.raises(HostError, match="session did not end within 1 s"):
            connection.stream("session", str(host.server), content=slowly(), limit=1)
        with pytest.raises(OSError, match="the disk"):
            connection.stream("session", str(host.server), content=broken_off(), limit=60)


def slowly() -> Iterator[bytes]:
    for _ in range(20):
        time.sleep(0.1)
        yield b""


def test_a_connection_that_is_cut_is_opened_again(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        write(connection, {"serial": 1}, expected=0)
        host.cut()
        assert connection.ask("read_record") == {"serial": 1, "epoch": 1}
        host.cut()
        write(connection, {"serial": 2})
        assert connection.ask("read_record") == {"serial": 2, "epoch": 1}


def test_a_change_that_was_cut_off_is_repeated_and_comes_late_for_nobody(host: sshd.Host) -> None:
    """The host program of the first connection is stopped when it is asked, and goes on when all is done again."""
    with closing(host.connection()) as connection, ThreadPoolExecutor(2) as threads:
        write(connection, {"n": 1}, expected=0)
        old = program(host)
        os.kill(old, signal.SIGSTOP)
        try:
            looked, changed = threads.submit(connection.ask, "read_record"), threads.submit(write, connection, {"n": 2})
            sshd.until(lambda: not (looked.done() or changed.done()))
            host.cut()
            changed.result()
            assert looked.result()["n"] in (1, 2)
            write(connection, {"n": 3})
        finally:
            os.kill(old, signal.SIGCONT)
        sshd.until(lambda: not Path(f"/proc/{old}").exists())
        assert connection.ask("read_record") == {"n": 3, "epoch": 1}


def test_of_two_runners_the_newer_session_shuts_out_the_older(host: sshd.Host) -> None:
    with closing(host.connection()) as older, closing(host.connection()) as newer:
        write(older, {"of": "older"}, expected=0)
        write(newer, {"of": "newer"})
        with pytest.raises(HostError, match="a newer session is at work here") as told:
            write(older, {"of": "older"})
        assert told.value.code == FENCED
        assert newer.ask("read_record") == {"of": "newer", "epoch": 1}


def test_a_host_program_that_does_not_answer_is_given_up_and_started_anew(host: sshd.Host) -> None:
    with closing(host.connection()) as connection:
        connection.ask("greet")
        stopped = program(host)
        os.kill(stopped, signal.SIGSTOP)
        try:
            with pytest.raises(HostError, match="no answer to greet within 1 s"):
                connection.ask("greet", within=1)
            assert connection.ask("greet")["user"] == os.geteuid()
        finally:
            os.kill(stopped, signal.SIGKILL)


def test_a_closed_connection_says_so_and_can_be_closed_again(host: sshd.Host) -> None:
    connection = host.connection()
    connection.ask("greet")
    connection.close()
    connection.close()
    with pytest.raises(HostError, match="the connection was closed"):
        connection.ask("greet")
    sshd.until(lambda: not host.sessions())


def test_a_connection_that_is_closed_tells_whoever_waits(host: sshd.Host) -> None:
    connection = host.connection()
    connection.ask("greet")
    os.kill(program(host), signal.SIGSTOP)
    stopped = program(host)
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(connection.ask, "greet")
        sshd.until(lambda: len(threading.enumerate()) > 2)
        connection.close()
        with pytest.raises(HostError, match="the connection was closed"):
            waits.result()
    os.kill(stopped, signal.SIGKILL)


def test_ssh_ends_with_the_process_that_had_the_connection(host: sshd.Host) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, host.config, host.root, host.server], stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline()) == os.geteuid()
        (ssh,) = (pid for pid in sshd.processes_of(owner.pid) if pid not in host.sessions())
        owner.kill()
    sshd.until(lambda: not Path(f"/proc/{ssh}").exists() and not host.sessions())
