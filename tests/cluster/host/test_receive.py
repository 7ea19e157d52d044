"""What a sender says and sends is judged, and nothing is written outside of the image's own folder."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster.host import images, manifest, offers, receive
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.partial import Partial
from edgeguard.cluster.ssh.images import send
from tests.cluster.arriving import Host, build, everything
from tests.cluster.host.small_disk import for_root, small_disk
from tests.cluster.host.test_archive import pythons

if TYPE_CHECKING:
    from pathlib import Path

FILES: dict[str, str | bytes] = {"app/one": "first", "app/two": "second", "app/deep/three": "third"}


_FINISH = """
import pathlib, sys
from edgeguard.cluster.host import receive
receive.finish(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    build(tmp_path / "here" / "one", FILES)
    return tmp_path / "here" / "one"


def offer_of(lines: list[list[Any]]) -> bytes:
    """An offer of just these lines, whose digest is right."""
    text = "".join(f"{json.dumps(line[:4])}\n" for line in lines)
    try:
        digest = manifest.digest(text, images.CONTENT)
    except (ValueError, IndexError):
        digest = ""
    return "".join(f"{json.dumps(line)}\n" for line in (json.dumps({"digest": digest}), *lines)).encode()


APP = ["0555", "folder", "", "app", 0, 0]
NONE = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        ["0444", "file", NONE, "app/../../x", 1, 0],
        ["0444", "file", NONE, "../x", 1, 0],
        ["0444", "file", NONE, "/etc/x", 1, 0],
        ["0444", "file", NONE, "app//x", 1, 0],
        ["0444", "file", NONE, "app/./x", 1, 0],
        ["0444", "file", NONE, "app/no/x", 1, 0],
        ["0444", "file", NONE, "app/x\0", 1, 0],
        ["0444", "file", NONE, "app", 1, 0],
        ["0444", "file", NONE, "release.json", 1, 0],
        ["0444", "file", NONE, "etc/x", 1, 0],
        ["0444", "file", NONE, "app/\ud800", 1, 0],
        ["4555", "file", NONE, "app/x", 1, 0],
        ["2555", "folder", "", "app/x", 0, 0],
        ["0444", "special", "", "app/x", 0, 0],
        ["0444", "device", "", "app/x", 0, 0],
        ["0444", "file", "x", "app/x", 1, 0],
        ["0444", "file", NONE, "app/x", -1, 0],
        ["0444", "file", NONE, "app/x", True, 0],
        ["0444", "file", NONE, "app/x", 1, 1 << 80],
        ["0444", "file", NONE, "app/x"],
        ["-", "link", "", "app/x", 0, 0],
        ["-", "link", "/\0", "app/x", 0, 0],
        [],
    ],
)
def test_an_offer_of_what_no_image_holds_is_refused(host: Host, line: list[Any]) -> None:
    said = _said(host, "offer", offer_of([APP, line]))
    assert "error" in said
    assert not (host.releases / "one").exists()
    assert not (host.releases / "one.partial").exists()


def test_nothing_is_written_through_a_link(host: Host, tmp_path: Path) -> None:
    link = ["-", "link", str(tmp_path), "app/out", 0, 0]
    assert "error" in _said(host, "offer", offer_of([APP, link, ["0444", "file", NONE, "app/out/x", 1, 0]]))
    assert "answer" in _said(host, "offer", offer_of([APP, link]))
    assert os.readlink(host.releases / "one.partial/app/out") == str(tmp_path)  # noqa: PTH115 (as it is)
    folder, file = ["0555", "folder", "", "app/out", 0, 0], ["0444", "file", NONE, "app/out/x", 1, 0]
    assert _said(host, "offer", offer_of([APP, folder, file]))["answer"]["lacking"] == [2]
    assert not (host.releases / "one.partial/app/out").is_symlink()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"[]\n", b"\xff\n", b'"{}"\n', b'"[]"\n[1]\n', b"1\n" * 9])
def test_what_is_no_offer_is_refused(host: Host, content: bytes) -> None:
    assert "error" in _said(host, "offer", content)


def test_a_stream_that_is_not_what_was_offered_is_refused(host: Host, image: Path) -> None:
    offer = offers.make(image)
    lacking = _said(host, "offer", offer.content)["answer"]["lacking"]
    right = b"".join((image / offer.items[number].path).read_bytes() for number in lacking)
    head: dict[str, Any] = {"offer": offer.digest, "lacking": lacking}

    def sent(head: object, body: bytes) -> str:
        said = _said(host, "receive", json.dumps(head).encode() + b"\n" + body)
        return str(said.get("error", {}).get("message", said.get("answer")))

    assert "cut" in sent(head, right[:-1])
    assert "not what the image's manifest says" in sent(head, b"x" * len(right))
    assert "more than" in sent(head, right + b"x" * (1 << 20))
    assert "no file of the number" in sent({**head, "lacking": [len(offer.items)]}, right)
    assert "no file of the number" in sent({**head, "lacking": [-1]}, right)
    assert "no file of the number" in sent({**head, "lacking": [0]}, right)
    assert "another sender" in sent({**head, "offer": "x"}, right)
    assert "does not say" in sent({**head, "lacking": "all"}, right)
    assert "does not say" in sent([], right)
    assert not (host.releases / "one").exists()


