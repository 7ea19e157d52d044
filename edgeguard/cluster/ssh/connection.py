"""A connection to one server: acts are asked of the host program there, over one `ssh` that is kept to the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.ssh import channel as channels
from edgeguard.cluster.ssh import stream
from edgeguard.cluster.ssh.command import Target
from edgeguard.cluster.ssh.session import Cut, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from edgeguard.cluster.ssh.channel import Channel

__all__ = ["Connection", "Target"]


class Connection:
    """A server's acts, for any thread. It is opened when it is first needed, and again when it was cut."""

    def __init__(
        self,
        target: Target,
        root: Path,
        folder: Path,
        *,
        may_install: bool | None = None,
        opening: float = channels.OPENING,
    ) -> None:
        """`root` is the cluster's folder on the host, `folder` this server's. With `may_install` the host program is
        put there if it is missing (the default, unless with sudo: then `cluster prepare` alone does that). `opening` is
        the limit for the host program's start, in seconds."""
        self.target = target
        self.root = root
        self.folder = folder
        self._may_install = not target.sudo if may_install is None else may_install
        self._opening = opening
        self._lock = threading.Lock()
        self._live: Session | None = None
        self._closed = False

    def ask(self, act: str, *, within: float = 20.0, **arguments: object) -> Any:  # noqa: ANN401 (what JSON can say)
        """The answer to an act that changes nothing. If the connection is cut, the act is asked once more.

        Raises:
            HostError: the act's own, with its code; or there is no answer within so many seconds, or no connection.
        """
        return self._twice(lambda live: live.ask(act, arguments, within))

    def change(self, act: str, epoch: int, *, within: float = 30.0, **arguments: object) -> Any:  # noqa: ANN401
        """The answer to an act that changes something, as the holder of this epoch. If the connection is cut, the act
        is repeated once in a new session, which shuts out the old one: what it still has under way is refused.

        Raises:
            HostError: as `ask`. Unless it is the act's own, the act may be done or not, or still be under way; the next
                change shuts it out.
        """
        return self._twice(lambda live: live.change(act, epoch, arguments, within))

    def stream(self, word: str, *arguments: str, content: Iterable[bytes], limit: float) -> bytes:
        """What the host program prints when it runs with this word and these arguments, over an `ssh` of its own, with
        `content` as its input. It prints at most LONGEST bytes, within `limit` seconds.

        Raises:
            HostError: it exits with another code than 0 (its own error if it prints {"error": …} as an act's answer),
                or there is no connection.
        """
        channel, first = self.channel(word, *arguments)
        return stream.run(channel, first, word, content, limit)

    def channel(self, word: str, *arguments: str) -> tuple[Channel, bytes]:
        """The host program that runs with this word and these arguments, over an `ssh` of its own, and what it has said
        already. The caller closes it. Raises HostError where there is no connection."""
        return self._channel([word, *arguments])

    def close(self) -> None:
        """End it. Nothing of it is left on this machine. What was asked of the server goes on there."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, None
        if live is not None:
            live.close()

    def _twice(self, do: Callable[[Session], Any]) -> Any:  # noqa: ANN401
        try:
            return do(self._opened())
        except Cut:
            pass
        try:
            return do(self._opened())
        except Cut as exc:
            raise exc.why from exc

    def _opened(self) -> Session:
        with self._lock:
            if self._closed:
                raise HostError("the connection was closed")
            if self._live is None or self._live.over:
                if self._live is not None:
                    self._live.close()
                self._live = None
                self._live = Session(*self._channel(["session", str(self.folder)]))
            return self._live

    def _channel(self, argv: list[str]) -> tuple[Channel, bytes]:
        return channels.opened(self.target, self.root, argv, may_install=self._may_install, seconds=self._opening)
