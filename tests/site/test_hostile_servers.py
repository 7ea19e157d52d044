"""Whatever a server sends, a question ends in its time, takes little memory, and lets go when a signal comes."""

from __future__ import annotations

import os
import signal
import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from edgeguard.environment import visible_edge
from edgeguard.errors import Interrupted, OriginsUnhealthy
from edgeguard.machine.signals import Stop
from edgeguard.settings import EdgeSettings
from edgeguard.site import front_door, revalidation, sitemap
from edgeguard.site.asking import ask as by_httpx
from edgeguard.site.light import ask as by_standard_library
from tests.http_server import HEAD, HOSTILE, Request, bomb, hostile, serving

if TYPE_CHECKING:
    import http.server
    from collections.abc import Callable

    from edgeguard.site.asking import Answer

MIB = 2**20


@pytest.fixture(params=[by_httpx, by_standard_library], ids=["httpx", "standard library"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    asks: Callable[..., Answer] = request.param
    return asks


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_answer_is_no_answer(ask: Callable[..., Answer], how: str) -> None:
    """Each of them would go on for ever, or take more memory than an answer may."""
    with serving(hostile(*HOSTILE[how])) as url, pytest.raises(OriginsUnhealthy) as caught:
        ask(url, headers={}, timeout=0.5, at_most=MIB)

    assert url in caught.value.message
    assert len(caught.value.message) < 500


def test_a_gzip_bomb_is_not_unpacked_beyond_the_bound(ask: Callable[..., Answer]) -> None:
    packed = bomb(64)  # all of it comes in one piece
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with serving(hostile(head, [packed], 0)) as url:
        ask_once = pytest.raises(OriginsUnhealthy, match=f"more than {MIB} bytes")
        tracemalloc.start()
        try:
            with ask_once:
                ask(url, headers={}, timeout=10, at_most=MIB)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 8 * MIB


def test_a_sitemap_that_is_a_bomb_of_its_own_is_refused() -> None:
    """It is packed by itself, not by HTTP: a file named sitemap.xml.gz."""
    packed = bomb(64)
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(packed)
    with serving(hostile(head, [packed], 0)) as url, pytest.raises(OriginsUnhealthy, match="more than"):
        sitemap.pages(url, timeout=10)


def test_redirects_without_end_are_not_followed(ask: Callable[..., Answer]) -> None:
    asked: list[str] = []

    def elsewhere(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(302)
        request.send_header("Location", f"/{len(asked)}")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(elsewhere) as url:
        assert ask(url, headers={}, timeout=5).status == 302
    assert asked == ["/"]


def healthy(url: str) -> EdgeSettings:
    return EdgeSettings(service="s", url=url, health_url=f"{url}/health", healthy_timeout=0.2)


def test_a_front_door_that_drips_is_not_waited_for_beyond_its_time() -> None:
    with serving(hostile(*HOSTILE["drips its body"])) as url, pytest.raises(OriginsUnhealthy, match="timed out"):
        front_door.wait_healthy(healthy(url), None, sleep=Stop().sleep)


def test_a_signal_ends_a_question_that_is_under_way() -> None:
    drip = hostile(*HOSTILE["drips its body"])

    def answer(request: Request) -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        drip(request)

    stop = Stop()
    with serving(answer) as url, stop.listening(), pytest.raises(Interrupted):
        front_door.look(healthy(url), sleep=stop.sleep)


@pytest.mark.parametrize(
    ("etag", "sent"),
    [
        (b'"\xc3\xa9"', True),
        (b'"\xe9 and a space"', True),
        (b'"\x01\x1b[31m"', False),
        (b"1" * 65_536, False),
    ],
    ids=["UTF-8", "latin-1", "control characters", "64 KiB"],
)
def test_an_odd_etag_is_sent_as_it_is_or_named(etag: bytes, sent: bool) -> None:  # noqa: FBT001 (a case)
    heard: list[bytes] = []

    def origin(request: http.server.BaseHTTPRequestHandler) -> None:
        heard.append(request.headers["If-None-Match"].encode("latin-1"))
        request.wfile.write(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=5\r\nConnection: close\r\n\r\n")

    with (
        serving(hostile(HEAD + b"ETag: " + etag + b"\r\nContent-Length: 0\r\n\r\n", [], 0)) as url,
        serving(origin) as origin_url,
    ):
        edge = visible_edge(healthy(url), by_standard_library)
        answer = by_httpx(f"{url}/page", headers={}, timeout=5)
        found = revalidation.examine(f"{url}/page", answer.headers, edge, origin_url, needed=60, timeout=5)

    assert heard == ([etag] if sent else [])
    assert [finding.name for finding in found] == ["revalidates" if sent else "revalidation-unknown"]
    assert all(finding.text.isascii() and len(finding.text) < 300 for finding in found)
