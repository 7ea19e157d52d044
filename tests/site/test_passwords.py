"""A site behind Basic authentication: its password is sent to it alone, and shown to nobody."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edgeguard import settings
from edgeguard.edge.purging import address
from edgeguard.environment import sign_in
from edgeguard.errors import UsageError
from edgeguard.machine import network
from edgeguard.site.asking import ask as by_httpx
from edgeguard.site.light import ask as by_standard_library
from edgeguard.site.visitors import Visitors
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgeguard.site.asking import Answer
    from tests.http_server import Request

SECRET, WRITTEN = "hunter2 s/cret", "hunter2%20s%2Fcret"
BASIC = f"Basic {base64.b64encode(f'review:{SECRET}'.encode()).decode()}"


@pytest.fixture
def site() -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """A site's address with its password, and what it hears: host, path and Authorization."""
    heard: list[tuple[str, str, str | None]] = []

    def answer(request: Request) -> None:
        heard.append((request.headers["Host"], request.path, request.headers["Authorization"]))
        request.send_response(200 if request.headers["Authorization"] == BASIC else 401)
        request.send_header("ETag", '"1"')
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(answer) as url:
        yield url.replace("//", f"//review:{WRITTEN}@"), heard


def written(folder: Path, site: str) -> Path:
    """A file in which every address has the password."""
    (folder / "staging.toml").write_text(
        f'[edge]\nservice = "abc"\nurl = "{site}"\nhealth_url = "{site}/health"\napi_url = "http://127.0.0.1:9"\n'
        f'[visitors]\nanonymous = ["/", "{site}/a"]\nauthenticated = ["{site}/b"]\norigin = ["{site}/c"]\n'
        f'[doctor]\nurls = ["{site}/d"]\nsitemap = "{site}/e"\norigin = "{site}"\n'
    )
    return folder


def test_no_address_keeps_its_password(site: tuple[str, list[object]], tmp_path: Path) -> None:
    read = settings.load_edge_only("staging", written(tmp_path, site[0]))
    assert "hunter2" not in repr(read) + read.model_dump_json()
    assert read.passwords == {read.edge.url: f"review:{WRITTEN}"}


def test_every_request_to_the_site_has_the_password_and_nothing_shows_it(
    site: tuple[str, list[tuple[str, str, str | None]]], tmp_path: Path
) -> None:
    address, heard = site
    config, outside = ["--config", str(written(tmp_path, address))], address.replace(f"review:{WRITTEN}@", "")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGEGUARD_")}
    verbs = [["probe", "staging", *config, "--format", how] for how in ("text", "nagios", "prometheus", "json")]
    for arguments in (*verbs, ["doctor", "staging", *config]):
        said = subprocess.run(
            [sys.executable, "-m", "edgeguard", *arguments],
            env={**environment, "FASTLY_API_TOKEN": "x" * 20, "EDGEGUARD_STATE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "hunter2" not in said.stdout + said.stderr
        assert said.returncode in (1, 2, 4), said.stderr
    sign_in(settings.load_edge_only("staging", tmp_path))
    assert {sent for _, _, sent in heard} == {BASIC}
    assert {host for host, _, _ in heard} == {outside.removeprefix("http://")}


@pytest.mark.parametrize("ask", [by_httpx, by_standard_library])
def test_another_port_does_not_hear_the_password(
    site: tuple[str, list[tuple[str, str, str | None]]], ask: Callable[..., Answer]
) -> None:
    address, heard = site
    network.sign_in({address.replace(f"review:{WRITTEN}@", ""): f"review:{WRITTEN}"})
    strange: list[str | None] = []

    def answer(request: Request) -> None:
        strange.append(request.headers["Authorization"])
        request.send_response(204)
        request.end_headers()

    with serving(answer) as other:
        ask(other, headers={}, timeout=5)
    assert ask(address.replace(f"review:{WRITTEN}@", ""), headers={}, timeout=5).status == 200
    assert ask(address.replace(f"review:{WRITTEN}@", ""), headers={"Authorization": "x"}, timeout=5).status == 401
    assert strange == [None]
    assert [sent for _, _, sent in heard] == [BASIC, "x"]


def test_sampled_visitors_have_the_password(
    site: tuple[str, list[tuple[str, str, str | None]]], tmp_path: Path
) -> None:
    read = settings.load_edge_only("staging", written(tmp_path, site[0]))
    sign_in(read)
    visitors = Visitors(read.visitors, read.edge, tmp_path / "samples.jsonl")
    visitors.start()
    while len(site[1]) < 6:
        time.sleep(0.01)
    visitors.stop()
    assert {sent for _, _, sent in site[1]} == {BASIC}
    assert {path for _, path, _ in site[1]} >= {"/b", "/c"}


@pytest.mark.parametrize(
    ("addresses", "why"),
    [
        (
            {"url": "https://me:hunter2@a.example", "health_url": "https://me:other@a.example/"},
            "two users or passwords",
        ),
        (
            {"url": "https://a.example", "health_url": "https://a.example/", "api_url": "https://me:hunter2@x/"},
            "api_url",
        ),
        (
            {"url": "https://me:hunter2@a.example/path", "health_url": "https://a.example/"},
            "more than a site's address",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_without_the_password(addresses: dict[str, str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as refused:
        settings.for_service("abc", **addresses)
    assert "hunter2" not in str(refused.value)


def test_a_password_among_the_arguments_is_refused_and_not_shown() -> None:
    for how in ("text", "json"):
        said = subprocess.run(
            [sys.executable, "-m", "edgeguard", "probe", "--url", "https://me:hunter2@a.example", "--format", how],
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 3, said.stdout
        assert "EDGEGUARD_EDGE__URL" in said.stdout
        assert "hunter2" not in said.stdout + said.stderr
    for url in ("https://me:hunter2@a.example/", "https://me:hunter2@[a.example/"):
        with pytest.raises(UsageError, match="password") as refused:
            address(url)
        assert "hunter2" not in str(refused.value)
