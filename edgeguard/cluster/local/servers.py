"""The gate's connections to the servers: new ones, and idle ones that are used again."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeguard.cluster.local import http1

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from edgeguard.cluster.host.sockets import Address

POOLED = 64
"""Idle connections to one server."""
IDLE_SECONDS = 75.0
_POLL = 0.01


@dataclass(eq=False, slots=True)
class Connection:
    """A connection to a server. `used`: it has carried a request before, so it may turn out to be closed."""

    address: Address
    reader: StreamReader
    writer: StreamWriter
    used: bool = False
    since: float = 0.0  # idle since then, by the monotonic clock

    @property
    def silent(self) -> bool:
        """Whether it is open and nothing has come over it since the last answer. Bytes that are left over would be
        taken for the answer to the next request, which is another visitor's."""
        if self.writer.is_closing() or self.reader.at_eof() or vars(self.reader)["_buffer"]:
            return False
        unread = select.poll()
        unread.register(self.writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not unread.poll(0)


async def connect(address: Address, limit: float) -> Connection | None:
    """A new connection; None where the server accepts none within so many seconds."""
    try:
        async with asyncio.timeout(limit):
            if isinstance(address, str):
                sock = await _over_socket(address)
                reader, writer = await asyncio.open_unix_connection(sock=sock, limit=http1.HEAD_LIMIT)
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", address, limit=http1.HEAD_LIMIT)
    except (OSError, TimeoutError):
        return None
    return Connection(address, reader, writer)


async def _over_socket(path: str) -> socket.socket:
    """A connected unix socket. Where the server's backlog is full, Linux says so at once, and TCP would try again."""
    connecting = socket.socket(socket.AF_UNIX)
    try:
        connecting.setblocking(False)
        while True:
            try:
                connecting.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_POLL)
            else:
                return connecting
    except BaseException:
        connecting.close()
        raise


@dataclass(eq=False)
class Pool:
    """The idle connections, by the servers' addresses."""

    _idle: dict[Address, deque[Connection]] = field(default_factory=dict)

    def take(self, address: Address) -> Connection | None:
        """An idle connection that can be used again."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if connection.silent and time.monotonic() - connection.since < IDLE_SECONDS:
                return connection
            connection.writer.close()
        return None

    def put(self, connection: Connection) -> None:
        """Keep a connection for the next request. The oldest ones go where there are too many."""
        idle = self._idle.setdefault(connection.address, deque())
        connection.used, connection.since = True, time.monotonic()
        idle.append(connection)
        while len(idle) > POOLED or connection.since - idle[0].since > IDLE_SECONDS:
            idle.popleft().writer.close()

    def forget(self) -> None:
        """Close them all: the servers' processes may be replaced."""
        for idle in self._idle.values():
            for connection in idle:
                connection.writer.close()
        self._idle.clear()
