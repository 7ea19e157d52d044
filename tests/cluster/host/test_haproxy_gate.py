"""The gate of a host, with a real HAProxy: nothing passes but what it was opened for."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.haproxy import Gate
from edgeguard.cluster.host.haproxy_rules import configuration
from tests.cluster.host.haproxy_world import CLOSED, UNTIL, Host, host, tunnel, until
from tests.cluster.surrogate_cases import CEILING, LASTING, OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def web() -> Iterator[Host]:
    with host() as made:
        yield made


@pytest.fixture(scope="module")
def site() -> Iterator[Host]:
    """A host whose gate stays open."""
    with host(ceiling=CEILING) as made:
        made.gate.open("one")
        yield made


def is_closed(web: Host, text: str = CLOSED) -> None:
    for method in ("GET", "HEAD", "POST"):
        before = web.asked.total()
        status, headers, said = web.ask("/any?thing", method=method)
        assert (status, said) == (500, "" if method == "HEAD" else "closed\n")
        assert (headers["retry-after"], headers["cache-control"]) == ("30", "no-store")
        assert headers["edgeguard-closed"] == text
        assert "edgeguard-release" not in headers
        assert web.asked.total() == before
    assert not web.gate.opened()


def is_open(web: Host, release: str = "one") -> None:
    status, headers, _ = web.ask()
    assert (status, headers["edgeguard-release"]) == (200, release)
    assert "edgeguard-closed" not in headers
    assert web.gate.opened()


def test_a_gate_that_nobody_opened_is_closed(web: Host) -> None:
    assert web.gate.alive()
    is_closed(web, "none; until=1970-01-01T00:00:00Z")


def test_it_opens_closes_and_says_for_whom(web: Host) -> None:
    web.gate.open("one")
    is_open(web)
    web.gate.close("d-42", UNTIL)
    is_closed(web)
    odd = r"""a\b"c'd#e$f%{g}<<"""
    web.gate.close(odd, UNTIL)
    is_closed(web, f"{odd}; until=2027-01-15T08:00:00Z")
    web.restart()
    is_closed(web, f"{odd}; until=2027-01-15T08:00:00Z")
    web.gate.open("two")
    web.gate.open("two")
    is_open(web, "two")


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a\nb", "ä", "a" * 129])
def test_a_name_that_no_header_can_hold_is_refused(web: Host, name: str) -> None:
    with pytest.raises(HostError, match="can't name"):
        web.gate.close(name, UNTIL)
    with pytest.raises(HostError, match="can't name"):
        web.gate.open(name)
    is_closed(web, "none; until=1970-01-01T00:00:00Z")


def test_status_retry_after_and_check_path_are_settings() -> None:
    with host(closed_status=503, retry_after=7, check_path="/edge-check") as web:
        web.gate.close("d-42", UNTIL)
        status, headers, _ = web.ask("/edge-check?x")
        assert (status, headers["cache-control"], headers["edgeguard-closed"]) == (200, "no-store", CLOSED)
        for path in ("/edge-check/more", "/"):
            status, headers, _ = web.ask(path)
            assert (status, headers["retry-after"]) == (503, "7")
        web.gate.open("one")
        assert "edgeguard-closed" not in web.ask("/edge-check")[1]
        assert web.asked["/edge-check"] == 1


def test_no_request_is_let_through_after_the_close_and_none_is_refused_after_the_opening(web: Host) -> None:
    """Three kept-alive connections ask without a pause while the gate closes, drains and opens."""
    asked: list[tuple[float, float, int]] = []
    stop = threading.Event()

    def hammer() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        mine = []
        while not stop.is_set():
            began = time.monotonic()
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            mine.append((began, time.monotonic(), answer.status))
        connection.close()
        asked.extend(mine)

    web.gate.open("one")
    closures: list[tuple[float, float, float, float]] = []
    with ThreadPoolExecutor(3) as threads:
        hammers = [threads.submit(hammer) for _ in range(3)]
        try:
            for number in range(10):
                closing = time.monotonic()
                web.gate.close(f"d-{number}", UNTIL)
                closed = time.monotonic()
                until(lambda: web.gate.in_flight() == 0)
                reached = web.asked.total()
                time.sleep(0.02)
                assert web.asked.total() == reached
                opening = time.monotonic()
                web.gate.open(f"r-{number}")
                closures.append((closing, closed, opening, time.monotonic()))
                time.sleep(0.01)
        finally:
            stop.set()
        for future in hammers:
            future.result()
    assert {status for _, _, status in asked} == {200, 500}
    for began, ended, status in asked:
        inside = any(closed < began and ended < opening for _, closed, opening, _ in closures)
        outside = all(ended < closing or began > opened for closing, _, _, opened in closures)
        assert not (inside and status == 200)
        assert not (outside and status == 500)


