"""The gate's limits: whoever is gone, silent or slow for too long is let go, and counts as in flight no longer."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import output
from edgeguard.cluster.local.daemon import DaemonProcess
from edgeguard.cluster.local.doorway import Doorway
from edgeguard.cluster.local.rules import Limits, Patience, Rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FOREVER = Limits(head=600, patience=600, rate=1, connect=600, answer=600, tunnel=600, linger=600)
"""Limits that a test never reaches; each test shortens the one that it is about."""
POST = b"POST / HTTP/1.1\r\nHost: site\r\n"
GET = b"GET / HTTP/1.1\r\nHost: site\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: site\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and answer nothing."""
    with suppress(OSError):
        while await reader.read(65_536):
            pass
    writer.close()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer without an end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with suppress(OSError):
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the first half, and then nothing."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await never(reader, writer)


async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Change the protocol, and then say nothing."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    await never(reader, writer)


@asynccontextmanager
async def gate(answer: Answer, limits: Limits, *, opened: bool = True) -> AsyncIterator[tuple[Doorway, int]]:
    """A gate in front of one server that answers so."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    rules = Rules(open=opened, addresses=(server.sockets[0].getsockname()[1],))
    doorway = Doorway(rules, lambda: None, limits)
    listener = await asyncio.start_server(doorway.serve, "127.0.0.1", 0)
    try:
        yield doorway, listener.sockets[0].getsockname()[1]
    finally:
        doorway.cut(everything=True)
        listener.close()
        server.close()
        await asyncio.sleep(0.05)  # the connections close


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("sent", "answer", "limits"),
    [
        (POST + b"Content-Length: 9\r\n\r\nhalf", never, {"patience": 0.2}),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", never, {"patience": 0.2}),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n", never, {"patience": 0.2}),
        (GET, endless, {"patience": 0.2}),
        (GET, never, {"answer": 0.2}),
        (GET, half, {"answer": 0.2}),
        (UPGRADE, switch, {"tunnel": 0.2}),
    ],
    ids=["length", "chunk", "trailers", "reads nothing", "silent server", "half an answer", "silent tunnel"],
)
def test_who_is_silent_too_long_is_let_go(sent: bytes, answer: Answer, limits: dict[str, float]) -> None:
    """Twenty at once, none of which ends its connection."""

    async def play() -> None:
        async with gate(answer, replace(FOREVER, linger=0.2, **limits)) as (doorway, port):
            opened = [await asyncio.open_connection("127.0.0.1", port, limit=100) for _ in range(20)]
            for _, writer in opened:
                writer.write(sent)
            await until(lambda: doorway.in_flight > 0)
            await until(lambda: doorway.in_flight == 0)
            for _, writer in opened:
                writer.close()

    asyncio.run(play())


def test_a_body_that_trickles_is_let_go_as_one_that_stops() -> None:
    async def play() -> None:
        async with gate(never, replace(FOREVER, patience=0.3, rate=1_000_000, linger=0.1)) as (doorway, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"Content-Length: 100000\r\n\r\n")
            await until(lambda: doorway.in_flight == 1)

            async def trickle() -> None:
                while doorway.in_flight:
                    writer.write(b"x")
                    await asyncio.sleep(0.02)

            await asyncio.wait_for(trickle(), 20)
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            writer.close()

    asyncio.run(play())


def test_patience_shrinks_with_each_wait_and_grows_with_bytes() -> None:
    async def play() -> None:
        patience = Patience(replace(FOREVER, patience=0.2, rate=1000))

        async def wait(times: int) -> None:
            for _ in range(times):
                async with patience.waiting():
                    await asyncio.sleep(0.05)

        with pytest.raises(TimeoutError):
            await wait(100)
        patience = Patience(replace(FOREVER, patience=0.2, rate=1000))
        for _ in range(8):
            await wait(1)
            patience.moved(1000)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("sent", "answer"), [(GET, never), (GET, half), (POST + b"Content-Length: 9\r\n\r\nhalf", never), (UPGRADE, switch)]
)
def test_a_client_whose_connection_is_lost_is_in_flight_no_longer(sent: bytes, answer: Answer) -> None:
    """Without any limit: the server may take its time, and nobody waits for it."""

    async def play() -> None:
        async with gate(answer, FOREVER) as (doorway, port):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(sent)
            await until(lambda: doorway.in_flight == 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # with a reset
            await until(lambda: doorway.in_flight == 0)

    asyncio.run(play())


@pytest.mark.parametrize("opened", [True, False], ids=["open", "closed"])
def test_idle_and_deaf_connections_end(*, opened: bool) -> None:
    """Without a request, with half a head, and with many requests whose answers nobody reads."""

    async def play() -> None:
        limits = replace(FOREVER, head=0.3, patience=0.3, linger=0.3)
        async with gate(endless, limits, opened=opened) as (doorway, port):
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
            clients[1].sendall(GET[:-3])
            clients[2].setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(10_000):
                    clients[2].send(GET)
                    await asyncio.sleep(0)
            await until(lambda: not vars(doorway)["_clients"])
            for client in clients:
                client.close()

    asyncio.run(play())


def test_a_tunnel_with_one_end_left_ends() -> None:
    """A server that goes on after its client has ended, with nothing to say, does not keep it."""

    async def play() -> None:
        async with gate(switch_and_stay, replace(FOREVER, patience=0.2, linger=0.2)) as (doorway, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            await until(lambda: doorway.in_flight == 0)
            writer.close()

    asyncio.run(play())


async def switch_and_stay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    writer.close()


def test_a_full_backlog_of_a_unix_socket_is_waited_for() -> None:
    """Over TCP the system tries again by itself; over a unix socket it says at once that it can't connect."""

    async def play(path: str) -> list[bytes]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(0)
            listener.setblocking(False)
            doorway = Doorway(Rules(open=True, addresses=(path,)), lambda: None)
            front = await asyncio.start_server(doorway.serve, "127.0.0.1", 0)
            port = front.sockets[0].getsockname()[1]

            async def ask() -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                said = await reader.read()
                writer.close()
                await writer.wait_closed()
                return said[-2:]

            asked = [asyncio.create_task(ask()) for _ in range(8)]
            await until(lambda: doorway.in_flight == 8)
            loop = asyncio.get_running_loop()
            for _ in asked:
                connection, _ = await asyncio.wait_for(loop.sock_accept(listener), 20)
                with connection:
                    await loop.sock_recv(connection, 65_536)
                    await loop.sock_sendall(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            found = await asyncio.wait_for(asyncio.gather(*asked), 20)
            doorway.cut(everything=True)
            front.close()
            await asyncio.sleep(0.1)  # the connections close
            return found

    with tempfile.TemporaryDirectory(prefix="eg-") as folder:
        assert asyncio.run(play(f"{folder}/socket")) == [b"ok"] * 8


def test_a_daemon_s_log_is_bounded(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    log = tmp_path / "daemon.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for turn in range(5):
            os.write(descriptor, b"%d" % turn * (output.LOG_BYTES + 1))
            daemon.trim_log()
        os.write(descriptor, b"last")
    finally:
        os.close(descriptor)
    assert log.read_bytes() == b"last"
    assert (tmp_path / "daemon.log.1").read_bytes() == b"4" * output.LOG_BYTES
