from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "token-of-the-tests"


@dataclass
class Behaviour:
    """What the origin answers."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "max-age=10"),)
    body: bytes = b"page"
    delay: threading.Event | None = None


class SwitchableOrigin:
    """A real server that can be told to answer something else, and to refuse connections."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.connections: set[socket.socket] = set()
        self.port = 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self, status: int = 200, body: bytes = b"page", **headers: str) -> None:
        """`cache_control="…"` is the header Cache-Control."""
        pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.behaviour = Behaviour(status, pairs, body)

    def up(self) -> None:
        """Accept connections, if it doesn't."""
        if self._server is not None:
            return
        self._server = _Server(self)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def down(self) -> None:
        """Refuse connections, and cut those that are open."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        self._thread.join()
        for connection in tuple(self.connections):
            connection.shutdown(socket.SHUT_RDWR)
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, origin: SwitchableOrigin) -> None:
        self.origin = origin
        super().__init__(("127.0.0.1", origin.port), _Asked)

    def handle_error(self, *_: object) -> None:
        """A connection that the edge or `down` cut is no news."""


class _Asked(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.origin.connections.add(self.connection)

    def finish(self) -> None:
        self.server.origin.connections.discard(self.connection)
        super().finish()

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.origin.asked.append((self.command, self.path, headers, body))
        said = self.server.origin.behaviour
        if said.delay is not None:
            said.delay.wait(10)
        self.send_response(said.status)
        for name, value in said.headers:
            self.send_header(name, value)
        if said.status != 304:
            self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        if self.command != "HEAD" and said.status != 304:
            self.wfile.write(said.body)

    do_GET = do_HEAD = do_POST = do_PUT = respond  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Standin:
    """A stand-in that runs, and clients for its faces."""

    process: subprocess.Popen[str]
    service_id: str
    api_url: str
    edge_url: str
    control_url: str
    api: httpx.Client
    edge: httpx.Client
    control: httpx.Client

    def at(self, path: str) -> str:
        return f"/service/{self.service_id}{path}"

    def install(self, dictionary: str | None = None, **snippets: str) -> str:
        """Clone, put one snippet per subroutine there, validate, activate. Returns the dictionary's id ("": none)."""
        active = next(version["number"] for version in self.versions() if version["active"])
        draft = self.ok("PUT", f"/version/{active}/clone")["number"]
        for old in self.ok("GET", f"/version/{draft}/snippet"):
            self.ok("DELETE", f"/version/{draft}/snippet/{old['name']}")
        dictionary_id = ""
        if dictionary is not None:
            known = {row["name"]: row["id"] for row in self.ok("GET", f"/version/{draft}/dictionary")}
            dictionary_id = (
                known.get(dictionary)
                or self.ok("POST", f"/version/{draft}/dictionary", data={"name": dictionary})["id"]
            )
        for place, content in snippets.items():
            kind = place.rstrip("_")
            form = {"name": f"test {kind}", "type": kind, "content": content, "priority": "10", "dynamic": "0"}
            self.ok("POST", f"/version/{draft}/snippet", data=form)
        assert self.ok("GET", f"/version/{draft}/validate") == {"status": "ok", "msg": None, "errors": []}
        self.ok("PUT", f"/version/{draft}/activate")
        return dictionary_id

    def versions(self) -> list[dict[str, Any]]:
        return list(self.ok("GET", "/version"))

    def ok(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 - JSON
        answer = self.api.request(method, self.at(path), **content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def set(self, face: str, **values: object) -> None:
        answer = self.control.post(f"/{face}", json=values)
        assert answer.status_code == 200, answer.text

    def reset(self) -> None:
        self.control.delete("/faults")
        self.set("clock", skew=0)
        self.set("propagation", seconds=0)
        self.api.post(self.at("/purge_all"))


def start(origin_url: str | None, *arguments: str) -> subprocess.Popen[str]:
    origin = () if origin_url is None else ("--origin", origin_url)
    command = [sys.executable, "-m", "edgeguard.standin", *origin, "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def connect(process: subprocess.Popen[str]) -> Standin:
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    api = httpx.Client(base_url=ready["api_url"], headers={"Fastly-Key": ready["token"]}, trust_env=False)
    edge = httpx.Client(base_url=ready["edge_url"], trust_env=False)
    control = httpx.Client(base_url=ready["control_url"], headers={"Fastly-Key": ready["token"]}, trust_env=False)
    urls = (ready["api_url"], ready["edge_url"], ready["control_url"])
    return Standin(process, ready["service_id"], *urls, api, edge, control)


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Standin, SwitchableOrigin]]:
    origin = SwitchableOrigin()
    try:
        process = start(origin.url, "--token", TOKEN, "--propagation", "0")
        try:
            standin = connect(process)
            with standin.api, standin.edge, standin.control:
                yield standin, origin
        finally:
            code = stop(process)
        assert code == 0
    finally:
        origin.down()


@pytest.fixture
def standin(running: tuple[Standin, SwitchableOrigin]) -> Iterator[Standin]:
    """One process a module; every test begins with an empty cache, no faults, the defaults and the right time."""
    standin, _ = running
    standin.reset()
    beliefs = standin.control.get("/switches").json()
    yield standin
    standin.set("switches", **beliefs)


@pytest.fixture
def origin(running: tuple[Standin, SwitchableOrigin]) -> Iterator[SwitchableOrigin]:
    _, origin = running
    origin.behaviour = Behaviour()
    origin.asked.clear()
    yield origin
    origin.up()