def test_a_restart_is_as_it_was(web: Host) -> None:
    web.gate.close("d-42", UNTIL)
    web.restart()
    is_closed(web)
    web.gate.open("one")
    web.restart()
    is_open(web)


DYING = """
import sys
from pathlib import Path
from edgeguard.cluster.host.haproxy import Gate
from edgeguard.cluster.host.haproxy_rules import configuration
gate = Gate(Path(sys.argv[1]), limit=30)
sys.stdin.readline()
if sys.argv[2] == "close":
    gate.close("d-42", 1_800_000_000)
else:
    gate.open("two")
"""


def dies_between(web: Host, act: str) -> None:
    """A program that closes, or opens, and is killed when only the first half is done."""
    with subprocess.Popen([sys.executable, "-c", DYING, web.folder, act], stdin=subprocess.PIPE) as process:
        assert web.process is not None
        assert process.stdin is not None
        before = web.gate.state.read_bytes()
        if act == "close":
            web.process.send_signal(signal.SIGSTOP)  # memory can't be reached
        else:
            os.mkfifo(web.gate.folder / f".state.{process.pid}.tmp")  # nobody reads it, so the disk can't be written
        process.stdin.write(b"\n")
        process.stdin.flush()
        try:
            until(lambda: web.gate.state.read_bytes() != before if act == "close" else web.gate.opened())
        finally:
            process.kill()
            process.wait()
            web.process.send_signal(signal.SIGCONT)


def test_a_closer_that_dies_between_disk_and_memory_leaves_it_as_before_and_a_restart_is_closed(web: Host) -> None:
    web.gate.open("one")
    dies_between(web, "close")
    is_open(web)
    web.restart()
    is_closed(web)


def test_an_opener_that_dies_between_memory_and_disk_leaves_a_restart_closed(web: Host) -> None:
    web.gate.close("d-42", UNTIL)
    dies_between(web, "open")
    is_open(web, "two")
    web.restart()
    is_closed(web)


def test_an_opening_that_the_disk_refuses_is_taken_back(web: Host) -> None:
    web.gate.close("d-42", UNTIL)
    (web.gate.folder / f".state.{os.getpid()}.tmp").mkdir()
    with pytest.raises(HostError, match="can't be written"):
        web.gate.open("one")
    is_closed(web)


@pytest.mark.parametrize(
    "there",
    [
        b"",
        b"gate\n",
        b"gate Open one\n",
        b"gate opened\n",
        b"gate open\n",
        b"gates open one\n",
        b"#gate open one\n",
        b"\xff\n",
    ],
)
def test_a_damaged_state_is_closed(web: Host, there: bytes) -> None:
    web.gate.state.write_bytes(there)
    web.restart()
    is_closed(web, "none; until=1970-01-01T00:00:00Z")
    web.gate.open("one")
    is_open(web)
    web.gate.close("d-42", UNTIL)
    is_closed(web)


def test_without_a_state_it_does_not_start_until_it_is_closed(web: Host) -> None:
    web.gate.open("one")
    web.gate.state.unlink()
    web.restart()
    assert web.process is not None
    assert web.process.poll() is not None
    assert (web.gate.alive(), web.gate.opened(), web.gate.in_flight()) == (False, False, 0)
    with pytest.raises(HostError, match="not running"):
        web.gate.open("one")
    web.gate.close("d-42", UNTIL)
    web.restart()
    is_closed(web)


def test_what_was_let_through_is_counted_until_it_is_answered(web: Host) -> None:
    web.gate.open("one")
    with ThreadPoolExecutor(1) as threads, tunnel(web) as connection:
        slow = threads.submit(web.ask, "/wait")
        until(lambda: web.asked["/wait"])
        web.gate.close("d-42", UNTIL)
        is_closed(web)
        assert web.gate.in_flight() == 2
        web.go.set()
        assert slow.result()[:2][0] == 200
        until(lambda: web.gate.in_flight() == 1)
        connection.sendall(b"still")
        assert connection.recv(5) == b"still"
    until(lambda: web.gate.in_flight() == 0)
    assert web.gate.cut() == 0


