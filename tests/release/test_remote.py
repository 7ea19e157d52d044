"""The secrets in a repository's URL let Git in, and are shown to nobody."""

from __future__ import annotations

import base64
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import UsageError
from edgeguard.release import remote
from edgeguard.release.source import resolve
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.http_server import Request


def command_lines() -> str:
    said = ""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            said += path.read_bytes().replace(b"\0", b" ").decode(errors="replace") + "\n"
    return said


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """A repository behind Basic authentication; the users and passwords that it hears, and what processes then show."""
    site = tmp_path / "site.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(site)], check=True)
    tree = subprocess.run(["git", "-C", str(site), "mktree"], input=b"", capture_output=True, check=True).stdout.strip()
    who = ("-c", "user.name=a", "-c", "user.email=a@a.invalid")
    commit = subprocess.run(
        ["git", "-C", str(site), *who, "commit-tree", tree.decode(), "-m", "x"], capture_output=True, check=True
    ).stdout.strip()
    subprocess.run(["git", "-C", str(site), "update-ref", "refs/heads/main", commit.decode()], check=True)
    subprocess.run(["git", "-C", str(site), "update-server-info"], check=True)
    heard: list[str] = []
    shown: list[str] = []

    def answer(request: Request) -> None:
        said = request.headers["Authorization"]
        if said is None:
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="site"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        heard.append(base64.b64decode(said.removeprefix("Basic ")).decode())
        shown.append(command_lines())
        path = site / request.path.partition("?")[0].removeprefix("/site.git/")
        body = path.read_bytes() if path.is_file() else b""
        request.send_response(200 if path.is_file() else 404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with serving(answer) as url:
        yield f"{url}/site.git", heard, shown


@pytest.mark.parametrize(
    ("userinfo", "meant"),
    [("me:canary%2Fsecret", "me:canary/secret"), ("canary-token", "canary-token:")],
)
def test_git_is_let_in_and_nobody_sees_how(
    served: tuple[str, list[str], list[str]], tmp_path: Path, userinfo: str, meant: str
) -> None:
    url, heard, shown = served
    cache = tmp_path / "cache"
    for _ in range(2):  # a clone, and a fetch
        found = resolve(url.replace("//", f"//{userinfo}@"), "main", cache=cache)
        assert set(heard) == {meant}
        heard.clear()
    assert any("git" in line for line in shown)
    assert not [line for lines in shown for line in lines.splitlines() if "canary" in line]
    kept = [path for path in cache.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert kept == []
    assert "canary" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://a.invalid/x.git?private_token=canary",
        "https://a.invalid/x.git?a=b&access-key=canary",
        "ssh://me:canary@a.invalid/x.git",
        "https://me:canary%0Ahost=b@a.invalid/x.git",
    ],
)
def test_a_secret_that_git_would_show_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(url, "main", cache=tmp_path)
    assert "canary" not in f"{refused.value.message} {refused.value.remedy}"


@pytest.mark.parametrize(
    "url", ["/srv/a.git", "git@a.invalid:x.git", "ssh://git@a.invalid/x.git", "https://a.invalid/x"]
)
def test_other_addresses_stay_as_they_are(url: str) -> None:
    assert remote.of(url) == remote.Remote(url)
