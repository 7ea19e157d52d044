"""The caller's side of a session of the host program: requests in lines, and answers by their ids."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.session import LONGEST
from edgeguard.cluster.ssh import answers
from edgeguard.cluster.ssh import channel as channels

if TYPE_CHECKING:
    from edgeguard.cluster.ssh.channel import Channel

_LOOK = "Look at the host's load and its disk. Repeating is harmless."


class Cut(Exception):
    """The session ended before the answer came. Asking again in another one may help."""

    def __init__(self, why: HostError) -> None:
        super().__init__(why.message)
        self.why = why


class Session:
    """One session of the host program. Threads may share it."""

    def __init__(self, channel: Channel, first: bytes) -> None:
        self._channel = channel
        self._waiting: dict[int, Future[Any]] = {}
        self._last = 0  # id
        self._state = threading.Lock()  # of the two above, and of `_ended`
        self._sending = threading.Lock()
        self._changing = threading.Lock()
        self._sessions: dict[int, list[int]] = {}  # by epoch: the session's number, and the last serial
        self._ended: tuple[HostError, bool] | None = None  # why, and whether asking again may help
        self._reader = threading.Thread(target=self._read, args=(first,), name="ssh", daemon=True)
        self._reader.start()

    @property
    def over(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._ended is not None

    def ask(self, act: str, arguments: dict[str, Any], limit: float) -> Any:  # noqa: ANN401
        """The answer to an act, within so many seconds. Raises HostError or Cut."""
        deadline = time.monotonic() + limit
        return self._result(act, self._send(act, arguments, deadline), deadline, limit)

    def change(self, act: str, epoch: int, arguments: dict[str, Any], limit: float) -> Any:  # noqa: ANN401
        """As `ask`, for an act that names its caller: the holder of this epoch, this session, and the next serial."""
        deadline = time.monotonic() + limit
        with self._changing:  # the host takes serials in the order in which they are sent
            if epoch not in self._sessions:
                begun = self._result("begin", self._send("begin", {"epoch": epoch}, deadline), deadline, limit)
                if type(begun) is not int:
                    self._end(answers.broken("a session without a number"), again=False)
                    self._channel.kill()
                    raise answers.broken("a session without a number")
                self._sessions[epoch] = [begun, 0]
            session = self._sessions[epoch]
            session[1] += 1
            sent = self._send(act, {"caller": [epoch, *session], **arguments}, deadline)
        return self._result(act, sent, deadline, limit)

    def close(self) -> None:
        """End the session; the host program ends by itself, or is left to itself."""
        self._end(HostError("the connection was closed"), again=False)
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
                    raise _fresh(*self._ended)
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
            except channels.Ended:
                pass  # the reader learns why
            except BaseException as exc:  # a part of the line is sent: nothing can follow it
                self._end(HostError(f"it did not take all of {act}", _LOOK), again=True)
                self._channel.kill()
                if not isinstance(exc, TimeoutError):
                    raise
        return answer

    def _result(self, act: str, answer: Future[Any], deadline: float, limit: float) -> Any:  # noqa: ANN401
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            late = f"no answer to {act} within {limit:.0f} s", _LOOK
            self._end(HostError(*late), again=True)  # what it still does must not meet what is asked next
            self._channel.kill()
            raise HostError(*late) from None

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
            self._end(exc, again=False)
            channel.kill()
        finally:
            self._end(channel.why(channel.end()), again=True)
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

    def _end(self, why: HostError, *, again: bool) -> None:
        """Nothing is asked any more, and whoever waits learns why. The first reason counts."""
        with self._state:
            self._ended = self._ended or (why, again)
            waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.set_exception(_fresh(*self._ended))


def _fresh(why: HostError, again: bool) -> Exception:  # noqa: FBT001 (as they are kept)
    """An error of its own for each thread: raising one changes it."""
    new = HostError(why.message, why.remedy, code=why.code)
    return Cut(new) if again else new