def test_a_cut_ends_requests_and_tunnels_without_an_answer(web: Host) -> None:
    web.gate.open("one")
    with ThreadPoolExecutor(1) as threads, tunnel(web) as connection:
        slow = threads.submit(web.ask, "/wait")
        until(lambda: web.asked["/wait"])
        web.gate.close("d-42", UNTIL)
        assert web.gate.cut() == 2
        assert web.gate.in_flight() == 0
        assert connection.recv(100) == b""
        with pytest.raises((OSError, http.client.HTTPException)):
            slow.result()
    is_closed(web)


def half_asked(web: Host) -> socket.socket:
    """A connection that was used once, and has sent a part of the next request."""
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=20)
    connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert connection.recv(4096).startswith(b"HTTP/1.")
    connection.sendall(b"GET /half HTTP/1.1\r\nHost: a\r\n")
    return connection


def test_the_old_process_of_a_reload_is_closed_counted_and_cut(web: Host) -> None:
    """It keeps its connections and a map of its own: a request that it has read in part is refused, too."""
    web.gate.open("one")
    with ThreadPoolExecutor(1) as threads, tunnel(web) as connection, half_asked(web) as half:
        slow = threads.submit(web.ask, "/wait")
        until(lambda: web.asked["/wait"])
        web.reload()
        is_open(web)
        assert len(web.workers()) == 2
        web.gate.close("d-42", UNTIL)
        half.sendall(b"\r\n")
        assert half.recv(4096).startswith(b"HTTP/1.1 500 ")
        assert web.asked["/half"] == 0
        assert web.gate.in_flight() == 2
        assert web.gate.cut() == 2
        assert connection.recv(100) == b""
        with pytest.raises((OSError, http.client.HTTPException)):
            slow.result()
    until(lambda: len(web.workers()) == 1)
    is_closed(web)


@pytest.mark.parametrize("act", ["close", "open"])
def test_an_act_during_a_reload_holds_for_every_process(web: Host, act: str) -> None:
    """The reload reads the disk at any moment around the act."""
    closing = act == "close"
    assert web.process is not None
    for number in range(10):
        if closing:
            web.gate.open("one")
        else:
            web.gate.close("d-42", UNTIL)
        web.process.send_signal(signal.SIGUSR2)
        time.sleep(number * 0.003)
        if closing:
            web.gate.close("d-42", UNTIL)
        else:
            web.gate.open("two")
        assert {web.ask()[0] for _ in range(20)} == {500 if closing else 200}
        until(lambda: len(web.workers()) == 1)
        assert web.gate.opened() is not closing


def test_an_opening_holds_after_a_reload_while_the_disk_is_slow(web: Host) -> None:
    class Slow(Gate):
        def _write(self, value: str) -> None:
            web.reload()
            super()._write(value)

    web.gate.close("d-42", UNTIL)
    Slow(web.folder).open("one")
    assert {web.ask()[0] for _ in range(20)} == {200}
    Slow(web.folder).close("d-42", UNTIL)
    assert {web.ask()[0] for _ in range(20)} == {500}


def test_a_close_while_it_starts_is_waited_for(web: Host) -> None:
    """It reads the disk before it can be spoken to: what it has read is known only then."""
    for number in range(10):
        web.gate.open("one")
        web.end()
        with ThreadPoolExecutor(1) as threads:
            started = threads.submit(web.start)
            time.sleep(number * 0.004)
            web.gate.close("d-42", UNTIL)
            started.result()
        is_closed(web)


def test_a_gate_whose_master_was_killed_is_never_believed_to_be_open(web: Host) -> None:
    web.gate.open("one")
    assert web.process is not None
    web.process.kill()
    web.process.wait()
    until(lambda: not web.gate.runs())
    assert (web.gate.alive(), web.gate.opened()) == (False, False)
    web.gate.close("d-42", UNTIL)
    web.start()
    is_closed(web)


def test_processes_that_serve_may_be_another_user_s() -> None:
    """They can't read the state, which the master reads for them, also when it is reloaded."""
    user = "haproxy" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with host(user=user) as web:
        web.gate.open("one")
        web.reload()
        is_open(web)
        assert {Path(f"/proc/{worker}").stat().st_uid for worker in web.workers()} == {pwd.getpwnam(user).pw_uid}
        web.gate.close("d-42", UNTIL)
        is_closed(web)