def test_an_image_is_made_only_of_what_has_arrived(host: Host, image: Path) -> None:
    with pytest.raises(HostError, match="has not arrived"):
        host.ask("finish", image=str(host.releases / "one"), release="x", within=30)
    offer = offers.make(image)
    _said(host, "offer", offer.content)
    with pytest.raises(HostError, match="has not arrived whole"):
        host.ask("finish", image=str(host.releases / "one"), release=offer.release, within=30)
    assert images.finished(host.releases) == []
    send(host, image, host.releases)
    assert images.finished(host.releases) == [host.releases / "one"]


@pytest.mark.parametrize("seed", range(3))
def test_whoever_dies_on_the_way_leaves_no_image_that_is_not_whole(host: Host, tmp_path: Path, seed: int) -> None:
    null = subprocess.DEVNULL
    image, chance = tmp_path / "here" / "one", random.Random(seed)
    build(image, {f"app/{number}": f"{number}" for number in range(2000)})
    offer = offers.make(image)
    there = host.releases / "one"
    for _ in range(3):
        lacking = _said(host, "offer", offer.content).get("answer", {}).get("lacking", [])
        body = b"".join((image / offer.items[number].path).read_bytes() for number in lacking)
        head = json.dumps({"offer": offer.digest, "lacking": lacking}).encode() + b"\n"
        finish = [sys.executable, "-c", _FINISH, str(there), offer.release]
        for argv, given in (
            ([*host.program, "offer", str(there)], offer.content),
            ([*host.program, "receive", str(there)], head + body),
            (finish, b""),
        ):
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=null, stderr=null) as process:
                assert process.stdin is not None
                process.stdin.write(given)
                process.stdin.flush()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0.1, 0.6))
                process.kill()
        assert all(images.verify(found) == [] for found in images.finished(host.releases))
    send(host, image, host.releases)
    assert everything(there) == everything(image)
    assert [path.name for path in host.releases.iterdir()] == ["one"]


def test_pruning_keeps_what_is_in_use_and_what_arrives(host: Host, image: Path, tmp_path: Path) -> None:
    for name in ("two", "three", "four"):
        build(tmp_path / "here" / name, {"app/x": name})
        send(host, tmp_path / "here" / name, host.releases)
    described = {"release": "x", "cwd": "/", "start": ["true"], "hooks": {}}
    for name in ("two", "three"):
        said: dict[str, Any] = {"name": name, "image": str(host.releases / name), "described": described}
        host.change("put", 0, **said, variables={}, within=30)
    (host.folder / "current").symlink_to("generations/two")
    _said(host, "offer", offers.make(image).content)
    arriving = Partial(host.releases / "one")
    with arriving.writer():
        host.change("prune", 0, releases=str(host.releases), keep=["three"], within=30)
        assert sorted(path.name for path in host.releases.iterdir()) == ["one.partial", "three", "two"]
    host.change("prune", 0, releases=str(host.releases), keep=["three"], within=30)
    assert sorted(path.name for path in host.releases.iterdir()) == ["three", "two"]


@for_root
def test_a_full_disk_is_told_and_trying_again_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "host", "6m") as root:
        _fill_and_try_again(root, tmp_path / "here" / "large")


def _fill_and_try_again(root: Path, image: Path) -> None:
    build(image, {f"app/{number}": os.urandom(1 << 20) for number in range(4)})
    filler = root / "filler"

    def fill(word: str, _piece: bytes) -> bool:
        if word == "receive" and not filler.exists():
            free = os.statvfs(root)
            filler.write_bytes(bytes(free.f_bavail * free.f_frsize - (2 << 20)))
        return False

    host = Host(root, cut=fill)
    with pytest.raises(HostError, match=r"no room .* MB are needed, \d+ MB are free"):
        send(host, image, host.releases)
    assert 0 < host.sent < 5 << 20
    assert images.finished(host.releases) == []
    before = host.sent
    with pytest.raises(HostError, match="no room"):
        send(host, image, host.releases)
    assert host.sent == before, "asked beforehand"
    filler.write_bytes(b"")
    send(host, image, host.releases)
    assert images.verify(host.releases / "large") == []
    assert host.sent - before < 4 << 20, "what had arrived stayed"


def test_a_name_that_is_no_place_for_an_image_is_refused(tmp_path: Path) -> None:
    for name in ("x.partial", ".x"):
        with pytest.raises(HostError, match="can't be an image's place"):
            receive.take_offer(tmp_path / name, b"")


@pytest.mark.parametrize("python", [pytest.param(path, id=version) for version, path in pythons().items()])
def test_every_python_from_3_9_on_takes_an_image(host: Host, image: Path, python: str) -> None:
    host.program = (python, *host.program[1:])
    send(host, image, host.releases)
    assert everything(host.releases / "one") == everything(image)
    assert host.ask("try_out", image=str(host.releases / "one"), within=30) == {"faults": [], "versions": {}}


def test_a_python_that_reads_names_otherwise_is_refused(host: Host) -> None:
    """It would find right what it has written wrong."""
    python, *rest = host.program
    ran = subprocess.run(
        [python, "-X", "utf8=0", *rest, "offer", host.releases / "one"],
        env={"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
        input=b"",
        capture_output=True,
        check=True,
    )
    assert b"and not as UTF-8" in ran.stdout


def _said(host: Host, word: str, content: bytes) -> dict[str, Any]:
    said = host.stream(word, str(host.releases / "one"), content=[content], limit=30)
    found: dict[str, Any] = json.loads(said)
    return found
