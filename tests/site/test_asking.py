"""One question over HTTP, to servers that answer in every way; the health check's way of asking does as the other."""

from __future__ import annotations

import gzip
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import OriginsUnhealthy
from edgeguard.site.asking import ask as by_httpx
from edgeguard.site.light import ask as by_standard_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.site.asking import Answer


@pytest.fixture(params=[by_httpx, by_standard_library], ids=["httpx", "standard library"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    asks: Callable[..., Answer] = request.param
    return asks


@contextmanager
def answering(*parts: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads one request, and answers with these bytes and nothing else."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65_536))
                with suppress(ConnectionError):  # who has read enough may hang up
                    for part in parts:
                        connection.sendall(part)

        thread = threading.Thread(target=once)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        thread.join(10)


def test_an_answer_is_told_whole(ask: Callable[..., Answer]) -> None:
    with answering(b"HTTP/1.1 503 No\r\nA: 1\r\na: 2\r\nContent-Length: 4\r\n\r\nbody") as (url, heard):
        answer = ask(f"{url}/where?q=1", headers={"Edgeguard-Show": "x"}, timeout=5)

    assert (answer.status, answer.headers["a"], answer.body) == (503, "1, 2", b"body")
    assert answer.seconds > 0
    assert heard[0].startswith(b"GET /where?q=1 HTTP/1.1\r\n")
    assert b"\r\nEdgeguard-Show: x\r\n" in heard[0]
    assert b"\r\nConnection: close\r\n" in heard[0]


def test_a_redirect_is_an_answer(ask: Callable[..., Answer]) -> None:
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (url, _):
        assert ask(url, headers={}, timeout=5).status == 302


def test_what_was_compressed_is_told_plain(ask: Callable[..., Answer]) -> None:
    """Asked for as browsers ask, so that the copy which they get is the one that is looked at."""
    packed = gzip.compress(b"page" * 1000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    with answering(head, packed) as (url, heard):
        assert ask(url, headers={}, timeout=5).body == b"page" * 1000
    assert b"Accept-Encoding: gzip" in heard[0]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_body_is_read_only_so_far(ask: Callable[..., Answer], pack: type[bytes]) -> None:
    body = pack(b"0" * 1_000_000)
    encoding = b"Content-Encoding: gzip\r\n" if body[:2] == b"\x1f\x8b" else b""
    with (
        answering(b"HTTP/1.0 200 OK\r\n" + encoding + b"\r\n", body) as (url, _),
        pytest.raises(OriginsUnhealthy, match="more than 1000 bytes"),
    ):
        ask(url, headers={}, timeout=5, at_most=1000)


def test_names_that_are_not_ascii_are_sent_as_uris_have_them(ask: Callable[..., Answer]) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, heard):
        ask(f"{url}/straße?q=a b&c=%C3%A4", headers={}, timeout=5)

    assert heard[0].startswith(b"GET /stra%C3%9Fe?q=a%20b&c=%C3%A4 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip",
    ],
)
def test_what_is_no_answer_is_told_as_such(ask: Callable[..., Answer], answer: bytes) -> None:
    with answering(answer) as (url, _), pytest.raises(OriginsUnhealthy, match=r"gives no answer: ."):
        ask(url, headers={}, timeout=5)


@pytest.mark.parametrize("url", ["", "www.example.com", "ftp://127.0.0.1/", "http://", "http://[::1", "http://h:port/"])
def test_what_is_no_address_gives_no_answer(ask: Callable[..., Answer], url: str) -> None:
    with pytest.raises(OriginsUnhealthy, match=r"gives no answer: ."):
        ask(url, headers={}, timeout=5)


def test_nobody_there_and_nobody_who_speaks(ask: Callable[..., Answer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OriginsUnhealthy, match="timed out"):
            ask(url, headers={}, timeout=0.2)
    with pytest.raises(OriginsUnhealthy, match="refused"):
        ask(url, headers={}, timeout=5)
