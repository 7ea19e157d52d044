"""An image, and a server that it has not reached: both are folders here, and the host program is a process."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import archive
from edgeguard.cluster.host import images, manifest
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

ODD = (b"new\nline", b"\xff\xfe", b"-rf", b"n" * 255, b" ", b"\xc3\xa4", b"a\\b", b"'\"$")
DAY = 86_400 * 10**9


def build(image: Path, contents: dict[str, str | bytes]) -> str:
    """An image with these files, odd names, a link, an empty folder and a file that may be run. Returns its digest."""
    for part in images.FROZEN:
        (image / part).mkdir(parents=True)
    for name, content in contents.items():
        path = image / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    for odd in ODD:
        (image / "app" / os.fsdecode(odd)).write_bytes(odd)
    (image / "app" / "empty").mkdir()
    (image / "app" / "link").symlink_to("/nowhere/\udcff")
    (image / "app" / "run").write_text("#!/bin/sh\n", encoding="utf-8")
    (image / "app" / "run").chmod(0o755)
    for number, path in enumerate([*image.rglob("*")]):
        os.utime(path, ns=(DAY, DAY + number), follow_symlinks=False)
    return freeze(image)


def freeze(image: Path) -> str:
    """Make an image of a folder that has its parts."""
    for part in images.FROZEN:
        manifest.freeze(image / part)
    content = manifest.take(image, images.FROZEN)
    digest = manifest.digest(content, images.CONTENT)
    (image / "manifest").write_text(content, encoding="utf-8")
    (image / "release.json").write_text(json.dumps({"digest": digest, "inputs": image.name}), encoding="utf-8")
    for name in ("manifest", "release.json"):
        (image / name).chmod(0o444)
    image.chmod(0o555)
    return digest


def everything(image: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that an image is: mode, time and content of everything in it."""
    found = {}
    for path in image.rglob("*"):
        status = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        timed = "/" in str(path.relative_to(image)) and status.st_mtime_ns
        found[str(path.relative_to(image))] = (status.st_mode, int(timed), content)
    return found


class Host:
    """A server's root, and a connection to it: each act is a session of its own, each word a process."""

    def __init__(self, root: Path, *, cut: Callable[[str, bytes], bool] = lambda _word, _sent: False) -> None:
        self.root = root
        self.releases = root / "releases"
        self.folder = root / "servers" / "web1"
        self.sent = 0
        self.program = archive.program(archive.put(root / "host"))
        self._cut = cut

    def change(self, act: str, epoch: int, *, within: float, **arguments: Any) -> Any:  # noqa: ANN401 (JSON)
        """An act in a session that begins for it."""
        said = [{"id": 1, "act": "begin", "epoch": epoch}]
        session = self._ask(said, within)
        return self._ask([{"id": 1, "act": act, "caller": [epoch, session, 1], **arguments}], within)

    def ask(self, act: str, *, within: float, **arguments: Any) -> Any:  # noqa: ANN401 (JSON)
        """An act that changes nothing."""
        return self._ask([{"id": 1, "act": act, **arguments}], within)

    def _ask(self, said: list[dict[str, Any]], limit: float) -> Any:  # noqa: ANN401 (JSON)
        with subprocess.Popen(
            [*self.program, "session", self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("".join(f"{json.dumps(line)}\n" for line in said).encode())
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            process.stdin.close()
            assert process.wait(limit) == 0
        if "error" in answer:
            raise HostError(answer["error"]["message"], answer["error"]["remedy"], code=answer["error"]["code"])
        return answer["answer"]

    def stream(self, word: str, *arguments: str, content: Iterable[bytes], limit: float) -> bytes:
        """The output of a word. What `cut` says yes to is not sent, nor what would follow."""
        with subprocess.Popen(
            [*self.program, word, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                for piece in content:
                    if self._cut(word, piece):
                        break
                    process.stdin.write(piece)
                    process.stdin.flush()
                    self.sent += len(piece) if word == "receive" else 0
            with suppress(BrokenPipeError):
                process.stdin.close()
            said = process.stdout.read()
            assert process.wait(limit) == 0
        return said
