"""A host's gate for tests: a real HAProxy, which is started as its unit does it, in front of a small application."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgeguard.cluster.host.haproxy import Gate
from edgeguard.cluster.host.haproxy_rules import configuration
from edgeguard.testing.local import free_port
from tests.http_server import Request, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNTIL = 1_800_000_000.0
CLOSED = "d-42; until=2027-01-15T08:00:00Z"


class Host:
    """A server's folder, its gate, and its application.

    The application notes what it is asked. /wait answers when `go` is set; /socket becomes a tunnel that says what it
    is told; /said?STATUS&JSON answers with this status and these headers.
    """

    def __init__(self, folder: Path, application: int, asked: Counter[str], go: threading.Event) -> None:
        self.folder = folder
        self.gate = Gate(folder)
        self.port = free_port()
        self.application = application
        self.asked = asked
        self.go = go
        self.process: subprocess.Popen[bytes] | None = None

    def configuration(self, **settings: object) -> str:
        return configuration(
            self.gate.folder,
            app_port=self.application,
            listen=f"127.0.0.1:{self.port}",
            **settings,  # type: ignore[arg-type]  # those of configuration
        )

    def start(self) -> None:
        process = self.process = subprocess.Popen(
            ["haproxy", "-W", "-f", self.gate.configuration, "-S", f"{self.gate.master},mode,600"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: process.poll() is not None or self.gate.alive())

    def end(self) -> None:
        """End HAProxy, its old processes too."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)
        until(lambda: not self.gate.runs())
        self.process = None

    def restart(self) -> None:
        self.end()
        self.start()

    def reload(self) -> None:
        """Have the master start a new process beside the old one."""
        before = self.workers()
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR2)
        until(lambda: self.workers()[0] not in before)

    def workers(self) -> list[int]:
        assert self.process is not None
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return sorted(map(int, told.split()), reverse=True)

    def ask(
        self, path: str = "/", method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        """One request over a connection of its own: status, headers, text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, b"x" if method == "POST" else None, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait until this is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def tunnel(web: Host) -> socket.socket:
    """A WebSocket, after its first words."""
    connection = socket.create_connection(("127.0.0.1", web.port), timeout=20)
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    connection.sendall(b"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%b\r\n" % key)
    assert connection.recv(4096).startswith(b"HTTP/1.1 101 ")
    connection.sendall(b"hello")
    assert connection.recv(5) == b"hello"
    return connection


@contextmanager
def host(**settings: object) -> Iterator[Host]:
    """A host whose gate is closed; its HAProxy runs."""
    asked: Counter[str] = Counter()
    go = threading.Event()

    def answer(request: Request) -> None:
        with suppress(ConnectionError):  # it was cut
            answer_one(request)

    def answer_one(request: Request) -> None:
        path, _, query = request.path.partition("?")
        asked[path] += 1
        if path == "/wait":
            go.wait(30)
        if path == "/socket":
            request.connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            )
            while piece := request.connection.recv(100):
                request.connection.sendall(piece)
            return
        status, _, headers = unquote(query).partition("&") if path == "/said" else ("200", "", "{}")
        request.send_response(int(status))
        for name, value in json.loads(headers).items():
            request.send_header(name, value)
        request.send_header("Edgeguard-Closed", "forged")
        request.send_header("Edgeguard-Release", "forged")
        text = b"" if status == "304" else str(request.headers).encode()
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    with tempfile.TemporaryDirectory(prefix="eg-") as folder, serving(answer) as url:
        made = Host(Path(folder, "web1"), int(url.rpartition(":")[2]), asked, go)
        made.gate.put(made.configuration(**settings))
        made.start()
        try:
            yield made
        finally:
            go.set()
            made.end()
