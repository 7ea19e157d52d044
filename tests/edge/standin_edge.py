"""An origin and a cache in front of it, which the tests of the edge control."""

from __future__ import annotations

import http.client
import http.server
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from edgeguard.edge.claim import FREE, SLOTS, Claim
from edgeguard.edge.fastly import policy
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.edge.fastly.policy import Snippet
from edgeguard.settings import EdgeSettings
from edgeguard.site.asking import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


BASE, CEILING = 60, 3600
STATUS_NAME = "edgeguard-status"
TOKEN = "sentinel-of-the-token"
CLOSED = {"Edgeguard-Closed": "d1", "Retry-After": "30", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class Page:
    """A page as a visitor got it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def stale(self) -> str | None:
        return self.headers.get("edgeguard-stale")


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # who is turned away here would see an outage that nobody meant


@dataclass
class Origin:
    """A real server. Every page says how often the origin was asked, so that an old answer is seen."""

    pages: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    closed: bool = False
    refusal: Mapping[str, str] = field(default_factory=lambda: CLOSED)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    _place: socket.socket | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _server: _Server | None = None
    _thread: threading.Thread | None = None

    def page(self, status: int = 200, cache: str = "max-age=10", more: Mapping[str, str] | None = None) -> str:
        """Make a new page with this Cache-Control and more headers. Returns its path."""
        path = f"/page/{next(self._numbers)}"
        self.pages[path] = (status, ({"Cache-Control": cache} if cache else {}) | dict(more or {}))
        return path

    def count(self, path: str) -> int:
        """The number of requests for a page."""
        return sum(1 for where, _ in self.asked if where == path)

    @property
    def running(self) -> bool:
        return self._server is not None

    def up(self) -> None:
        if self._server is not None:
            return
        if self._place is None:
            # Bound and never listening, so that nobody gets the port while this origin is down.
            self._place = socket.socket()
            self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._place.bind(("127.0.0.1", 0))
            self.port = self._place.getsockname()[1]
        origin = self

        class Asked(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                origin.asked.append((self.path, headers))
                known = self.path.partition("?edgeguard=")[0]  # the query of who wants no cached answer
                status, said = (500, origin.refusal) if origin.closed else origin.pages.get(known, (404, {}))
                if status == 200 and said.get("ETag") and headers.get("if-none-match") == said["ETag"]:
                    status = 304
                body = b"" if status == 304 else f"answer {len(origin.asked)}".encode()
                self.send_response(status)
                for name, values in {**said, "Content-Length": str(len(body))}.items():
                    for value in values.split("\n"):  # a header that comes more than once
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", self.port), Asked)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def close(self) -> None:
        self.down()
        if self._place is not None:
            self._place.close()


@dataclass
class Cache(ABC):
    """A cache in front of an origin. `later` moves its clock, so no test waits."""

    origin: Origin
    skew: float = field(default=0.0, init=False)

    @property
    @abstractmethod
    def url(self) -> str:
        """The address for visitors."""

    @abstractmethod
    def later(self, seconds: float) -> None:
        """Move the cache's clock."""

    @abstractmethod
    def write(self, items: Mapping[str, str]) -> None:
        """Write the slots. Slots that are not named are free from now on."""

    @abstractmethod
    def purge(self, key: str, *, soft: bool) -> None:
        """Purge every page with this surrogate key."""

    def now(self) -> int:
        """The cache's clock."""
        return int(time.time() + self.skew)

    def get(self, path: str, **headers: str) -> Page:
        """Ask as a visitor, over a new connection, with the header that asks for the mark of stale answers."""
        sent = {"Edgeguard-Show": STATUS_NAME}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", path, sent)

    def ask(self, method: str, path: str, headers: Mapping[str, str]) -> Page:
        """Send one request with exactly these headers."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            pairs = {name.lower(): value for name, value in answer.getheaders()}
            return Page(answer.status, pairs, answer.read())
        finally:
            connection.close()


@dataclass
class StandinEdge(Cache):
    """The stand-in, with a policy installed."""

    ready: dict[str, str]
    respect_must_revalidate: bool = False
    closed_page: Path | None = None

    @property
    def url(self) -> str:
        return self.ready["edge_url"]

    @property
    def settings(self) -> EdgeSettings:
        return EdgeSettings(
            service=self.ready["service_id"],
            url=self.url,
            api_url=self.ready["api_url"],
            health_url=f"{self.url}/",
            base_grace=BASE,
            ceiling=CEILING,
            dictionary="edgeguard",
            respect_must_revalidate=self.respect_must_revalidate,
            closed_page=self.closed_page,
            status_name=STATUS_NAME,
            healthy_rounds=1,
        )

    @cached_property
    def edge(self) -> ByVcl:
        return ByVcl(self.settings, TOKEN, ask)

    def reset(self) -> None:
        """Bring the stand-in to its first state, but for the clock, the policy, and pages that no test asks for."""
        self.control("DELETE", "/faults")
        self.control("POST", "/switches", self._beliefs)
        self.control("POST", "/propagation", {"seconds": 0})
        self.nodes()
        self.respect_must_revalidate, self.closed_page = False, None
        self.origin.closed = False
        self.origin.refusal = CLOSED
        self.origin.up()
        self.origin.asked.clear()

    def start(self) -> None:
        self._beliefs = self.control("GET", "/switches")

    # -- the world -----------------------------------------------------------------------------------------------

    def page(self, status: int = 200, cache: str = "max-age=10", more: Mapping[str, str] | None = None) -> str:
        return self.origin.page(status, cache, more)

    def later(self, seconds: float) -> None:
        self.skew += seconds
        self.control("POST", "/clock", {"skew": self.skew})

    def asked(self, path: str) -> int:
        return self.origin.count(path)

    def claim(self, slot: str = "deploy0", *, grace: int, last: int = 1000, hold: int = 0) -> str:
        """Write a claim that lasts `last` seconds, held for `hold`."""
        hold_until = self.now() + hold if hold else 0
        value = _claim(slot, self.now() + last, grace, hold_until)
        self.write({slot: value})
        return value

    def write(self, items: Mapping[str, str]) -> None:
        self.edge.write(dict.fromkeys(SLOTS, FREE) | dict(items))

    def purge(self, key: str, *, soft: bool) -> None:
        self.edge.purge([key], soft=soft)

    def believe(self, **beliefs: bool) -> None:
        self.control("POST", "/switches", beliefs)

    def nodes(self, *, edges: int = 1, shield: bool = False, clustered: bool = False) -> None:
        """Choose the nodes that serve from now on."""
        self.control("POST", "/nodes", {"edges": edges, "shield": shield, "clustered": clustered, "lag": 0})

    def get_at_second_node(self, path: str, **headers: str) -> Page:
        """Ask as a visitor at the second edge node. Afterwards both nodes serve, in turns."""
        self.control("POST", "/nodes", {"edges": 2})
        nothing = "/nothing"
        while "standin1" not in self.get(nothing).headers["x-served-by"]:
            pass
        page = self.get(path, **headers)
        assert "standin2" in page.headers["x-served-by"]
        return page

    def control(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        return _call(method, self.ready["control_url"] + path, json.dumps(content).encode())

    # -- the service, without the adapter ------------------------------------------------------------------------

    def install(self, snippets: Sequence[Snippet]) -> None:
        """Install exactly these snippets and the dictionary, in a version cloned from the active one."""
        active = self.active()
        there = {
            Snippet(row["name"], row["type"], int(row["priority"]), row["content"])
            for row in self.api("GET", f"/version/{active}/snippet")
        }
        if there == set(snippets):
            return
        draft = self.api("PUT", f"/version/{active}/clone")["number"]
        at = f"/version/{draft}"
        for old in there - set(snippets):
            self.api("DELETE", f"{at}/snippet/{old.name}")
        if not self.api("GET", f"{at}/dictionary"):
            self.api("POST", f"{at}/dictionary", {"name": self.settings.dictionary})
        for new in set(snippets) - there:
            self.api("POST", f"{at}/snippet", {**vars(new), "priority": str(new.priority), "dynamic": "0"})
        assert self.api("GET", f"{at}/validate")["status"] == "ok"
        self.api("PUT", f"{at}/activate")

    def policy(self) -> tuple[Snippet, ...]:
        return policy.render(self.settings)

    def active(self) -> int:
        return next(int(row["number"]) for row in self.api("GET", "/version") if row["active"])

    def api(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.ready['api_url']}/service/{self.ready['service_id']}{path}"
        return _call(method, url, urlencode(form or {}).encode())


def _claim(slot: str, until: int, seconds: int, hold_until: int) -> str:
    return Claim(slot, until, seconds, "abcd1234", hold_until).value()


def _call(method: str, url: str, body: bytes) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(url, body if method != "GET" else None, {"Fastly-Key": TOKEN}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@contextmanager
def running_standin_edge() -> Iterator[StandinEdge]:
    """A running stand-in with an origin behind it, for as long as the block runs."""
    origin = Origin()
    origin.up()
    command = [sys.executable, "-m", "edgeguard.standin", "--json", "--token", TOKEN, "--propagation", "0"]
    command += ["--origin", f"http://127.0.0.1:{origin.port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        standin_edge = StandinEdge(origin, json.loads(process.stdout.readline()))
        standin_edge.start()
        yield standin_edge
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
        origin.close()
