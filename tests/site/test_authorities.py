"""A company's own authority is trusted by everybody who asks, behind the company's proxy too."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.fastly.api import Api
from edgeguard.errors import EdgeError, OriginsUnhealthy, UsageError
from edgeguard.machine import network
from edgeguard.release.git import environment as git_environment
from edgeguard.site.asking import ask as by_httpx
from edgeguard.site.light import ask as by_standard_library
from tests.http_server import Request, serving
from tests.site.test_proxies import by_visitors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SITE = "site.test"


def by_the_client(url: str) -> None:
    try:
        Api(url, "token", sleep=lambda _: None).once("service.get_service_detail", "look", {"service_id": "s"})
    except EdgeError as exc:
        if "shape" not in exc.message:  # an answer that is no service of Fastly's is an answer
            raise


def by_post(url: str) -> None:
    Api(url, "token", sleep=lambda _: None)._post("/purge/x", "purge", {})  # noqa: SLF001 (one attempt)


def by_git(url: str) -> None:
    argv = ["git", "ls-remote", url]
    done = subprocess.run(argv, env=git_environment(), capture_output=True, check=False, text=True)
    if "certificate" in done.stderr or "verif" in done.stderr:
        raise OriginsUnhealthy(done.stderr)


ASKERS: dict[str, Callable[[str], object]] = {
    "httpx": lambda url: by_httpx(url, headers={}, timeout=10),
    "standard library": lambda url: by_standard_library(url, headers={}, timeout=10),
    "visitors": lambda url: by_visitors(url, headers={}, timeout=10),
    "client": by_the_client,
    "post": by_post,
    "git": by_git,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority of its own (ca.pem, and the folder `trusted`), and a certificate of it for SITE."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "names").write_text(f"subjectAltName=DNS:{SITE},IP:127.0.0.1\n", encoding="ascii")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=Authority",
        f"req -newkey rsa:2048 -nodes -keyout site.key -out site.csr -subj /CN={SITE}",
        "x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out site.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, check=True)
    (folder / "trusted").mkdir()
    shutil.copy(folder / "ca.pem", folder / "trusted/ca.pem")
    subprocess.run(["openssl", "rehash", str(folder / "trusted")], capture_output=True, check=True)
    return folder


@contextmanager
def site(made: Path) -> Iterator[int]:
    """The site, with TLS; its port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "site.pem", made / "site.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def leading_to(port: int) -> Callable[[Request], None]:
    """A proxy's answer: whatever the site is called, the connection is led to this port."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        with socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=_pump, args=(there, request.connection))
            back.start()
            _pump(request.connection, there)
            back.join()
        request.close_connection = True

    return answer


def _pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while piece := one.recv(65_536):
            other.sendall(piece)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(params=["directly", "by a proxy"])
def url(request: pytest.FixtureRequest, made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    network.authorities.cache_clear()
    with site(made) as port:
        if request.param == "directly":
            yield f"https://127.0.0.1:{port}"
        else:
            with serving(leading_to(port)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy)
                yield f"https://{SITE}"
    network.authorities.cache_clear()


@pytest.mark.parametrize("asker", ASKERS)
def test_an_authority_of_one_s_own_is_trusted_by_all_who_ask(
    url: str, asker: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((OriginsUnhealthy, EdgeError)):
        ASKERS[asker](url)
    for name, place in (("SSL_CERT_FILE", "ca.pem"), ("SSL_CERT_DIR", "trusted")):
        if (asker, name) != ("git", "SSL_CERT_DIR"):  # of no effect on Debian's Git
            with monkeypatch.context() as named:
                named.setenv(name, str(made / place))
                network.authorities.cache_clear()
                ASKERS[asker](url)


@pytest.mark.parametrize("asker", ["httpx", "standard library", "visitors", "client", "post"])
def test_a_file_of_authorities_that_is_not_there_is_named(
    url: str, asker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    network.authorities.cache_clear()
    with pytest.raises(UsageError, match="SSL_CERT_FILE: /nonexistent"):
        ASKERS[asker](url)
