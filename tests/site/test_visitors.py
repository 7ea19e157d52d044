from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from edgeguard.settings import EdgeSettings, VisitorsSettings
from edgeguard.site.samples import Sample, read, summarize
from edgeguard.site.visitors import Visitors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """A real server that does with every connection what its path says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow = 0.0
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        match head.split()[1]:
            case "/reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            case "/never":
                await reader.read()
            case "/half":
                writer.write(OK[:-1])
            case "/garbage":
                writer.write(b"hello\r\n\r\n")
            case "/broken":
                writer.write(b"HTTP/1.1 503 Closed\r\nContent-Length: 0\r\n\r\n")
            case "/none":
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            case "/stale":
                writer.write(OK.replace(b"\r\n", b"\r\nEdgeguard-Stale: hold\r\nEdgeguard-Release: abc\r\n", 1))
            case _:
                await asyncio.sleep(self.slow)
                writer.write(OK)

    def end(self) -> None:
        async def close() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # connections that were closed end in the loop's next turn
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.end()


def sampled(port: int, path: Path, settings: VisitorsSettings, *, enough: int) -> list[Sample]:
    edge = EdgeSettings(service="s", url=f"http://127.0.0.1:{port}", health_url=f"http://127.0.0.1:{port}/")
    visitors = Visitors(settings, edge, path)
    visitors.start()
    try:
        end = time.monotonic() + 20
        while len(read(path)) < enough:
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        visitors.stop()
        visitors.stop()
    return read(path)


def of(*pages: str, rate: float = 100, timeout: float = 5) -> VisitorsSettings:
    return VisitorsSettings(anonymous=pages, rate=rate, timeout=timeout)


def test_pages_are_asked_in_turn_and_answers_kept(tmp_path: Path) -> None:
    with serving() as server:
        samples = sampled(server.port, tmp_path / "s", of("/a", "/stale", "/none"), enough=9)
    assert {sample.status for sample in samples} == {200, 404}
    assert [head.split()[1] for head in server.asked[:6]] == ["/a", "/stale", "/none"] * 2
    stale = [sample for sample in samples if sample.stale]
    assert {(sample.stale, sample.release) for sample in stale} == {("hold", "abc")}
    assert not [sample for sample in samples if sample.broken]


@pytest.mark.parametrize("page", ["/reset", "/half", "/garbage", "/never"])
def test_no_whole_answer_is_broken(tmp_path: Path, page: str) -> None:
    with serving() as server:
        samples = sampled(server.port, tmp_path / "s", of(page, timeout=0.2), enough=3)
    assert {sample.status for sample in samples} == {None}
    assert all(sample.broken for sample in samples)


def test_a_refused_connection_is_broken(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound, so that nobody else takes it, and not listening
        bound.bind(("127.0.0.1", 0))
        samples = sampled(bound.getsockname()[1], tmp_path / "s", of("/"), enough=3)
    assert all(sample.broken for sample in samples)


def test_a_server_error_is_broken_and_a_missing_page_is_not(tmp_path: Path) -> None:
    with serving() as server:
        samples = sampled(server.port, tmp_path / "s", of("/broken", "/none"), enough=6)
    assert {(sample.status, sample.broken) for sample in samples} == {(503, True), (404, False)}


def test_slow_answers_do_not_thin_the_samples(tmp_path: Path) -> None:
    """Open-loop: many requests are under way at once, where one after the other would be a few."""
    with serving() as server:
        server.slow = 0.5
        samples = sampled(server.port, tmp_path / "s", of("/", rate=200), enough=60)
    slowest_first = sum(sample.seconds for sample in samples)
    span = max(sample.at + sample.seconds for sample in samples) - min(sample.at for sample in samples)
    assert slowest_first > 5 * span


def test_only_the_authenticated_have_a_cookie(tmp_path: Path) -> None:
    with serving() as server:
        settings = VisitorsSettings(anonymous=("/anonymous",), authenticated=("/known",), cookie="session=x", rate=50)
        samples = sampled(server.port, tmp_path / "s", settings, enough=6)
    assert {sample.audience for sample in samples} == {"anonymous", "authenticated"}
    for head in server.asked:
        assert ("Cookie: session=x" in head) == ("GET /known" in head)


def test_nobody_is_asked_where_no_audience_has_a_page(tmp_path: Path) -> None:
    edge = EdgeSettings(service="s", url="http://127.0.0.1:1", health_url="http://127.0.0.1:1/")
    visitors = Visitors(VisitorsSettings(), edge, tmp_path / "s")
    visitors.start()
    visitors.stop()
    assert read(tmp_path / "s") == []


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    whole = Sample(1.0, "anonymous", 200, 0.1)
    (tmp_path / "s").write_text(json.dumps([1.0, "anonymous", 200, 0.1]) + '\n[2.0, "anon\n[3]\n')
    assert read(tmp_path / "s") == [whole]


def test_figures() -> None:
    samples = [Sample(float(n), "anonymous", 200, n / 100) for n in range(100)]
    samples[40] = Sample(40.0, "anonymous", 503, 0.4)
    samples[50] = Sample(50.5, "anonymous", None, 0.5)
    samples[60] = Sample(60.0, "anonymous", 200, 0.6, stale="error")
    found = summarize([*reversed(samples), Sample(1.0, "origin", 500, 1.0)])
    assert found == {
        "anonymous": {"requests": 100, "errors": 2, "stale": 1, "p50": 0.5, "p99": 0.99, "seconds_down": 10.5},
        "origin": {"requests": 1, "errors": 1, "stale": 0, "p50": 1.0, "p99": 1.0, "seconds_down": 0.0},
    }
