from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from tests.standin.conftest import SwitchableOrigin, connect, start, stop


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_then_silence_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """With a keep-alive connection open and a page never asked for: it ends at once and leaves nothing behind."""
    process = start("http://127.0.0.1:9")
    standin = connect(process)
    try:
        with standin.api, standin.edge, standin.control:
            assert standin.edge.get("/").status_code == 503, "nothing listens there"
            assert standin.api.get(standin.at("/version/1/settings")).status_code == 200
            assert [version["active"] for version in standin.versions()] == [True]
            process.send_signal(number)
            assert (process.communicate(timeout=5)[0], process.returncode) == ("", 0)
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_named(unused_port: int) -> None:
    with socket.create_server(("127.0.0.1", unused_port)):
        process = subprocess.run(
            [
                sys.executable,
                "-m",
                "edgeguard.standin",
                "--origin",
                "http://127.0.0.1:9",
                "--edge-port",
                str(unused_port),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (process.returncode, process.stdout) == (2, "")
    assert f"port {unused_port} (the stand-in's edge) is in use" in process.stderr


def test_a_port_that_there_is_not_is_bad_usage() -> None:
    process = start("http://127.0.0.1:9", "--edge-port", "65536")
    assert (process.communicate(timeout=20)[0], process.returncode) == ("", 2)


def test_without_an_origin_it_serves_a_page_of_its_own() -> None:
    process = start(None)
    standin = connect(process)
    with standin.api, standin.edge, standin.control:
        first, again, posted = standin.edge.get("/<a>"), standin.edge.get("/<a>"), standin.edge.post("/<a>")
        assert (first.status_code, first.headers["X-Cache"], again.headers["X-Cache"]) == (200, "MISS", "HIT")
        assert "%3Ca%3E" in first.text
        assert posted.status_code == 405
        assert standin.edge.head("/b").headers["Content-Length"]
    assert stop(process) == 0


def test_ports_can_be_chosen(unused_port: int) -> None:
    process = start("http://127.0.0.1:9", "--control-port", str(unused_port))
    standin = connect(process)
    with standin.api, standin.edge, standin.control:
        assert f"http://127.0.0.1:{unused_port}" == standin.control_url
    assert stop(process) == 0


@pytest.mark.parametrize("origin", ["127.0.0.1:80", "https://127.0.0.1", "http://", "http://h:port", "http://h/path"])
def test_an_origin_that_can_not_be_asked_is_refused(origin: str) -> None:
    process = start(origin)
    assert process.stdout is not None
    assert process.stdout.read() == ""
    assert process.wait(5) == 2
    process.stdout.close()


def test_an_origin_that_comes_back_is_asked_again() -> None:
    """Over a connection that it had closed meanwhile, too."""
    origin = SwitchableOrigin()
    process = start(origin.url)
    try:
        standin = connect(process)
        with standin.api, standin.edge, standin.control:
            origin.answers(cache_control="max-age=0")
            seen = [standin.edge.get("/").status_code]
            origin.down()
            seen.append(standin.edge.get("/").status_code)
            origin.up()
            seen.append(standin.edge.get("/").status_code)
            origin.down()
            origin.up()
            seen.append(standin.edge.get("/").status_code)
            assert seen == [200, 503, 200, 200]
    finally:
        stop(process)
        origin.down()
