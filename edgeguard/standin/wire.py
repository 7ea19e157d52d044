"""The server's end of HTTP/1.1 on loopback, by h11 over asyncio's streams. Bodies are held in memory whole."""

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
"""The size of all headers of one request (Fastly: reference/vcl/constraints-and-limitations)."""
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
    """A request as it came in. `target` is the request line's second word, not decoded."""

    method: str
    target: str
    headers: Pairs
    body: bytes = b""
    client: str = "127.0.0.1"
    connection: int = 0
    """The number of its connection, counted from 1 at that port."""

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True)
class Answer:
    """An answer: to send to a visitor, or received from the origin."""

    status: int
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    reason: str = ""
    length: int | None = None
    """The Content-Length to send where the body was left out (an origin's answer to HEAD)."""
    cut: bool = False
    """Whether the connection ends in the middle of the body."""


class Dropped(Exception):
    """Close the connection without an answer."""


def end_to_end(headers: Iterable[tuple[str, str]]) -> Pairs:
    """The headers without those of one connection (RFC 9110, 7.6.1) and Content-Length, which is counted anew."""
    pairs = list(headers)
    named = {name.strip().lower() for key, value in pairs if key.lower() == "connection" for name in value.split(",")}
    dropped = HOP_BY_HOP | named | {"content-length"}
    return [(key, value) for key, value in pairs if key.lower() not in dropped]


def pairs(headers: h11._headers.Headers) -> Pairs:
    """h11's headers as text."""
    return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in headers.raw_items()]


def as_bytes(headers: Pairs) -> list[tuple[bytes, bytes]]:
    """Headers as bytes, for h11."""
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
        """Listen on a port; with 0 the system chooses. Raises UsageError, naming `purpose`, where the port is taken."""
        try:
            self._server = await asyncio.start_server(self._converse, "127.0.0.1", port, backlog=512)
        except OverflowError as exc:
            raise UsageError(f"{port} (the stand-in's {purpose}) is no port", "Choose one from 0 to 65535.") from exc
        except OSError as exc:
            why = "is in use" if exc.errno == errno.EADDRINUSE else f"can't be listened on ({exc.strerror})"
            raise UsageError(
                f"port {port} (the stand-in's {purpose}) {why}",
                "Choose another port, or end the program that listens there.",
            ) from exc
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """The URL of this port."""
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
            traceback.print_exc()  # VCL made a header that HTTP forbids: print it, and close the connection
        except asyncio.CancelledError:
            pass  # close() ends this conversation; nothing else cancels it
        finally:
            self._conversations.discard(conversation)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(
        self, wire: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        """Read one request and answer it. False: the connection is to be closed."""
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
            headers=pairs(head.headers),
            body=b"".join(body),
            client=str((writer.get_extra_info("peername") or ("",))[0]),
            connection=number,
        )
        try:
            answer = await self._answer(received)
        except Dropped:
            raise
        except Exception:  # noqa: BLE001 - a mistake in the stand-in ends one request, not the program
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
    """Write an answer. For a HEAD, Content-Length is the length of the body that is left out."""
    empty = answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    headers = list(answer.headers)
    if not empty:
        headers.append(("Content-Length", str(len(answer.body) if answer.length is None else answer.length)))
    if close:
        headers.append(("Connection", "close"))
    reason = (answer.reason or _phrase(answer.status)).encode("latin-1", "replace")
    out = wire.send(h11.Response(status_code=answer.status, headers=as_bytes(headers), reason=reason)) or b""
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
