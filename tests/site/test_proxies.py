"""Sites and Fastly's API are asked by the proxy that the machine's environment names, and this machine itself never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.fastly.api import Api
from edgeguard.errors import EdgeError, OriginsUnhealthy, UsageError
from edgeguard.machine import network
from edgeguard.site import visitors
from edgeguard.site.asking import Answer
from edgeguard.site.asking import ask as by_httpx
from edgeguard.site.light import ask as by_standard_library
from tests.http_server import serving

if TYPE_CHECKING:
    import http.server
    from collections.abc import Callable, Iterator


PASSWORD = "Basic bWU6d29yZA=="


def by_visitors(url: str, *, headers: dict[str, str], timeout: float) -> Answer:
    """As the others, but by those who sample a site."""
    try:
        status, heard = asyncio.run(visitors._get(url, headers))  # noqa: SLF001 (one request)
    except OSError as exc:
        raise OriginsUnhealthy(f"403? {exc}") from exc
    return Answer(status, heard, b"", timeout)


@pytest.fixture(params=[by_httpx, by_standard_library, by_visitors], ids=["httpx", "standard library", "visitors"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    asks: Callable[..., Answer] = request.param
    return asks


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str | None]]]:
    """What the proxy hears. It lets no TLS through, and answers for every site itself."""
    heard: list[tuple[str, str, str | None]] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        heard.append((request.command, request.path, request.headers["Proxy-Authorization"]))
        request.send_response(403 if request.command == "CONNECT" else 200)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(answer) as url:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.delenv(name.lower(), raising=False)
            monkeypatch.setenv(name, url.replace("//", "//me:word@"))
        monkeypatch.setenv("no_proxy", ".inside.invalid")
        yield heard


def test_a_site_is_asked_by_the_proxy(ask: Callable[..., Answer], heard: list[tuple[str, str, str | None]]) -> None:
    assert ask("http://site.invalid/page?q=1", headers={}, timeout=5).status == 200
    with pytest.raises(OriginsUnhealthy, match="403"):
        ask("https://site.invalid/", headers={}, timeout=5)
    with pytest.raises(OriginsUnhealthy):
        ask("http://www.inside.invalid/", headers={}, timeout=5)

    assert heard == [("GET", "http://site.invalid/page?q=1", PASSWORD), ("CONNECT", "site.invalid:443", PASSWORD)]


def test_this_machine_is_asked_itself(ask: Callable[..., Answer], heard: list[tuple[str, str, str | None]]) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(204)
        request.end_headers()

    with serving(answer) as url:
        assert ask(url, headers={}, timeout=5).status == 204
        assert ask(url.replace("127.0.0.1", "localhost"), headers={}, timeout=5).status == 204
    assert heard == []


def test_the_api_is_asked_by_the_proxy(heard: list[tuple[str, str, str | None]]) -> None:
    api = Api("https://api.invalid", "token", sleep=lambda _: None)
    with pytest.raises(EdgeError):
        api.once("service.get_service_detail", "look", {"service_id": "s"})
    with pytest.raises(EdgeError):
        api._post("/purge/x", "purge", {})  # noqa: SLF001 (one attempt)

    assert heard == [("CONNECT", "api.invalid:443", PASSWORD)] * 2


def test_an_api_without_tls_is_asked_by_the_proxy(heard: list[tuple[str, str, str | None]]) -> None:
    api = Api("http://api.invalid", "token", sleep=lambda _: None)
    with pytest.raises(EdgeError):
        api.once("service.get_service_detail", "look", {"service_id": "s"})
    with pytest.raises(EdgeError):
        api._post("/purge/x", "purge", {})  # noqa: SLF001 (one attempt)

    assert heard == [
        ("GET", "http://api.invalid/service/s/details", PASSWORD),
        ("POST", "http://api.invalid/purge/x", PASSWORD),
    ]


@pytest.mark.parametrize(
    ("never", "host", "asked"),
    [
        ("10.0.0.0/8", "10.1.2.3", None),
        ("10.0.0.0/8, fd00::/8", "[fd00::1]:8080", None),
        ("10.0.0.0/8", "11.1.2.3", "http://proxy.invalid"),
        ("10.0.0.0/x,example.com", "www.example.com", None),
        ("example.com", "www.example.org", "http://proxy.invalid"),
        ("*", "www.example.org", None),
        ("", "127.1.2.3", None),
        ("", "[::1]:80", None),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(
    monkeypatch: pytest.MonkeyPatch, never: str, host: str, asked: str | None
) -> None:
    for name, value in (("HTTP_PROXY", "proxy.invalid"), ("NO_PROXY", never)):
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.lower(), raising=False)
    assert network.proxy(f"http://{host}/") == asked


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:word@proxy.invalid")
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        Api("https://api.invalid", "token").once("service.get_service_detail", "look", {"service_id": "s"})
    assert "word" not in f"{caught.value.message} {caught.value.remedy}"
