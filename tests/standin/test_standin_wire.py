"""The edge's side of its connections to an origin that breaks the rules."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from edgeguard.standin.origin import Origin, Timeouts, Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAST = Timeouts(connect=1.0, first_byte=0.1, between_bytes=0.1)


@contextlib.asynccontextmanager
async def scripted(*connections: list[bytes | None]) -> AsyncIterator[tuple[Origin, list[bytes]]]:
    """An origin that answers the nth request of its mth connection so; None: never. Then it closes the connection."""
    scripts = iter(connections)
    asked: list[bytes] = []
    conversations: set[asyncio.Task[None] | None] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.current_task())
        try:
            for answer in next(scripts):
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                if answer is None:
                    await asyncio.sleep(60)
                else:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    origin = Origin("127.0.0.1", server.sockets[0].getsockname()[1], FAST)
    try:
        yield origin, asked
    finally:
        await origin.close()
        server.close()
        for conversation in conversations:
            if conversation is not None:
                conversation.cancel()
        await asyncio.gather(*(conversation for conversation in conversations if conversation is not None))


def test_a_connection_is_used_again_and_a_closed_one_replaced() -> None:
    """The origin closes it just when the third request arrives: nothing was answered, so it is sent again."""

    async def scenario() -> None:
        async with scripted([OK, OK, b""], [OK]) as (origin, asked):
            answers = [await origin.ask("GET", f"/{number}", []) for number in range(3)]
            assert [answer.body for answer in answers] == [b"ok"] * 3
            assert [request.split()[1] for request in asked] == [b"/0", b"/1", b"/2", b"/2"]

    asyncio.run(scenario())


def test_what_may_change_something_is_never_sent_twice() -> None:
    async def scenario() -> None:
        async with scripted([OK, OK], [b""], [OK]) as (origin, asked):
            await origin.ask("GET", "/", [])
            with pytest.raises(Unreachable, match="backend read error"):
                await origin.ask("POST", "/", [], b"data")
            assert len(asked) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "first byte timeout"),
        (b"", "backend read error"),
        (b"nonsense\r\n\r\n", "backend read error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "backend read error"),
    ],
)
def test_why_there_is_no_answer(script: bytes | None, reason: str) -> None:
    async def scenario() -> None:
        async with scripted([script]) as (origin, _):
            with pytest.raises(Unreachable, match=reason):
                await origin.ask("GET", "/", [])

    asyncio.run(scenario())


def test_a_body_that_stops_is_a_time_out() -> None:
    async def scenario() -> None:
        beginning = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
        async with scripted([beginning + b"0\r\n\r\n", beginning, None]) as (origin, _):
            assert (await origin.ask("GET", "/", [])).body == b"ok"
            with pytest.raises(Unreachable, match="between bytes timeout"):
                await origin.ask("GET", "/", [])

    asyncio.run(scenario())


def test_nobody_there() -> None:
    async def scenario() -> None:
        async with scripted() as (origin, _):
            port = origin.port
        with pytest.raises(Unreachable, match="Connection refused"):
            await Origin("127.0.0.1", port).ask("GET", "/", [])

    asyncio.run(scenario())
