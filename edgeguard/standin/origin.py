"""The origin behind the edge, asked over HTTP/1.1 by h11 over asyncio's streams. Bodies are held in memory whole."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

import h11

from edgeguard.standin.wire import CHUNK, HEADER_LIMIT, Answer, Pairs, as_bytes, end_to_end, pairs


class Unreachable(Exception):
    """The origin gave no whole answer. The text is Fastly's name for the cause, as in obj.response."""


class _Closed(Unreachable):
    """The connection ended before the first byte of an answer."""


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
        """Whether a byte has come since the last request."""

    def reusable(self) -> bool:
        """Make it ready for another request. Returns whether that was possible."""
        if self.wire.our_state is not h11.DONE or self.wire.their_state is not h11.DONE or self.reader.at_eof():
            return False
        self.wire.start_next_cycle()
        return True


class Origin:
    """The origin behind the edge, asked over connections that are kept and used again."""

    def __init__(self, host: str, port: int, timeouts: Timeouts | None = None) -> None:
        self.host = host
        self.port = port
        self._timeouts = timeouts or Timeouts()
        self._idle: list[_Link] = []

    async def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
        """Ask the origin. Raises Unreachable.

        Only a GET or HEAD goes over a used connection. If that one turns out to be closed, the request is sent again
        over a new one. Other methods may change something, so they are never sent twice.
        """
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
        """Close the idle connections."""
        for link in self._idle:
            link.writer.close()
            with contextlib.suppress(ConnectionError):
                await link.writer.wait_closed()
        self._idle.clear()

    async def _connect(self) -> _Link:
        # In a thread, since there the system itself times the connection. The event loop's clock would go on while
        # this process waits for its turn on a busy machine, and visitors would see an outage that no test meant.
        try:
            place, timeout = (self.host, self.port), self._timeouts.connect
            connected = await asyncio.to_thread(socket.create_connection, place, timeout)
            connected.setblocking(False)
            return _Link(*await asyncio.open_connection(sock=connected))
        except TimeoutError as exc:
            raise Unreachable("Connection timed out") from exc
        except ConnectionRefusedError as exc:
            raise Unreachable("Connection refused") from exc
        except OSError as exc:
            raise Unreachable("All backends failed or unhealthy") from exc

    async def _exchange(self, link: _Link, method: str, target: str, headers: Pairs, body: bytes) -> Answer:
        """Send one request over a link. The link is kept if it can be used again, and closed in every other case."""
        kept = False
        link.heard = False
        framed = bool(body) or method in {"POST", "PUT", "PATCH"}
        asked = [*headers, ("Content-Length", str(len(body)))] if framed else list(headers)
        if not any(key.lower() == "host" for key, _ in asked):  # a visitor with HTTP/1.0 need not send one
            asked.append(("Host", f"{self.host}:{self.port}"))
        try:
            out = link.wire.send(h11.Request(method=method, target=target.encode("latin-1"), headers=as_bytes(asked)))
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
                told = pairs(head.headers)
                length = next((int(value) for key, value in told if key.lower() == "content-length"), None)
                left_out = length if not body else None
                return Answer(head.status_code, end_to_end(told), b"".join(body), reason, left_out)
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
