"""Visitors' connections: each request is let through to a server, or refused with headers that announce the closure."""

from __future__ import annotations

import asyncio
import select
import time
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import http1, surrogate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.cluster.host.sockets import Address

IDLE_SECONDS = 75.0  # a connection without a request, or with half of one, is closed then
LINGER_SECONDS = 2.0
DISCARDED = 65_536  # bytes of a refused request's body that are read to keep its connection
_OURS = frozenset((b"edgeguard-release", b"edgeguard-closed"))
_POOLED = 64


@dataclass(frozen=True)
class Rules:
    """Whether requests are let through, to which addresses, and how the others are answered."""

    open: bool = False
    addresses: tuple[Address, ...] = ()
    release: bytes = b""
    ceiling: int = 0
    closed: tuple[bytes, ...] = ()
    status: int = 500
    check_path: bytes | None = None

    @classmethod
    def of(cls, desired: Mapping[str, Any]) -> Rules:
        """The rules of a desired state. If it does not say that the gate is open, the gate is closed."""
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(desired.get("until", 0)))
        check_path = desired.get("check_path")
        return cls(
            open=desired.get("open", False),
            addresses=tuple(desired.get("servers", {}).values()),
            release=desired.get("release", "").encode(),
            ceiling=desired.get("ceiling", 0),
            closed=(
                b"Retry-After: %d" % desired.get("retry_after", 30),
                f"Edgeguard-Closed: {desired.get('deploy', 'none')}; until={until}".encode(),
            ),
            status=desired.get("status", 500),
            check_path=None if check_path is None else check_path.encode(),
        )


