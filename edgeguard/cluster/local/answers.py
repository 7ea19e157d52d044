"""The gate's own answers, and how it ends a connection so that an answer arrives."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from edgeguard.cluster.local import http1

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter


def write(writer: StreamWriter, status: int, text: str, *more: bytes, keep: bool, body: bool = True) -> None:
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


async def tell(reader: StreamReader, writer: StreamWriter, status: int, text: str, *, limit: float) -> bool:
    """Answer a request that can't be let through, and end the connection within so many seconds. Returns False."""
    write(writer, status, text, keep=False)
    await linger(reader, writer, limit)
    return False


async def linger(reader: StreamReader, writer: StreamWriter, limit: float) -> None:
    """End a connection so that its answer arrives: closing over unread bytes would reset it (RFC 9112, 9.6)."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limit):
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
            while await reader.read(http1.PIECE):
                pass
