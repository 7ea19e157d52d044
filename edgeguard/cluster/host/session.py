"""One caller's session on this server, over a connection: `python ARCHIVE session FOLDER`.

A request is a line of JSON, and so is its answer, which has the request's id:

    {"id": 7, "act": "read_record"}
    {"id": 7, "answer": {"epoch": 3}}
    {"id": 8, "error": {"code": "fenced", "message": "epoch 4 is in force here", "remedy": ""}}

The arguments of an act stand beside its name. An act that changes something names its `caller`: [epoch, session,
serial] (fence.py). Such acts are carried out one by one, in the order in which they came: one that overtook another
would have the higher serial, and the other would be refused as late. Acts that only look are not held up by them.
Each answer comes when its act is done. Ids are whole numbers from 1 on; an error with the id 0 answers a line that is
no request, which changes nothing, or refuses the whole session. The session ends when its input ends and the changes
that it was asked for are done; what it has started goes on.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Callable

from edgeguard.cluster.host import strict_json
from edgeguard.cluster.host.errors import BUSY, FAILED, UNKNOWN_ACT, HostError, of_system

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LONGEST = 8 * 1024 * 1024
"""Bytes of one line. A longer one is answered with an error."""
SLOW = 8
"""So many slow acts at a time."""
WAITING = 64
"""So many changes wait for those before them."""
_SHOWN = 80  # characters of what a caller said, in an error


@dataclass(frozen=True)
class Act:
    """What can be asked for: `do(folder, **arguments)` returns what JSON can say, or raises HostError.

    `takes` tells of each argument whether a value is one; an argument that may be None may be left out. A `slow` act
    that changes nothing has a thread of its own.
    """

    do: Callable[..., Any]
    takes: Mapping[str, Callable[[object], bool]]
    slow: bool = False

    @property
    def in_order(self) -> bool:
        """Whether this act waits for all changes that came before it: it is one, or begins a session."""
        return not self.takes.keys().isdisjoint(("caller", "epoch"))


class Session:
    """Reads requests and answers them."""

    def __init__(self, folder: Path, acts: Mapping[str, Act], answers: IO[bytes]) -> None:
        self._folder = folder
        self._acts = acts
        self._answers = answers
        self._lock = threading.Lock()
        self._slow = threading.Semaphore(SLOW)
        self._changes: queue.Queue[tuple[int, Act, dict[str, Any]] | None] = queue.Queue(WAITING)
        self._changer = threading.Thread(target=self._change, daemon=True)

    def refuse(self, message: str, remedy: str) -> None:
        """Answer whatever will be asked with this error."""
        self._say(0, error=HostError(message, remedy))

    def end(self) -> None:
        """Answer nothing any more. A process that ends while a thread of it writes is aborted by Python."""
        self._lock.acquire()

    def serve(self, requests: IO[bytes]) -> None:
        """Answer every request, until the input ends or nobody reads the answers. Then finish the changes."""
        self._changer.start()
        try:
            self._read_all(requests)
        finally:
            self._changes.put(None)
            self._changer.join()

    def _read_all(self, requests: IO[bytes]) -> None:
        while line := requests.readline(LONGEST + 1):
            too_long = len(line) > LONGEST
            while len(line) > LONGEST and not line.endswith(b"\n"):
                line = requests.readline(LONGEST + 1) or b"\n"
            try:
                self._take(b"" if too_long else line)
            except BrokenPipeError:
                return

    def _take(self, line: bytes) -> None:
        number = 0
        try:
            number, act, arguments = self._read(line)
        except HostError as exc:
            self._say(number, error=exc)
            return
        if act.in_order:
            try:
                self._changes.put_nowait((number, act, arguments))
            except queue.Full:
                self._say(number, error=HostError(f"{WAITING} changes are waiting", "Ask again.", code=BUSY))
        elif not act.slow:
            self._do(number, act, arguments)
        elif self._slow.acquire(blocking=False):
            threading.Thread(target=self._do_slowly, args=(number, act, arguments), daemon=True).start()
        else:
            self._say(number, error=HostError(f"{SLOW} slow acts are under way", "Ask again.", code=BUSY))

    def _read(self, line: bytes) -> tuple[int, Act, dict[str, Any]]:
        """The id, the act and its arguments. Raises HostError (UNKNOWN_ACT) for all that is no request."""
        try:
            said = strict_json.read(line, most=LONGEST + 1)
        except strict_json.Fault:
            said = None
        if not isinstance(said, dict) or not _is_id(said.get("id")) or not isinstance(said.get("act"), str):
            raise HostError(f"no request, or a line of more than {LONGEST} bytes", code=UNKNOWN_ACT)
        number, name = said.pop("id"), said.pop("act")
        act = self._acts.get(name)
        if act is None:
            raise _Refused(number, f"there is no act {name[:_SHOWN]!r}; is this edgeguard older than the caller's?")
        wrong = [key for key in said if key not in act.takes]
        wrong += [key for key, fits in act.takes.items() if not fits(said.get(key))]
        if wrong:
            raise _Refused(number, f"{name}: {', '.join(sorted(wrong))[:_SHOWN]} can't be as it is, or is missing")
        return number, act, said

    def _change(self) -> None:
        """Carry out the changes. Each is done, whether or not the caller is still there to read the answer."""
        while (change := self._changes.get()) is not None:
            with suppress(BrokenPipeError):
                self._do(*change)

    def _do_slowly(self, number: int, act: Act, arguments: Mapping[str, Any]) -> None:
        try:
            self._do(number, act, arguments)
        except BrokenPipeError:
            pass  # the caller is gone; what was done stays done
        finally:
            self._slow.release()

    def _do(self, number: int, act: Act, arguments: Mapping[str, Any]) -> None:
        try:
            answer = act.do(self._folder, **arguments)
        except HostError as exc:
            self._say(number, error=exc)
        except OSError as exc:
            self._say(number, error=of_system(exc))
        except Exception as exc:  # noqa: BLE001 (the caller learns of it, and the session goes on)
            self._say(number, error=HostError(f"a bug in edgeguard's host program: {exc!r}", code=FAILED))
        else:
            self._say(number, answer)

    def _say(self, number: int, answer: object = None, error: HostError | None = None) -> None:
        said: dict[str, Any] = {"id": getattr(error, "number", number)}
        if error is None:
            said["answer"] = answer
        else:
            said["error"] = {"code": error.code, "message": error.message, "remedy": error.remedy}
        with self._lock:
            self._answers.write(json.dumps(said).encode() + b"\n")
            self._answers.flush()


def _is_id(said: object) -> bool:
    return type(said) is int and 0 < said < 1 << 53


class _Refused(HostError):
    """A request that has an id and can't be carried out."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message, code=UNKNOWN_ACT)
        self.number = number


def refuse_other_user(folder: Path) -> None:
    """Refuse a server's folder that is another user's: its files would have two owners, and one of them could not
    write."""
    if folder.exists() and folder.stat().st_uid != os.geteuid():
        raise HostError(
            f"{folder} belongs to user {folder.stat().st_uid}, and this is user {os.geteuid()}",
            "Log in as the user as whom `edgeguard cluster prepare` was run.",
        )


def main(folder: Path, acts: Mapping[str, Act]) -> None:
    """Serve whoever is at the other end of standard input and output."""
    session = Session(folder, acts, sys.stdout.buffer)
    try:
        refuse_other_user(folder)
    except HostError as exc:
        session.refuse(exc.message, exc.remedy)
        return
    session.serve(sys.stdin.buffer)
    session.end()
