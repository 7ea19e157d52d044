"""HTTP/1.1 on loopback, both ends of it, by h11 over asyncio's streams. Bodies are held in memory whole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import traceback
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import h11

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

Pairs = list[tuple[str, str]]

HEADER_LIMIT = 69 * 1024
"""Fastly: reference/vcl/constraints-and-limitations, all headers of one request."""
CHUNK = 64 * 1024

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    },
)


@dataclass(frozen=True)
class Received:
    """A request, as it came in. `target` is what followed the method, nothing decoded."""

    method: str
    target: str
    headers: Pairs
    body: bytes = b""
    client: str = "127.0.0.1"
    connection: int = 0
    """The how-manieth connection to that port it came over."""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True)
class Answer:
    """An answer to send, or one that came from the origin."""

    status: int
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    reason: str = ""
    length: int | None = None
    """The Content-Length to tell where the body was left out (an origin's answer to HEAD)."""
    cut: bool = False
    """Whether the connection ends in the middle of the body."""


class Dropped(Exception):
    """Close the connection without an answer."""


class Unreachable(Exception):
    """The origin gave no whole answer. The text is what Fastly calls that cause in obj.response."""


class _Closed(Unreachable):
    """The connection ended before the first byte of an answer."""


def end_to_end(headers: Iterable[tuple[str, str]]) -> Pairs:
    """Without what concerns one connection only (RFC 9110, 7.6.1), nor Content-Length, which is counted anew."""
    pairs = list(headers)
    named = {name.strip().lower() for key, value in pairs if key.lower() == "connection" for name in value.split(",")}
    dropped = HOP_BY_HOP | named | {"content-length"}
    return [(key, value) for key, value in pairs if key.lower() not in dropped]


def _pairs(headers: h11._headers.Headers) -> Pairs:
    return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers.raw_items()]


def _bytes(headers: Pairs) -> list[tuple[bytes, bytes]]:
    return [(key.encode("latin-1"), value.encode("latin-1", "replace")) for key, value in headers]


