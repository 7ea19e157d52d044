"""The gate as a proxy: what passes, what doesn't, and that nothing is ever answered twice or for somebody else."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.local.doorway import Doorway
from edgeguard.cluster.local.rules import Rules
from edgeguard.testing.acts import CLOSURE, deploy, lock
from edgeguard.testing.local import World, free_port
from edgeguard.testing.world import SERVERS, ask, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three servers behind an open gate. A test that closes it opens it again."""
    with World("local", tmp_path_factory.mktemp("site")) as world:
        lock(world)
        deploy(world, 1, world.generation("one"))
        yield world


@pytest.fixture
def closed(site: World) -> Iterator[World]:
    site.cluster.close(1, CLOSURE)
    try:
        yield site
    finally:
        site.cluster.open(1, "one")


def set_open(site: World, *, opened: bool) -> None:
    if opened:
        site.cluster.open(1, "one")
    else:
        site.cluster.close(1, CLOSURE)


def raw(site: World, sent: bytes, *, end: bool = False) -> bytes:
    """Everything that comes back over one connection until the gate ends it."""
    with socket.create_connection(site.address, timeout=10) as connection:
        connection.sendall(sent)
        if end:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


def request(target: str = "/", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: site", *lines, "", ""]).encode()


CLOSE = "Connection: close"


def test_the_servers_take_turns(site: World) -> None:
    answered = [site.ask()[1]["x-server"] for _ in range(9)]
    assert dict.fromkeys(SERVERS, 3) == {server: answered.count(server) for server in SERVERS}


def test_what_the_server_gets(site: World) -> None:
    said = {"X-Forwarded-For": "192.0.2.1", "Via": "1.1 edge", "X-Other": "kept", "X-Mine": "no", "TE": "trailers"}
    head = site.ask("/headers?a=%20b", headers={**said, "Connection": "X-Mine", "Host": "www.example.org"})[2]
    lines = head.split("\r\n")
    assert lines[0] == "GET /headers?a=%20b HTTP/1.1"
    assert {"Host: www.example.org", "X-Other: kept"} < set(lines)
    assert {"Via: 1.1 edge, 1.1 edgeguard-gate", "X-Forwarded-For: 192.0.2.1, 127.0.0.1"} < set(lines)
    assert not {"te", "x-mine", "connection"} & {line.partition(":")[0].lower() for line in lines}


def test_what_the_visitor_gets(site: World) -> None:
    release = site.cluster.state()[0].release
    _, headers, _ = site.ask()
    assert release == headers["edgeguard-release"]
    assert raw(site, request("/", CLOSE)).lower().count(b"edgeguard-release:") == 1


@pytest.mark.parametrize("status", [204, 301, 404, 500, 503])
def test_the_application_s_own_statuses_pass(site: World, status: int) -> None:
    answered, headers, _ = site.ask(f"/status?{status}")
    assert status == answered
    assert "edgeguard-closed" not in headers


@pytest.mark.parametrize("size", [0, 1, 65_536, 3_000_000])
def test_bodies_pass_both_ways(site: World, size: int) -> None:
    body = os.urandom(size // 2).hex().encode().ljust(size, b".")
    status, _, text = site.ask("/echo", method="POST", body=body)
    assert (200, body) == (status, text.encode())


def test_bodies_in_chunks_pass_both_ways(site: World) -> None:
    head = request("/echo", "Transfer-Encoding: chunked", CLOSE, method="PUT")
    answer = raw(site, head + b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: dropped\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nabc0123456789")
    answer = raw(site, request("/stream", CLOSE))
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
    assert site.ask("/stream")[2] == "onetwo"


def test_a_body_without_a_length_ends_with_the_connection(site: World) -> None:
    assert site.ask("/until-close")[2] == "until the end"
    old = raw(site, b"GET /until-close HTTP/1.0\r\n\r\n")
    assert old.endswith(b"\r\n\r\nuntil the end")
    assert b"chunked" not in old
    assert raw(site, b"GET /stream HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nonetwo")


def test_head_has_no_body_and_its_connection_goes_on(site: World) -> None:
    answers = raw(site, request(method="HEAD") + request("/", CLOSE))
    assert answers.count(b"HTTP/1.1 200") == 2
    assert answers.count(b"\r\n\r\none") == 1


def test_requests_that_are_sent_ahead_are_answered_in_their_order(site: World) -> None:
    ahead = b"".join(request(f"/status?{status}") for status in (201, 202, 404)) + request("/", CLOSE)
    answers = raw(site, b"\r\n" + ahead)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"201", b"202", b"404", b"200"]


def test_expect_100_continue(site: World) -> None:
    with socket.create_connection(site.address, timeout=10) as connection:
        connection.sendall(request("/echo", "Content-Length: 5", "Expect: 100-continue", CLOSE, method="POST"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        answer = b""
        while piece := connection.recv(1000):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hello")


def test_absolute_targets_and_empty_lines_before_a_request(site: World) -> None:
    answer = raw(
        site, b"\r\nGET http://example.org/headers?x HTTP/1.1\r\nHost: Example.org\r\nConnection: close\r\n\r\n"
    )
    assert b"GET /headers?x HTTP/1.1\r\nHost: example.org\r\n" in answer


BAD: dict[str, tuple[bytes, int]] = {
    "nonsense": (b"\x16\x03\x01 hello\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "another version": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (request("/", "Host: other"), 400),
    "a connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space before the colon": (request("/", "X : y"), 400),
    "a folded header": (request("/", "X: y", " z"), 400),
    "a bare line feed": (b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    "a nul": (request("/", "X: \0"), 400),
    "two lengths": (request("/", "Content-Length: 1", "Content-Length: 2", method="POST"), 400),
    "the same length twice": (request("/", "Content-Length: 1", "Content-Length: 1", method="POST"), 400),
    "a control character": (request("/", "X: a\x01b"), 400),
    "userinfo in the target": (request("http://me@site/"), 400),
    "userinfo in the host": (b"GET / HTTP/1.1\r\nHost: me@site\r\n\r\n", 400),
    "a signed length": (request("/", "Content-Length: +1", method="POST"), 400),
    "length and chunks": (request("/", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"), 400),
    "another coding": (request("/", "Transfer-Encoding: gzip, chunked", method="POST"), 501),
    "a long head": (request("/", "X: " + "y" * 70_000), 431),
    "a long target": (request("/" + "y" * 70_000), 431),
    "half a head": (b"GET / HT", 400),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_request_is_refused_and_ends_the_connection(site: World, name: str) -> None:
    sent, status = BAD[name]
    answer = raw(site, sent + (b"" if name == "half a head" else request()), end=True)
    assert f"HTTP/1.1 {status} ".encode() == answer[:13]
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_server_that_drops_the_connection_is_a_502_that_nobody_keeps(site: World) -> None:
    status, headers, _ = site.ask("/drop")
    assert (status, headers["cache-control"]) == (502, "no-store")
    status, _, _ = site.ask("/drop", method="POST", body=b"x")
    assert status == 502


def test_a_connection_that_a_server_lets_go_costs_no_visitor_an_error(site: World) -> None:
    for path in ("/bye", "/") * 5:
        assert [site.ask(path)[0] for _ in SERVERS] == [200] * 3


def test_what_can_t_be_repeated_is_never_sent_twice(site: World, tmp_path: Path) -> None:
    for turn in range(3):
        assert site.ask("/bye")[0] == 200
        assert site.ask(f"/drop?{tmp_path}/{turn}", method="POST", body=b"x")[0] == 502
        assert (tmp_path / str(turn)).read_text(encoding="ascii") == "asked "


def test_half_an_answer_does_not_look_whole(site: World) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        site.ask("/short")
    assert site.ask()[0] == 200


def test_a_visitor_who_leaves_while_sending_leaves_nothing_in_flight(site: World) -> None:
    with socket.create_connection(site.address) as connection:
        connection.sendall(request("/echo", "Content-Length: 1000", method="POST") + b"half")
    with socket.create_connection(site.address) as connection:
        connection.sendall(request("/echo", "Transfer-Encoding: chunked", method="POST") + b"5\r\nha")
    site.cluster.close(1, CLOSURE)
    assert site.cluster.drain(1, 5) == 0
    site.cluster.open(1, "one")


def test_no_visitor_notices_one_dead_server_of_three(tmp_path: Path) -> None:
    """While a server is down its turn goes to the next one."""
    with World("local", tmp_path) as world:
        lock(world)
        deploy(world, 1, world.generation("one", start=f"[ -e {world.scratch}/gone ] && exit 1; {world.serve}"))
        world.touch("gone")
        world.end_web_process("web2")
        until(lambda: world.cluster.state()[1].deaths > 0, "it is dead")
        assert [world.ask()[0] for _ in range(30)] == [200] * 30


def test_connection_can_t_name_the_headers_that_frame_or_identify_a_request(site: World) -> None:
    """The body of a request whose length was dropped would be the next request on the server's connection."""
    kept = ("Content-Length: 3", "Cookie: a=b", "Authorization: Basic eA==", "X-Mine: no")
    named = "Connection: close, Content-Length, Host, Cookie, Authorization, X-Mine"
    head = raw(site, request("/headers", named, "Content-Length: 0", *kept[1:]))
    assert all(line.encode() in head for line in ("Host: site", *kept[1:3]))
    assert b"X-Mine" not in head
    assert raw(site, request("/echo", named, *kept, method="POST") + b"abc").endswith(b"\r\n\r\nabc")


def answer_twice(listener: socket.socket) -> None:
    """A server that sends one answer too many over its first connection, and whole answers over all others."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    extra = answer + b"evil"
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while connection.recv(65_536):
                connection.sendall(answer + b"good" + extra)
                extra = b""


def test_bytes_that_a_server_sent_too_much_are_nobody_s_answer() -> None:
    async def ask_thrice(port: int) -> list[bytes]:
        doorway = Doorway(Rules(open=True, addresses=(port,)), lambda: None)
        gate = await asyncio.start_server(doorway.serve, "127.0.0.1", 0)
        answers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*gate.sockets[0].getsockname())
            writer.write(request("/", CLOSE))
            answers.append((await asyncio.wait_for(reader.read(), 10))[-4:])
            writer.close()
        doorway.forget_connections()
        gate.close()
        return answers

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer_twice, args=(listener,), daemon=True).start()
        assert asyncio.run(ask_thrice(listener.getsockname()[1])) == [b"good"] * 3


def test_an_upgrade_passes_both_ways_is_in_flight_while_open_and_can_be_cut() -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        try:
            while piece := await reader.read(100):
                writer.write(piece)
            writer.write(b"end")
        except ConnectionError:
            pass  # cut
        finally:
            writer.close()

    async def play() -> None:
        server = await asyncio.start_server(switch, "127.0.0.1", 0)
        rules = Rules(open=True, addresses=(server.sockets[0].getsockname()[1],))
        doorway = Doorway(rules, lambda: None)
        gate = await asyncio.start_server(doorway.serve, "127.0.0.1", 0)

        async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
            reader, writer = await asyncio.open_connection(*gate.sockets[0].getsockname())
            writer.write(request("/ws", "Upgrade: websocket", "Connection: Upgrade"))
            return reader, writer, await reader.readuntil(b"\r\n\r\n")

        reader, writer, head = await opened()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nUpgrade: websocket\r\n" in head
        assert await reader.readexactly(5) == b"hello"
        writer.write(b"both ways")
        assert await reader.readexactly(9) == b"both ways"
        assert doorway.in_flight == 1
        writer.write_eof()
        assert await reader.read() == b"end"
        writer.close()
        reader, writer, _ = await opened()
        doorway.rules = Rules()
        _, refused, head = await opened()
        assert head.startswith(b"HTTP/1.1 500 ")
        refused.close()
        assert doorway.cut() == 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(6)
        writer.close()
        gate.close()
        server.close()
        await asyncio.sleep(0.1)  # the connections close

    asyncio.run(asyncio.wait_for(play(), 20))


@pytest.mark.parametrize("trailers", [b"X: " + b"y" * 70_000, b"X: y\r\n" * 3000], ids=["long", "many"])
def test_trailers_have_a_limit_and_leave_nothing_in_flight(site: World, trailers: bytes) -> None:
    with socket.create_connection(site.address) as connection:
        connection.sendall(request("/echo", "Transfer-Encoding: chunked", method="POST") + b"0\r\n" + trailers)
        site.cluster.close(1, CLOSURE)
        assert site.cluster.drain(1, 5) == 0
        site.cluster.open(1, "one")


def test_many_at_once(site: World) -> None:
    def visit(number: int) -> bool:
        connection = http.client.HTTPConnection(*site.address, timeout=20)
        try:
            for turn in range(20):
                body = f"{number}-{turn}" * 50
                connection.request("POST" if turn % 2 else "PUT", "/echo", body=body.encode())
                if connection.getresponse().read().decode() != body:
                    return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(30) as threads:
        assert all(threads.map(visit, range(30)))


# Closed


def test_closed_keeps_connections_honest(closed: World) -> None:
    """The bodies of refused requests are not taken for requests."""
    smuggled = request("/smuggled")
    first = request("/", f"Content-Length: {len(smuggled)}", method="POST") + smuggled
    answers = raw(closed, first + request(method="HEAD") + request("/", CLOSE))
    assert answers.count(b"HTTP/1.1 500 ") == 3
    assert answers.count(b"\r\n\r\nclosed\n") == 2


@pytest.mark.parametrize(
    "lines",
    [("Content-Length: 50000000",), ("Transfer-Encoding: chunked",), ("Content-Length: 5", "Expect: 100-continue")],
)
def test_closed_answers_before_a_body_has_come_and_then_ends(closed: World, lines: tuple[str, ...]) -> None:
    answer = raw(closed, request("/", *lines, method="POST"), end=True)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"100 Continue" not in answer


def test_closed_is_seen_at_once_over_a_connection_kept_from_before(site: World) -> None:
    connection = http.client.HTTPConnection(*site.address, timeout=10)
    seen = []
    try:
        for turn in range(3):
            set_open(site, opened=turn != 1)
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.status)
    finally:
        connection.close()
    assert seen == [200, 500, 200]


def test_a_request_whose_head_was_half_sent_before_the_close_is_refused(site: World) -> None:
    with socket.create_connection(site.address, timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        time.sleep(0.05)
        site.cluster.close(1, CLOSURE)
        assert site.cluster.drain(1, 5) == 0
        connection.sendall(b" x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 500 ")
    site.cluster.open(1, "one")


def test_a_slow_reader_is_in_flight_until_it_has_everything(site: World) -> None:
    body = b"x" * 20_000_000
    with socket.create_connection(site.address, timeout=10) as connection:
        sender = threading.Thread(
            target=connection.sendall,
            args=(request("/echo", f"Content-Length: {len(body)}", CLOSE, method="POST") + body,),
        )
        sender.start()
        assert connection.recv(10).startswith(b"HTTP/1.1 ")
        sender.join()
        site.cluster.close(1, CLOSURE)
        assert site.cluster.drain(1, 0.1) == 1
    site.cluster.open(1, "one")


# The gate's own process


def test_a_gate_that_was_killed_comes_back_as_it_was(site: World) -> None:
    for opened, status in ((False, 500), (True, 200)):
        set_open(site, opened=opened)
        site.end_gate()
        assert [state.open for state in site.cluster.state()] == [False] * 3
        with pytest.raises(OSError, match=r"refused|reset"):
            site.ask()
        site.cluster.stage(1, site.generation(f"after-{status}"))
        assert status == site.ask()[0]


def test_a_gate_without_orders_is_closed(tmp_path: Path) -> None:
    with World("local", tmp_path) as fresh:
        lock(fresh)
        fresh.cluster.stage(1, fresh.generation("one"))
        status, headers, _ = fresh.ask()
        assert (status, headers["edgeguard-closed"]) == (500, "none; until=1970-01-01T00:00:00Z")


def test_the_gate_moves_to_another_port(site: World) -> None:
    port = free_port()
    moved = site.again(options={**site.settings()["options"], "gate_port": port})
    moved.open(1, "one")
    assert ask(("127.0.0.1", port))[0] == 200
    with pytest.raises(OSError, match="refused"):
        site.ask()
    site.cluster.open(1, "one")
    assert site.ask()[0] == 200
