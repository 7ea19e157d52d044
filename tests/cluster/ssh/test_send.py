"""An image that was sent is on the server as it was built, and only what the server lacked has travelled."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster.host import images
from edgeguard.cluster.host.errors import IMAGE_CHANGED, HostError
from edgeguard.cluster.ssh.images import send
from tests.cluster.arriving import Host, build, everything

if TYPE_CHECKING:
    from pathlib import Path

LARGE = os.urandom(1 << 20)
FILES: dict[str, str | bytes] = {
    "app/site.py": "one",
    "app/large": LARGE,
    "app/same": LARGE,
    "home/.cache/x": "x",
    "toolchain/bin/tool": "tool",
}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    build(tmp_path / "here" / "one", FILES)
    return tmp_path / "here" / "one"


def arrived(host: Host, image: Path) -> None:
    there = host.releases / image.name
    assert images.verify(there) == []
    assert everything(there) == everything(image)
    assert there.stat().st_mode == image.stat().st_mode
    assert [path.name for path in host.releases.iterdir() if path.suffix] == []


def test_an_image_arrives_byte_for_byte(host: Host, image: Path) -> None:
    send(host, image, host.releases)
    arrived(host, image)
    assert host.sent < 2 * len(LARGE), "a content that is there twice travels once"


def test_only_what_changed_travels(host: Host, image: Path, tmp_path: Path) -> None:
    send(host, image, host.releases)
    build(tmp_path / "here" / "two", {**FILES, "app/site.py": "two", "app/fresh": "fresh"})
    host.sent = 0
    send(host, tmp_path / "here" / "two", host.releases)
    arrived(host, tmp_path / "here" / "two")
    assert 0 < host.sent < 200
    assert (host.releases / "two/app/large").stat().st_nlink == 1
    host.sent = 0
    send(host, tmp_path / "here" / "two", host.releases)
    assert host.sent == 0


def test_a_cut_transfer_goes_on(tmp_path: Path) -> None:
    pieces: list[int] = []

    def cut(word: str, piece: bytes) -> bool:
        if word == "receive":
            pieces.append(len(piece))
        return word == "receive" and len(pieces) == 2

    files = {f"app/{name}": os.urandom(300_000) for name in "abc"}
    build(tmp_path / "here" / "three", {**FILES, **files})
    host = Host(tmp_path / "host", cut=cut)
    send(host, tmp_path / "here" / "three", host.releases)
    arrived(host, tmp_path / "here" / "three")
    assert host.sent < 1.5 * (len(LARGE) + 900_000)


def test_two_at_one_time_do_no_harm(image: Path, tmp_path: Path) -> None:
    hosts = [Host(tmp_path / "host") for _ in range(4)]
    errors: list[BaseException] = []

    def bring(host: Host) -> None:
        try:
            send(host, image, host.releases)
        except BaseException as exc:  # noqa: BLE001 (the test tells it)
            errors.append(exc)

    threads = [threading.Thread(target=bring, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fenced = [exc for exc in errors if not (isinstance(exc, HostError) and exc.code == "fenced")]
    assert fenced == []
    arrived(hosts[0], image)


def test_a_damaged_older_image_does_not_spread(host: Host, image: Path, tmp_path: Path) -> None:
    send(host, image, host.releases)
    for name in ("app/large", "app/same"):
        (host.releases / "one" / name).chmod(0o644)
        (host.releases / "one" / name).write_bytes(b"patched")
    build(tmp_path / "here" / "two", FILES)
    host.sent = 0
    send(host, tmp_path / "here" / "two", host.releases)
    arrived(host, tmp_path / "here" / "two")
    assert host.sent > len(LARGE)


def lose_a_file(folder: Path) -> None:
    """Remove a file of an image, as its owner can."""
    mode = folder.stat().st_mode
    folder.chmod(0o755)
    (folder / "site.py").unlink()
    folder.chmod(mode)


def test_an_image_that_was_changed_there_is_replaced(host: Host, image: Path) -> None:
    send(host, image, host.releases)
    lose_a_file(host.releases / "one/app")
    send(host, image, host.releases)
    arrived(host, image)


def test_an_image_that_was_changed_there_stays_while_it_is_in_use(host: Host, image: Path) -> None:
    send(host, image, host.releases)
    described: dict[str, Any] = {"release": "x", "cwd": "/", "start": ["true"], "hooks": {}}
    there = str(host.releases / "one")
    host.change("put", 0, name="g1", image=there, described=described, variables={}, within=30)
    (host.folder / "current").symlink_to("generations/g1")
    lose_a_file(host.releases / "one/app")
    with pytest.raises(HostError, match="in use") as raised:
        send(host, image, host.releases)
    assert raised.value.code == IMAGE_CHANGED


def test_a_file_that_was_changed_here_is_told(host: Host, image: Path) -> None:
    (image / "app/site.py").chmod(0o644)
    (image / "app/site.py").write_bytes(b"two")
    with pytest.raises(HostError, match="app/site") as raised:
        send(host, image, host.releases)
    assert raised.value.code == IMAGE_CHANGED
    assert not (host.releases / "one").exists()
