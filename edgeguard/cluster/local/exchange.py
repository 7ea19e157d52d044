"""One request, and its answer: what passes between a visitor's connection and a server's."""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import http1, surrogate
from edgeguard.cluster.local.rules import Patience

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator

    from edgeguard.cluster.local.rules import Limits, Rules
    from edgeguard.cluster.local.servers import Connection

_OURS = frozenset((b"edgeguard-release", b"edgeguard-closed"))


class Lost(Exception):
    """A server gave no answer, or only a part of one."""


@dataclass(eq=False, slots=True)
class Passage:
    """A request that was let through and isn't answered yet."""

    task: asyncio.Task[Any]
    reader: StreamReader
    client: StreamWriter
    request: http1.Request
    rules: Rules
    limits: Limits
    server: Connection | None = None
    begun: bool = False  # whether anything of an answer has gone to the client

    async def exchange(self, head: bytes, server: Connection) -> tuple[bool, bool]:
        """Send the request to a server, and its answer to the client. Returns whether the client's connection can go
        on, and whether the server's can.

        Raises:
            Lost: the server gave no whole answer.
            Malformed: the client's body is not what its head says, or stopped coming. Nothing of an answer has gone to
                the client.
            TimeoutError: the client no longer takes the answer.
        """
        pump: asyncio.Task[None] | None = None
        try:
            server.writer.write(head)
            if self.request.body != 0:
                pump = asyncio.create_task(self._send_body(server.writer))
            response = await self._answer(server, pump)
            if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                await self._tunnel(response, server)
                return False, False
            sent_whole = pump is None or (pump.done() and not pump.cancelled() and pump.exception() is None)
            keep = await self._bring_back(response, server, sent_whole=sent_whole)
            return keep, response.keep_alive and self.request.repeatable
        finally:
            if pump is not None:
                pump.cancel()
                with suppress(asyncio.CancelledError, OSError, IncompleteReadError, http1.Malformed):
                    await pump

    async def _send_body(self, writer: StreamWriter) -> None:
        """Pass the request's body on. If the client stops sending, the server's connection is aborted, or it would
        wait."""
        patience, request = Patience(self.limits), self.request
        pieces = http1.pieces(self.reader, request.body)
        try:
            while True:
                async with patience.waiting():
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                patience.moved(len(piece))
                writer.write(http1.chunk(piece) if request.body == "chunked" else piece)
                await writer.drain()
            if request.body == "chunked":
                writer.write(http1.LAST_CHUNK)
        except (IncompleteReadError, TimeoutError, http1.Malformed) as exc:
            writer.transport.abort()
            if isinstance(exc, TimeoutError):
                raise http1.Malformed(408, "the body does not come") from exc
            raise
        except OSError:
            if self.reader.exception() is not None:
                writer.transport.abort()
            raise

    async def _answer(self, server: Connection, pump: asyncio.Task[None] | None) -> http1.Response:
        """The head of a server's final answer. Raises Lost if none comes, and Malformed if that is the client's
        fault."""
        try:
            while True:
                async with asyncio.timeout(self.limits.answer):
                    head = await http1.read_head(server.reader)
                response = http1.response(head, self.request.method)
                if response.status == HTTPStatus.SWITCHING_PROTOCOLS and self.request.upgrade:
                    return response
                if response.status >= HTTPStatus.OK:
                    return response
                if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    raise http1.Malformed(502, "the server switches to a protocol that nobody asked for")  # noqa: TRY301
        except (OSError, http1.Malformed) as exc:
            at_fault = pump.exception() if pump is not None and pump.done() and not pump.cancelled() else None
            if isinstance(at_fault, http1.Malformed):
                raise at_fault from exc
            raise Lost from exc

    async def _bring_back(self, response: http1.Response, server: Connection, *, sent_whole: bool) -> bool:
        """Write a server's answer to the client. True: the client's connection can go on after it."""
        client, request, rules = self.client, self.request, self.rules
        framed = isinstance(response.body, int) or request.chunks
        keep = request.keep_alive and framed and sent_whole
        chunked = not isinstance(response.body, int) and request.chunks
        more = [b"Edgeguard-Release: " + rules.release]
        headers = [header for header in response.headers if header[0] not in _OURS]
        if (control := surrogate.lasting(response.status, headers, rules.ceiling)) is not None:
            headers = [header for header in headers if header[0] != b"surrogate-control"]
            more.append(b"Surrogate-Control: " + control)
        if chunked:
            more.append(b"Transfer-Encoding: chunked")
        if not keep:
            more.append(b"Connection: close")
        self.begun = True
        waiting = http1.head(b"HTTP/1.1 %d %b" % (response.status, response.reason), headers, *more)
        patience = Patience(self.limits)
        pieces = http1.pieces(server.reader, response.body)
        while (piece := await self._next_piece(pieces)) is not None:
            client.write(waiting + (http1.chunk(piece) if chunked else piece))
            waiting = b""
            async with patience.waiting():
                await client.drain()
            patience.moved(len(piece))
        client.write(waiting + (http1.LAST_CHUNK if chunked else b""))
        async with patience.waiting():
            await client.drain()
        return keep

    async def _next_piece(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """More of the server's answer, None at its end. Raises Lost where it breaks off."""
        try:
            async with asyncio.timeout(self.limits.answer):
                return await anext(pieces, None)
        except (OSError, IncompleteReadError, http1.Malformed) as exc:
            raise Lost from exc

    async def _tunnel(self, response: http1.Response, server: Connection) -> None:
        """Carry bytes both ways until both sides have ended, or nothing has come for too long. The request is in
        flight for as long."""
        headers = [header for header in response.headers if header[0] not in _OURS]
        more = (
            b"Edgeguard-Release: " + self.rules.release,
            b"Connection: Upgrade",
            b"Upgrade: " + response.upgrade,
        )
        self.begun = True
        self.client.write(http1.head(b"HTTP/1.1 101 Switching Protocols", headers, *more))
        clock = asyncio.get_running_loop().time
        limit = self.limits.tunnel
        async with asyncio.timeout(limit) as silence:

            async def carry(reader: StreamReader, writer: StreamWriter) -> None:
                """Carry bytes one way, and the end that the sender makes of them."""
                nonlocal limit
                try:
                    while piece := await reader.read(http1.PIECE):
                        writer.write(piece)
                        await writer.drain()
                        silence.reschedule(clock() + limit)
                    writer.write_eof()
                    limit = min(limit, self.limits.patience)  # the other side should end soon, too
                    silence.reschedule(clock() + limit)
                except OSError:
                    writer.transport.abort()  # the other way ends too

            async with asyncio.TaskGroup() as both:
                both.create_task(carry(self.reader, server.writer))
                both.create_task(carry(server.reader, self.client))
            server.writer.close()
            await server.writer.wait_closed()  # the server has taken all of it


def onward(request: http1.Request, client: StreamWriter) -> bytes:
    """The head of the request to the server."""
    asked_by = str((client.get_extra_info("peername") or ("unknown",))[0]).encode()
    via, forwarded = [b"1.1 edgeguard-gate"], [asked_by]
    headers = []
    for header in request.headers:
        if header[0] == b"via":
            via.insert(-1, header[2])
        elif header[0] == b"x-forwarded-for":
            forwarded.insert(-1, header[2])
        elif header[0] != b"expect":
            headers.append(header)
    more = [b"Via: " + b", ".join(via), b"X-Forwarded-For: " + b", ".join(forwarded)]
    if request.body == "chunked":
        more.append(b"Transfer-Encoding: chunked")
    if request.upgrade:
        more += [b"Connection: Upgrade", b"Upgrade: " + request.upgrade]
    elif not request.repeatable:
        more.append(b"Connection: close")
    return http1.head(b"%b %b HTTP/1.1" % (request.method, request.target), headers, *more)
