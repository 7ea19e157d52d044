"""An image that is sent over the system's own ssh."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from edgeguard.cluster.host import images
from edgeguard.cluster.ssh.images import send, try_out
from tests.cluster.arriving import build, everything

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from edgeguard.cluster.ssh.connection import Connection
    from tests.cluster.ssh import sshd

FILES: dict[str, str | bytes] = {f"app/{number}": os.urandom(1 << 20) for number in range(8)}


class Cut:
    """A connection whose first transfer of contents is cut in the middle, by the death of sshd's process."""

    def __init__(self, host: sshd.Host, connection: Connection) -> None:
        self._host, self._connection = host, connection
        self.sent = 0
        self.change = connection.change
        self.ask = connection.ask

    def stream(self, word: str, *arguments: str, content: Iterable[bytes], limit: float) -> bytes:
        return self._connection.stream(word, *arguments, content=self._counted(word, content), limit=limit)

    def _counted(self, word: str, content: Iterable[bytes]) -> Iterator[bytes]:
        for piece in content:
            yield piece
            if word == "receive":
                before, self.sent = self.sent, self.sent + len(piece)
                if before < 6 << 20 <= self.sent:
                    self._host.cut()


def test_an_image_arrives_over_ssh_and_is_tried_out(host: sshd.Host, tmp_path: Path) -> None:
    image, releases = tmp_path / "here" / "one", host.root / "releases"
    build(image, FILES)
    with closing(host.connection()) as connection:
        for _ in range(2):
            send(connection, image, releases)
            try_out(connection, image, releases)
    assert everything(releases / "one") == everything(image)


def test_a_transfer_that_ssh_cuts_goes_on(host: sshd.Host, tmp_path: Path) -> None:
    image, releases = tmp_path / "here" / "one", host.root / "releases"
    build(image, FILES)
    with closing(host.connection()) as connection:
        cut = Cut(host, connection)
        send(cut, image, releases)
    assert images.verify(releases / "one") == []
    assert cut.sent < 13 << 20, "what had arrived was not sent again"
    assert [path.name for path in releases.iterdir()] == ["one"]
