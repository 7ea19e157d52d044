"""An API or a front door that takes a request and never answers holds no command up that somebody interrupts."""

from __future__ import annotations

import contextlib
import signal
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.deploy.rehearsal import come_from, repository

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from tests.deploy.rehearsal import Ended, Rehearsal

HELD, UNCONFIRMED, LEFT_TO_DO, INTERRUPTED = 11, 9, 12, 130
EVERY, WRITES = ("GET", "POST", "PUT", "PATCH", "DELETE"), ("PATCH",)
EXTEND = ("grace", "extend", "rehearsal", "--for", "10m", "--reason", "a test")
PRE = ("hook", "pre", "rehearsal", "--for", "10m")
POST = ("hook", "post", "rehearsal", "deploy0")


class Silent(ThreadingHTTPServer):
    """Passes requests on to `behind`, but never answers those of some methods."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, behind: str, methods: Collection[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = behind
        self.methods = methods
        self.asked: list[str] = []
        self.is_asked, self.ended = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Passing(BaseHTTPRequestHandler):
    server: Silent

    def _pass(self) -> None:
        if self.command in self.server.methods:
            self.server.asked.append(self.path)
            self.server.is_asked.set()
            self.server.ended.wait()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        asked = urllib.request.Request(self.server.behind + self.path, body or None, headers, method=self.command)
        with contextlib.ExitStack() as opened:
            try:
                answer = opened.enter_context(urllib.request.urlopen(asked))
            except urllib.error.HTTPError as exc:
                answer = opened.enter_context(exc)
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815 (the names that http.server calls)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def silent(behind: str, methods: Collection[str]) -> Iterator[Silent]:
    with Silent(behind, methods) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
            serving.join()


def interrupted(rehearsal: Rehearsal, api: Silent, number: signal.Signals, *arguments: str, **variables: str) -> Ended:
    """The end of a command that gets a signal as soon as the API owes it an answer."""
    command = rehearsal.start(*arguments, **{"EDGEGUARD_EDGE__API_URL": api.url, **variables})
    assert api.is_asked.wait(60)
    command.process.send_signal(number)
    return command.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("purge", "rehearsal", "--key", "news"), INTERRUPTED, ""),
        (PRE, INTERRUPTED, ""),
        (EXTEND, INTERRUPTED, ""),
        (("grace", "release", "rehearsal", "support1"), INTERRUPTED, ""),
        (("grace", "show", "rehearsal"), INTERRUPTED, ""),
        (("wrap", "rehearsal", "--", "true"), INTERRUPTED, ""),
        (("cluster", "close", "rehearsal", "--for", "10m", "--reason", "a test"), INTERRUPTED, ""),
        (POST, LEFT_TO_DO, "; nothing is purged or given back yet; deploy0 stays in force until it ends by itself"),
        ((*POST, "--failed"), LEFT_TO_DO, "); it stays in force until it ends by itself"),
    ],
    ids=lambda value: "-".join(value[:2]) + "-failed" * ("--failed" in value) if isinstance(value, tuple) else "",
)
def test_a_command_that_waits_for_the_api_ends_at_a_signal(
    rehearsal: Rehearsal, number: signal.Signals, arguments: tuple[str, ...], code: int, words: str
) -> None:
    written = rehearsal.writes()
    with silent(rehearsal.ready["api_url"], EVERY) as api:
        ended = interrupted(rehearsal, api, number, *arguments)

        assert len(api.asked) == 1  # so the call's own time-out has not passed
    assert ended.code == code, ended.err
    assert f"interrupted by {number.name}{words}" in ended.err
    assert "Traceback" not in ended.err
    assert rehearsal.writes() == written
    assert rehearsal.status()["lock"] is None


def test_a_deploy_that_waits_for_the_api_has_closed_nothing(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with silent(rehearsal.ready["api_url"], EVERY) as api:
        site = come_from(repository(tmp_path / "r"))
        ended = interrupted(rehearsal, api, signal.SIGTERM, "deploy", "rehearsal", "--json", **site)

        assert len(api.asked) == 1
    assert (ended.code, ended.report["outcome"]) == (INTERRUPTED, "interrupted"), ended.err
    assert all(server["open"] for server in rehearsal.status()["servers"])


def test_a_command_that_waits_for_the_front_door_ends_at_a_signal(rehearsal: Rehearsal) -> None:
    with silent(rehearsal.ready["edge_url"], EVERY) as door:
        extend = rehearsal.start(*EXTEND, EDGEGUARD_EDGE__URL=door.url)
        assert door.is_asked.wait(60)
        extend.process.send_signal(signal.SIGHUP)
        ended = extend.end()

        assert len(door.asked) == 1
    assert ended.code == INTERRUPTED, ended.err
    assert "interrupted by SIGHUP" in ended.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (EXTEND, "support1 may be written: interrupted by {}"),
        (PRE, "Its claim, deploy0, could not be taken back (interrupted by {}) and may be in force"),
        (("wrap", "rehearsal", "--", "true"), "Its claim, deploy0, could not be taken back (interrupted by {})"),
    ],
    ids=["extend", "pre", "wrap"],
)
def test_a_claim_that_may_be_written_is_no_mere_interruption(
    rehearsal: Rehearsal, number: signal.Signals, arguments: tuple[str, ...], words: str
) -> None:
    with silent(rehearsal.ready["api_url"], WRITES) as api:
        ended = interrupted(rehearsal, api, number, *arguments)

    assert ended.code == UNCONFIRMED, ended.err
    assert words.format(number.name) in ended.err


def test_a_release_that_may_be_written_is_not_as_before(rehearsal: Rehearsal) -> None:
    assert rehearsal.run(*EXTEND).code == 0
    with silent(rehearsal.ready["api_url"], WRITES) as api:
        ended = interrupted(rehearsal, api, signal.SIGTERM, "grace", "release", "rehearsal", "support1")
    released = rehearsal.run("grace", "release", "rehearsal", "support1")

    assert ended.code == UNCONFIRMED, ended.err
    assert "support1 may be given back: interrupted by SIGTERM" in ended.err
    assert released.code == 0, released.err


def test_a_purge_whose_call_was_under_way_may_be_made(rehearsal: Rehearsal) -> None:
    with silent(rehearsal.ready["api_url"], ("POST",)) as api:
        ended = interrupted(rehearsal, api, signal.SIGTERM, "purge", "rehearsal", "--key", "news")

        assert len(api.asked) == 1
    assert ended.code == INTERRUPTED, ended.err
    assert "no call is surely made, and the next, which may be made too, was under way: news" in ended.err