def test_a_gate_that_is_not_ours_is_closed_as_far_as_it_can_be_and_not_believed(web: Host) -> None:
    web.gate.open("one")
    ours = web.configuration()
    web.gate.configuration.write_text(ours.replace("retries 0", "retries 3"), encoding="utf-8")
    with pytest.raises(HostError, match="was changed by somebody"):
        web.gate.open("one")
    with pytest.raises(HostError, match="was changed by somebody"):
        web.gate.close("d-42", UNTIL)
    is_closed(web)
    web.gate.configuration.unlink()
    with pytest.raises(HostError, match="is missing"):
        web.gate.open("one")
    assert web.gate.put(web.configuration(retry_after=7))
    with pytest.raises(HostError, match="runs with another configuration"):
        web.gate.open("one")
    web.reload()
    web.gate.open("one")
    assert not web.gate.put(web.configuration(retry_after=7))


def test_a_process_without_our_map_is_named_and_the_others_are_closed(web: Host) -> None:
    web.gate.open("one")
    foreign = web.configuration().replace(f"map({web.gate.state})", f"map({web.folder}/other)")
    (web.folder / "other").write_text("gate open one\n", encoding="utf-8")
    web.gate.configuration.write_text(foreign, encoding="utf-8")
    with half_asked(web) as half:
        web.reload()
        with pytest.raises(HostError, match="follows another configuration"):
            web.gate.opened()
        with pytest.raises(HostError, match="follows another configuration"):
            web.gate.close("d-42", UNTIL)
        half.sendall(b"\r\n")
        assert half.recv(4096).startswith(b"HTTP/1.1 500 ")


def test_a_socket_that_is_gone_or_hangs_is_named(web: Host) -> None:
    impatient = Gate(web.folder, limit=0.3)
    web.gate.open("one")
    assert web.process is not None
    web.process.send_signal(signal.SIGSTOP)
    with pytest.raises(HostError, match="does not answer"):
        impatient.close("d-42", UNTIL)
    web.process.send_signal(signal.SIGCONT)
    web.gate.close("d-43", UNTIL)
    is_closed(web, CLOSED.replace("d-42", "d-43"))
    web.gate.master.rename(web.folder / "aside")
    with pytest.raises(HostError, match="is gone, though the gate runs"):
        impatient.close("d-42", UNTIL)
    with pytest.raises(HostError, match="is gone, though the gate runs"):
        impatient.alive()
    web.gate.master.mkdir()
    with pytest.raises(HostError, match=r"can't be used|is gone"):
        impatient.alive()
    web.gate.master.rmdir()
    (web.folder / "aside").rename(web.gate.master)
    web.gate.close("d-42", UNTIL)
    is_closed(web)


@pytest.mark.parametrize("status", [200, 304])
@pytest.mark.parametrize(("headers", "expected"), LASTING)
def test_a_lifetime_is_given_the_ceiling(
    site: Host, status: int, headers: dict[str, str], expected: str | None
) -> None:
    _, said, _ = site.ask(f"/said?{status}&{quote(json.dumps(headers))}")
    assert said.get("surrogate-control") == (headers.get("surrogate-control") if expected is None else expected)


@pytest.mark.parametrize("status", OTHERS)
def test_other_answers_are_left_alone(site: Host, status: int) -> None:
    _, said, _ = site.ask(f"/said?{status}&{quote(json.dumps({'cache-control': 'max-age=1'}))}")
    assert "surrogate-control" not in said


def test_what_the_application_gets(site: Host) -> None:
    _, _, text = site.ask(headers={"X-Forwarded-For": "192.0.2.1", "Via": "1.1 edge"})
    lines = text.lower().splitlines()
    assert {"via: 1.1 edge, 1.1 edgeguard-gate", "x-forwarded-for: 192.0.2.1, 127.0.0.1"} < set(lines)
    _, _, text = site.ask(
        headers={"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABk"}
    )
    lines = text.lower().splitlines()
    assert {"via: 1.1 edgeguard-gate", "x-forwarded-for: 127.0.0.1"} < set(lines)
    assert "h2c" not in text


@pytest.mark.parametrize(
    ("name", "value"), [("listen", "*:80\n    bind *:81"), ("listen", "80"), ("check_path", "/a'b"), ("user", "a b")]
)
def test_what_can_t_stand_in_the_configuration_is_refused(name: str, value: str) -> None:
    with pytest.raises(HostError, match="can't stand"):
        configuration(Path("/srv/site/gate"), app_port=8888, **{name: value})  # type: ignore[arg-type]  # one of them
    with pytest.raises(HostError, match="can't stand"):
        configuration(Path("/srv/my site/gate"), app_port=8888)
    with pytest.raises(HostError, match="too long"):
        configuration(Path(f"/srv/{'a' * 80}/gate"), app_port=8888)
