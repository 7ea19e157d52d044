"""Tells a pusher what becomes of a push, as long as anybody listens."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeguard.push.pushes import Push, Pushes, Told

_POLL = 0.2  # seconds
_LEFT = 5.0  # seconds without anybody who holds the turn: a process that waits for it takes less
_PIECE = 2**16  # bytes
_NOT_DEPLOYED = 3  # the exit code for a push that was left: it is in the way of nothing, and nothing is done


@dataclass
class Followed:
    """A push, how much of its deploy's output was told, and since when nobody seems to deploy it."""

    pushes: Pushes
    push: Push
    read: int = 0
    left_since: float | None = None

    def events(self, told: Told) -> Iterator[dict[str, Any]]:
        """What is new. The last event has a `how`."""
        ended = told.end_of(self.push.serial)
        yield from self._output(last=ended is not None)
        facts = {"environment": self.push.environment, "push": self.push.serial, "commit": self.push.commit}
        if ended is not None:
            yield {"event": "ended", **facts, "how": ended.how, "exit_code": ended.code, "instead": ended.instead}
        elif self._is_left():
            yield {"event": "ended", **facts, "how": "left", "exit_code": None, "instead": None}

    def _output(self, *, last: bool) -> Iterator[dict[str, Any]]:
        """The whole lines that are new; at the end also the last one, which nothing may have ended."""
        path = self.pushes.output(self.push.serial)
        while path.exists() and (piece := files.slice_of(path, self.read, self.read + _PIECE)):
            whole = piece[: piece.rfind(b"\n") + 1] or (piece if last or len(piece) == _PIECE else b"")
            if not whole:
                return
            self.read += len(whole)
            for line in whole.decode(errors="replace").removesuffix("\n").split("\n"):
                yield {"event": "output", "environment": self.push.environment, "text": line}

    def _is_left(self) -> bool:
        if not self.pushes.is_left(self.push.serial):
            self.left_since = None
            return False
        if self.left_since is None:
            self.left_since = time.monotonic()
        return time.monotonic() - self.left_since > _LEFT


def follow(followed: Sequence[Followed], tell: Callable[[dict[str, Any]], None], gone: Callable[[], bool]) -> int:
    """Tell what becomes of these pushes, until all have ended or nobody listens. Returns the first exit code of a
    deploy that is not 0."""
    code, open_ones = 0, list(followed)
    while open_ones and not gone():
        for each in list(open_ones):
            for event in each.events(each.pushes.read()):
                tell(event)
                if event["event"] == "ended":
                    open_ones.remove(each)
                    code = code or _code(event)
        if open_ones:
            time.sleep(_POLL)
    return code


def _code(ended: dict[str, Any]) -> int:
    """A push that was skipped is no failure: the newer one is told to its own pusher."""
    if ended["how"] in ("died", "left"):
        return _NOT_DEPLOYED
    return int(ended["exit_code"] or 0)