@dataclass(eq=False, slots=True)
class _Server:
    """A connection to a server. `used`: it has carried a request before, so it may turn out to be closed."""

    address: Address
    reader: StreamReader
    writer: StreamWriter
    used: bool = False

    @property
    def silent(self) -> bool:
        """Whether it is open and nothing has come over it since the last answer. Bytes that are left over would be
        taken for the answer to the next request, which is another visitor's."""
        if self.writer.is_closing() or self.reader.at_eof() or vars(self.reader)["_buffer"]:
            return False
        unread = select.poll()
        unread.register(self.writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not unread.poll(0)


@dataclass(eq=False, slots=True)
class _Passage:
    """A request that was let through and isn't answered yet."""

    task: asyncio.Task[Any]
    reader: StreamReader
    client: StreamWriter
    server: _Server | None = None
    begun: bool = False  # whether anything of an answer has gone to the client


class _Lost(Exception):
    """A server gave no answer, or only a part of one."""


@dataclass(eq=False)
class Doorway:
    """Lets requests through by the rules, which may be replaced at any time.

    `answered` is called whenever the last request that was let through has ended.
    """

    rules: Rules
    answered: Callable[[], None]
    _passages: set[_Passage] = field(default_factory=set)
    _clients: set[asyncio.Task[Any]] = field(default_factory=set)
    _idle: dict[Address, deque[_Server]] = field(default_factory=dict)
    _turn: int = 0

    @property
    def in_flight(self) -> int:
        """Requests that were let through and aren't answered yet."""
        return len(self._passages)

    def cut(self, *, everything: bool = False) -> int:
        """Abort the connections of the requests that were let through (or all connections). Returns how many."""
        cut = list(self._passages)
        self._passages.clear()
        for passage in cut:
            passage.client.transport.abort()
            if passage.server is not None:
                passage.server.writer.transport.abort()
            passage.task.cancel()
        if everything:
            for task in self._clients:
                task.cancel()
            self.forget_connections()
        return len(cut)

    def forget_connections(self) -> None:
        """Close the idle connections to the servers: the servers' processes may be replaced."""
        for idle in self._idle.values():
            for server in idle:
                server.writer.close()
        self._idle.clear()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One visitor's connection, request after request."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("asyncio serves every connection in a task")
        self._clients.add(task)
        try:
            while await self._next(reader, writer, task):
                pass
        except TimeoutError:
            pass  # idle
        except (OSError, IncompleteReadError, http1.Malformed, _Lost):
            writer.transport.abort()  # an answer that can't be finished must not look finished
        except asyncio.CancelledError:
            pass  # cut
        finally:
            self._clients.discard(task)
            writer.close()

    async def _next(self, reader: StreamReader, writer: StreamWriter, task: asyncio.Task[Any]) -> bool:
        """Answer the next request. False: the connection ends."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                head = await http1.read_head(reader)
            if not head.strip():
                return bool(head)  # empty lines before a request are ignored (RFC 9112, 2.2)
            request = http1.request(head)
        except http1.Malformed as exc:
            return await _tell(reader, writer, exc.status, str(exc))
        if not self.rules.open:
            return await self._refuse(request, reader, writer)
        passage = _Passage(task, reader, writer)
        self._passages.add(passage)
        try:
            keep = await self._pass(request, passage)
        finally:
            if passage in self._passages:
                self._passages.discard(passage)
                if not self._passages:
                    self.answered()
        if not keep:
            await _linger(reader, writer)
        return keep

    async def _refuse(self, request: http1.Request, reader: StreamReader, writer: StreamWriter) -> bool:
        """Refuse at once. A short body that is on its way is thrown away; with a long one, the connection is closed."""
        rules = self.rules
        keep = request.keep_alive and not request.expects and isinstance(request.body, int) and request.body < DISCARDED
        green = rules.check_path is not None and request.target.partition(b"?")[0] == rules.check_path
        status = 200 if green else rules.status
        _write(writer, status, "closed", *rules.closed, keep=keep, body=request.method != b"HEAD")
        await writer.drain()
        if not keep:
            await _linger(reader, writer)
            return False
        async with asyncio.timeout(LINGER_SECONDS):  # if the body doesn't come, the connection ends
            async for _ in http1.pieces(reader, request.body):
                pass
        return True

    async def _pass(self, request: http1.Request, passage: _Passage) -> bool:
        """Let a request through to the first server that accepts the connection."""
        rules = self.rules
        if request.expects:
            passage.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = _onward(request, passage.client)
        for server in self._candidates(rules.addresses, fresh=not request.repeatable):
            connected = server if isinstance(server, _Server) else await _connect(server)
            if connected is None:
                continue
            passage.server = connected
            try:
                return await self._exchange(request, head, passage, connected, rules)
            except _Lost:
                if passage.begun or not connected.used:
                    break
            finally:
                passage.server = None
        if passage.begun:
            raise _Lost
        _write(passage.client, 502, "no server answers", keep=False, body=request.method != b"HEAD")
        return False

    def _candidates(self, addresses: tuple[Address, ...], *, fresh: bool) -> list[_Server | Address]:
        """The servers to try, each in its turn: an idle connection to the first one, then a new connection to each."""
        self._turn += 1
        found: list[_Server | Address] = []
        for step in range(len(addresses)):
            address = addresses[(self._turn + step) % len(addresses)]
            idle = self._idle.get(address)
            while not fresh and step == 0 and idle:
                server = idle.pop()
                if server.silent:
                    found.append(server)
                    break
                server.writer.close()
            found.append(address)
        return found

    async def _exchange(
        self,
        request: http1.Request,
        head: bytes,
        passage: _Passage,
        server: _Server,
        rules: Rules,
    ) -> bool:
        """Send the request to a server, and its answer to the client. True: the client's connection can go on."""
        pump: asyncio.Task[None] | None = None
        reusable = False
        try:
            server.writer.write(head)
            if request.body != 0:
                pump = asyncio.create_task(_send_body(request, passage.reader, server.writer))
            response = await _answer(server, request)
            if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
                await _tunnel(response, passage, server, rules)
                return False
            sent_whole = pump is None or (pump.done() and not pump.cancelled() and pump.exception() is None)
            keep = await _bring_back(response, request, passage, rules=rules, sent_whole=sent_whole)
            reusable = response.keep_alive and request.repeatable and self.rules is rules
        finally:
            if pump is not None:
                pump.cancel()
                with suppress(asyncio.CancelledError, OSError, IncompleteReadError, http1.Malformed):
                    await pump
            idle = self._idle.setdefault(server.address, deque()) if reusable else None
            if idle is not None and len(idle) < _POOLED:
                server.used = True
                idle.append(server)
            else:
                server.writer.close()
        return keep


async def _connect(address: Address) -> _Server | None:
    try:
        if isinstance(address, str):
            reader, writer = await asyncio.open_unix_connection(address, limit=http1.HEAD_LIMIT)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", address, limit=http1.HEAD_LIMIT)
    except OSError:
        return None
    return _Server(address, reader, writer)


async def _send_body(request: http1.Request, reader: StreamReader, writer: StreamWriter) -> None:
    """Pass a request's body on. If the client stops sending, the server's connection is aborted, or it would wait."""
    try:
        async with asyncio.timeout(IDLE_SECONDS) as idle:
            async for piece in http1.pieces(reader, request.body):
                writer.write(http1.chunk(piece) if request.body == "chunked" else piece)
                await writer.drain()
                idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS)
        if request.body == "chunked":
            writer.write(http1.LAST_CHUNK)
    except (IncompleteReadError, TimeoutError, http1.Malformed):
        writer.transport.abort()
        raise
    except OSError:
        if reader.exception() is not None:
            writer.transport.abort()
        raise


