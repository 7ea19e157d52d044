"""A connection to one server: acts are asked of the host program there, over one `ssh` that is kept to the end."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.session import LONGEST
from edgeguard.cluster.ssh import answers, stream
from edgeguard.cluster.ssh import channel as channels
from edgeguard.cluster.ssh.command import Target

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
        self._live: _Live | None = None
        self._closed = False

    def ask(self, act: str, *, limit: float = 20.0, **arguments: object) -> Any:  # noqa: ANN401 (what JSON can say)
        """The answer to an act that changes nothing. If the connection is cut, the act is asked once more.

        Raises:
            HostError: the act's own, with its code; or there is no answer within `limit` seconds, or no connection.
        """
        return self._twice(lambda live: live.ask(act, arguments, limit))

    def change(self, act: str, epoch: int, *, limit: float = 30.0, **arguments: object) -> Any:  # noqa: ANN401
        """The answer to an act that changes something, as the holder of this epoch. If the connection is cut, the act
        is repeated once in a new session, which shuts out the old one: what it still has under way is refused.

        Raises:
            HostError: as `ask`. Unless it is the act's own, the act may be done or not, or still be under way; the next
                change shuts it out.
        """
        return self._twice(lambda live: live.change(act, epoch, arguments, limit))

    def stream(self, word: str, *arguments: str, content: Iterable[bytes], limit: float) -> bytes:
        """What the host program prints when it runs with this word and these arguments, over an `ssh` of its own, with
        `content` as its input. It prints at most LONGEST bytes, within `limit` seconds.

        Raises:
            HostError: it exits with another code than 0 (its own error if it prints {"error": …} as an act's answer),
                or there is no connection.
        """
        channel, first = self._channel([word, *arguments])
        return stream.run(channel, first, word, content, limit)

    def close(self) -> None:
        """End it. Nothing of it is left on this machine. What was asked of the server goes on there."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, None
        if live is not None:
            live.close()

    def _twice(self, do: Callable[[_Live], Any]) -> Any:  # noqa: ANN401
        try:
            return do(self._opened())
        except _Cut:
            pass
        try:
            return do(self._opened())
        except _Cut as exc:
            raise exc.why from exc

    def _opened(self) -> _Live:
        with self._lock:
            if self._closed:
                raise HostError("the connection was closed")
            if self._live is None or self._live.over:
                if self._live is not None:
                    self._live.close()
                self._live = None
                self._live = _Live(*self._channel(["session", str(self.folder)]))
            return self._live

    def _channel(self, argv: list[str]) -> tuple[Channel, bytes]:
        return channels.opened(self.target, self.root, argv, may_install=self._may_install, seconds=self._opening)


class _Cut(Exception):
    """The connection was cut before the answer came."""

    def __init__(self, why: HostError) -> None:
        super().__init__(why.message)
        self.why = why


class _Live:
    """One session of the host program."""

    def __init__(self, channel: Channel, first: bytes) -> None:
        self._channel = channel
        self._waiting: dict[int, Future[Any]] = {}
        self._last = 0  # id
        self._state = threading.Lock()  # of the two above, and of `_ended`
        self._sending = threading.Lock()
        self._changing = threading.Lock()
        self._sessions: dict[int, list[int]] = {}  # by epoch: the session's number, and the last serial
        self._ended: Exception | None = None
        self._reader = threading.Thread(target=self._read, args=(first,), name="ssh", daemon=True)
        self._reader.start()

    @property
    def over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._ended is not None

    def ask(self, act: str, arguments: dict[str, Any], limit: float) -> Any:  # noqa: ANN401
        deadline = time.monotonic() + limit
        return self._result(act, self._send(act, arguments, deadline), deadline, limit)

    def change(self, act: str, epoch: int, arguments: dict[str, Any], limit: float) -> Any:  # noqa: ANN401
        deadline = time.monotonic() + limit
        with self._changing:  # the host takes serials in the order in which they are sent
            if epoch not in self._sessions:
                begun = self._result("begin", self._send("begin", {"epoch": epoch}, deadline), deadline, limit)
                if type(begun) is not int:
                    self._end(answers.broken("a session without a number"))
                    self._channel.kill()
                    raise answers.broken("a session without a number")
                self._sessions[epoch] = [begun, 0]
            session = self._sessions[epoch]
            session[1] += 1
            sent = self._send(act, {"caller": [epoch, *session], **arguments}, deadline)
        return self._result(act, sent, deadline, limit)

    def close(self) -> None:
        """End the session; the host program ends by itself, or is left to itself."""
        self._end(HostError("the connection was closed"))
        if self._sending.acquire(timeout=channels.ENDING):  # else somebody hangs in it
            self._channel.no_more()
            self._sending.release()
        self._reader.join(channels.ENDING)
        self._channel.kill()
        self._reader.join()

    def _send(self, act: str, arguments: dict[str, Any], deadline: float) -> Future[Any]:
        """Ask; the future has the answer, or why there is none."""
        answer: Future[Any] = Future()
        with self._sending:
            with self._state:
                if self._ended is not None:
                    raise self._ended
                self._last += 1
                number = self._last
                self._waiting[number] = answer
            line = json.dumps({"id": number, "act": act, **arguments}).encode() + b"\n"
            if len(line) > LONGEST:
                with self._state:
                    self._waiting.pop(number, None)
                raise HostError(f"{act} has more to say than {LONGEST} bytes", "Make it less.")
            try:
                self._channel.send(line, deadline)
            except TimeoutError:
                self._end(_Cut(HostError(f"it does not read {act}", "Is it overloaded? Repeating is harmless.")))
            except channels.Ended:
                pass  # the reader learns why
        return answer

    def _result(self, act: str, answer: Future[Any], deadline: float, limit: float) -> Any:  # noqa: ANN401
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            late = HostError(
                f"no answer to {act} within {limit:.0f} s",
                "Look at the host's load and its disk. Repeating is harmless.",
            )
            self._end(_Cut(late))  # what it still does must not meet what is asked next
            self._channel.kill()
            raise late from None

    def _read(self, heard: bytes) -> None:
        """Hand out the answers, to the connection's end; the reader's own thread."""
        channel = self._channel
        try:
            rest = bytearray(heard)
            searched = 0
            while True:
                while (end := rest.find(b"\n", searched)) >= 0:
                    self._take(bytes(rest[:end]))
                    del rest[: end + 1]
                    searched = 0
                searched = len(rest)
                if searched > LONGEST:
                    raise answers.broken(f"a line of more than {LONGEST} bytes")
                said = channel.read()
                if not said:
                    break
                rest += said
        except HostError as exc:
            self._end(exc)
            channel.kill()
        finally:
            self._end(_Cut(channel.why(channel.end())))
            with self._sending:
                channel.close()

    def _take(self, line: bytes) -> None:
        """Hand out one answer. Raises HostError if it is none, or refuses the session."""
        number, answer, failed = answers.read(line)
        if number == 0 and failed is not None:
            raise failed
        with self._state:
            waiting = self._waiting.pop(number, None)
        if waiting is None:
            raise answers.broken("an answer to nothing that was asked")
        if failed is None:
            waiting.set_result(answer)
        else:
            waiting.set_exception(failed)

    def _end(self, why: Exception) -> None:
        """Nothing is asked any more, and whoever waits learns why. The first reason counts."""
        with self._state:
            self._ended = self._ended or why
            waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.set_exception(self._ended)
