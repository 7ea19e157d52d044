"""Sampling what visitors see during a deploy: a thread asks for pages from outside, at a steady rate.

The rate does not depend on the answers (open loop), so slow answers don't make the samples fewer. It uses plain asyncio
streams, since a full HTTP client can't send a few hundred requests a second beside a deploy.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from itertools import cycle
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeguard.edge import marks
from edgeguard.errors import UsageError
from edgeguard.machine import network
from edgeguard.site.samples import AUDIENCES

if TYPE_CHECKING:
    from pathlib import Path
    from urllib.parse import SplitResult

    from edgeguard.settings import EdgeSettings, VisitorsSettings

_HTTP, _HTTPS = 80, 443
_PIECE = 2**16
_END = b"\r\n\r\n"


class Visitors:
    """Samples every audience of the settings from `start` to `stop`, into a file of JSON lines."""

    def __init__(self, settings: VisitorsSettings, edge: EdgeSettings, path: Path) -> None:
        self._settings = settings
        self._edge = edge
        self._path = path
        self._thread: threading.Thread | None = None
        self.lost: str | None = None  # the reason, if samples could not be written
        self._end = threading.Event()

    def start(self) -> None:
        """Start asking. Nothing starts if no audience has a page."""
        if any(getattr(self._settings, audience) for audience in AUDIENCES):
            self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()), name="visitors", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop asking, and wait for the last answers. Harmless if nothing runs."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    async def _ask_all(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            await asyncio.gather(*(self._audience(name, file) for name in AUDIENCES if getattr(self._settings, name)))
        finally:
            os.close(file)

    async def _audience(self, name: str, file: int) -> None:
        pages = cycle(self._edge.address(page) for page in getattr(self._settings, name))
        headers = marks.asking(self._edge.status_name)
        if name == "authenticated":
            headers["Cookie"] = self._settings.cookie
        under_way: set[asyncio.Task[None]] = set()
        began, count = time.monotonic(), 0
        while not self._end.is_set():
            task = asyncio.create_task(self._sample(name, next(pages), headers, file))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            count += 1
            await asyncio.sleep(max(0.0, began + count / self._settings.rate - time.monotonic()))
        await asyncio.gather(*under_way)

    async def _sample(self, audience: str, url: str, headers: dict[str, str], file: int) -> None:
        at, began = time.time(), time.monotonic()
        try:
            async with asyncio.timeout(self._settings.timeout):
                status, answer = await _get(url, headers)
        except (OSError, ValueError, UsageError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, answer = None, {}
        stale, release = marks.stale(answer) or "", answer.get("edgeguard-release", "")
        line = json.dumps([at, audience, status, round(time.monotonic() - began, 6), stale, release]) + "\n"
        try:
            os.write(file, line.encode())
        except OSError as exc:  # a full disk costs samples, never the deploy
            self.lost = exc.strerror


async def _read_away(reader: asyncio.StreamReader, length: int | None) -> None:
    """Read a body of this many bytes (None: to its end) and keep nothing of it. Raises IncompleteReadError."""
    left = length
    while left is None or left > 0:
        piece = await reader.read(_PIECE if left is None else min(left, _PIECE))
        if not piece and left is None:
            return
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        left = None if left is None else left - len(piece)


async def _get(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Status and headers of one GET over a new connection, once the whole answer has arrived."""
    parts = urlsplit(url)
    proxy = None if (named := network.proxy(url)) is None else urlsplit(named)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Host": parts.netloc, "Connection": "close", **network.authorization(url), **headers}
    if proxy is not None and parts.scheme == "http":
        target, sent = f"http://{parts.netloc}{target}", {**sent, **network.password(proxy)}
    reader, writer = await _connected(parts, proxy)
    try:
        writer.write(_lines(f"GET {target} HTTP/1.1", sent))
        head = (await reader.readuntil(_END)).decode("latin-1").split("\r\n")
        status = int(head[0].partition(" ")[2][:3])
        answer = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        length = answer.get("content-length")
        await _read_away(reader, None if length is None else int(length))
        return status, answer
    finally:
        writer.transport.abort()


async def _connected(
    parts: SplitResult, proxy: SplitResult | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the site, or to the proxy, which is asked to let TLS through."""
    trusted = network.authorities() if parts.scheme == "https" else None
    there = parts if proxy is None else proxy
    port = there.port or (_HTTPS if trusted and proxy is None else _HTTP)
    reader, writer = await asyncio.open_connection(there.hostname, port, ssl=None if proxy else trusted)
    if proxy is None or trusted is None:
        return reader, writer
    try:
        site = f"{parts.hostname}:{parts.port or _HTTPS}"
        writer.write(_lines(f"CONNECT {site} HTTP/1.1", {"Host": site, **network.password(proxy)}))
        if (await reader.readuntil(_END)).split(b" ")[1:2] != [b"200"]:
            raise ConnectionRefusedError  # noqa: TRY301 (as a server would)
        await writer.start_tls(trusted, server_hostname=parts.hostname)
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


def _lines(request: str, headers: dict[str, str]) -> bytes:
    lines = [request, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + _END