async def _answer(server: _Server, request: http1.Request) -> http1.Response:
    """The head of a server's final answer. Raises _Lost if none comes."""
    try:
        while True:
            head = await http1.read_head(server.reader)
            if not head:
                raise _Lost
            response = http1.response(head, request.method)
            switches = response.status == HTTPStatus.SWITCHING_PROTOCOLS
            if switches and not request.upgrade:
                raise _Lost
            if switches or response.status >= HTTPStatus.OK:
                return response
    except (OSError, http1.Malformed) as exc:
        raise _Lost from exc


async def _tunnel(response: http1.Response, passage: _Passage, server: _Server, rules: Rules) -> None:
    """Carry bytes both ways until both sides have ended. The request is in flight for as long."""
    headers = [header for header in response.headers if header[0] not in _OURS]
    more = (b"Edgeguard-Release: " + rules.release, b"Connection: Upgrade", b"Upgrade: " + response.upgrade)
    passage.begun = True
    passage.client.write(http1.head(b"HTTP/1.1 101 Switching Protocols", headers, *more))
    async with asyncio.TaskGroup() as both:
        both.create_task(_carry(passage.reader, server.writer))
        both.create_task(_carry(server.reader, passage.client))


async def _carry(reader: StreamReader, writer: StreamWriter) -> None:
    """Carry bytes one way, and the end that the sender makes of them."""
    try:
        while piece := await reader.read(http1.PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()  # the other way ends too


async def _bring_back(
    response: http1.Response, request: http1.Request, passage: _Passage, *, rules: Rules, sent_whole: bool
) -> bool:
    """Write a server's answer to the client. True: the client's connection can go on after it."""
    client, server = passage.client, passage.server
    if server is None:
        raise AssertionError("an answer comes from a server")
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
    passage.begun = True
    waiting = http1.head(b"HTTP/1.1 %d %b" % (response.status, response.reason), headers, *more)
    async for piece in http1.pieces(server.reader, response.body):
        client.write(waiting + (http1.chunk(piece) if chunked else piece))
        waiting = b""
        await client.drain()
    client.write(waiting + (http1.LAST_CHUNK if chunked else b""))
    await client.drain()
    return keep


def _onward(request: http1.Request, client: StreamWriter) -> bytes:
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


def _write(writer: StreamWriter, status: int, text: str, *more: bytes, keep: bool, body: bool = True) -> None:
    """Write an answer of the gate's own."""
    content = f"{text}\n".encode()
    lines = [
        f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}".encode(),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(content),
        b"Cache-Control: no-store",
        *more,
    ]
    if not keep:
        lines.append(b"Connection: close")
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    writer.write(http1.head(first, [], *lines) + (content if body else b""))


async def _tell(reader: StreamReader, writer: StreamWriter, status: int, text: str) -> bool:
    """Answer a request that can't be let through, and end the connection."""
    _write(writer, status, text, keep=False)
    await _linger(reader, writer)
    return False


async def _linger(reader: StreamReader, writer: StreamWriter) -> None:
    """End a connection so that its answer arrives: closing over unread bytes would reset it (RFC 9112, 9.6)."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(http1.PIECE):
                pass