class Listener:
    """A port on loopback that answers requests, with keep-alive. `close` also ends the connections that are open."""

    def __init__(self, answer: Callable[[Received], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()
        self._accepted = 0
        self.port = 0

    async def open(self, port: int, purpose: str) -> None:
        """Port 0 lets the system choose. Raises UsageError where the port is taken; `purpose` names it there."""
        try:
            self._server = await asyncio.start_server(self._converse, "127.0.0.1", port, backlog=512)
        except OSError as exc:
            why = "is in use" if exc.errno == errno.EADDRINUSE else f"can't be listened on ({exc.strerror})"
            raise UsageError(
                f"port {port} (the stand-in's {purpose}) {why}",
                "Choose another port, or end the program that listens there.",
            ) from exc
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Where to reach it."""
        return f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        """Stop listening and end every conversation."""
        if self._server is not None:
            self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None  # noqa: S101 - a coroutine always runs in a task; this tells mypy
        self._conversations.add(conversation)
        self._accepted += 1
        number = self._accepted
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT)
        try:
            while await self._exchange(wire, reader, writer, number):
                wire.start_next_cycle()
        except (Dropped, ConnectionError):
            pass
        except h11.RemoteProtocolError as exc:
            with contextlib.suppress(ConnectionError, h11.LocalProtocolError):
                await _send(wire, writer, Answer(exc.error_status_hint, body=b"bad request\n"), close=True)
        except h11.LocalProtocolError:
            traceback.print_exc()  # a header that VCL made, and HTTP forbids: seen and told, and the connection closed
        except asyncio.CancelledError:
            pass  # close() ends this conversation; nobody else cancels it
        finally:
            self._conversations.discard(conversation)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(
        self, wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        """One request and its answer; False when the connection is to be closed."""
        head: h11.Request | None = None
        body: list[bytes] = []
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                if wire.they_are_waiting_for_100_continue:
                    writer.write(wire.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                wire.receive_data(await reader.read(CHUNK))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
            else:  # ConnectionClosed
                return False
        assert head is not None  # noqa: S101 - h11 ends no message that it did not begin; this tells mypy
        received = Received(
            method=head.method.decode("ascii"),
            target=head.target.decode("latin-1"),
            headers=_pairs(head.headers),
            body=b"".join(body),
            client=str((writer.get_extra_info("peername") or ("",))[0]),
            connection=number,
        )
        try:
            answer = await self._answer(received)
        except Dropped:
            raise
        except Exception:  # noqa: BLE001 - a mistake in the stand-in ends one request, seen and told, not the program
            traceback.print_exc()
            answer = Answer(500, body=b"the stand-in itself failed; see its standard error\n")
        await _send(wire, writer, answer, bodiless=received.method == "HEAD")
        return wire.our_state is h11.DONE


async def _send(
    wire: h11.Connection,
    writer: asyncio.StreamWriter,
    answer: Answer,
    *,
    bodiless: bool = False,
    close: bool = False,
) -> None:
    """Write an answer. A HEAD's Content-Length is that of the body that is left out."""
    empty = answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    headers = list(answer.headers)
    if not empty:
        headers.append(("Content-Length", str(len(answer.body) if answer.length is None else answer.length)))
    if close:
        headers.append(("Connection", "close"))
    reason = (answer.reason or _phrase(answer.status)).encode("latin-1", "replace")
    out = wire.send(h11.Response(status_code=answer.status, headers=_bytes(headers), reason=reason)) or b""
    if answer.cut:
        writer.write(out + (wire.send(h11.Data(data=answer.body[: len(answer.body) // 2])) or b""))
        await writer.drain()
        raise Dropped
    if not bodiless and not empty:
        out += wire.send(h11.Data(data=answer.body)) or b""
    out += wire.send(h11.EndOfMessage()) or b""
    writer.write(out)
    await writer.drain()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@dataclass(frozen=True)
class Timeouts:
    """Seconds, as in the backend that Fastly generates by default."""

    connect: float = 1.0
    first_byte: float = 15.0
    between_bytes: float = 10.0


class _Link:
    """One connection to the origin."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT)
        self.heard = False
        """Whether a byte came since the last request."""

    def reusable(self) -> bool:
        """Make it ready for another request, if it can be."""
        if self.wire.our_state is not h11.DONE or self.wire.their_state is not h11.DONE or self.reader.at_eof():
            return False
        self.wire.start_next_cycle()
        return True


class Origin:
    """What is behind the edge: asked over connections that are kept and used again."""

    def __init__(self, host: str, port: int, timeouts: Timeouts | None = None) -> None:
        self.host = host
        self.port = port
        self._timeouts = timeouts or Timeouts()
        self._idle: list[_Link] = []

    async def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
        """Raises Unreachable. Only a GET or HEAD goes over a connection that was used before, and is sent again over a
        new one if that had been closed meanwhile: what may change something is never sent twice."""
        if method in {"GET", "HEAD"}:
            while self._idle:
                link = self._idle.pop()
                if link.reader.at_eof():
                    link.writer.close()
                    continue
                try:
                    return await self._exchange(link, method, target, headers, body)
                except _Closed:
                    continue
        return await self._exchange(await self._connect(), method, target, headers, body)

    async def close(self) -> None:
        """Close the connections that are kept."""
        for link in self._idle:
            link.writer.close()
            with contextlib.suppress(ConnectionError):
                await link.writer.wait_closed()
        self._idle.clear()

    async def _connect(self) -> _Link:
        try:
            async with asyncio.timeout(self._timeouts.connect):
                return _Link(*await asyncio.open_connection(self.host, self.port))
        except TimeoutError as exc:
            raise Unreachable("Connection timed out") from exc
        except ConnectionRefusedError as exc:
            raise Unreachable("Connection refused") from exc
        except OSError as exc:
            raise Unreachable("All backends failed or unhealthy") from exc

    async def _exchange(self, link: _Link, method: str, target: str, headers: Pairs, body: bytes) -> Answer:
        """One request over a link, which is kept where that is allowed and closed in every other case."""
        kept = False
        link.heard = False
        framed = bool(body) or method in {"POST", "PUT", "PATCH"}
        pairs = [*headers, ("Content-Length", str(len(body)))] if framed else list(headers)
        if not any(key.lower() == "host" for key, _ in pairs):  # a visitor with HTTP/1.0 need not send one
            pairs.append(("Host", f"{self.host}:{self.port}"))
        try:
            out = link.wire.send(h11.Request(method=method, target=target.encode("latin-1"), headers=_bytes(pairs)))
            out = (out or b"") + ((link.wire.send(h11.Data(data=body)) or b"") if body else b"")
            link.writer.write(out + (link.wire.send(h11.EndOfMessage()) or b""))
            await link.writer.drain()
            answer = await self._read(link)
            kept = link.reusable()
        except (OSError, h11.ProtocolError) as exc:
            raise (Unreachable if link.heard else _Closed)("backend read error") from exc
        else:
            return answer
        finally:
            if kept:
                self._idle.append(link)
            else:
                link.writer.close()

    async def _read(self, link: _Link) -> Answer:
        head: h11.Response | None = None
        body: list[bytes] = []
        while True:
            event = link.wire.next_event()
            if event is h11.NEED_DATA:
                link.wire.receive_data(await self._more(link))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                reason = bytes(head.reason).decode("latin-1")
                pairs = _pairs(head.headers)
                length = next((int(value) for key, value in pairs if key.lower() == "content-length"), None)
                left_out = length if not body else None
                return Answer(head.status_code, end_to_end(pairs), b"".join(body), reason, left_out)
            elif isinstance(event, h11.ConnectionClosed):
                raise Unreachable("backend read error")

    async def _more(self, link: _Link) -> bytes:
        seconds = self._timeouts.between_bytes if link.heard else self._timeouts.first_byte
        try:
            async with asyncio.timeout(seconds):
                data = await link.reader.read(CHUNK)
        except TimeoutError as exc:
            raise Unreachable("between bytes timeout" if link.heard else "first byte timeout") from exc
        link.heard = link.heard or bool(data)
        return data
