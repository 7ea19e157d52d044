"""The application's output on all servers, for drivers that can read it."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgeguard.cluster import tasks
from edgeguard.cluster.at_once import at_once
from edgeguard.errors import ClusterError, EdgeguardError, UsageError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.host.logs import Line, Piece

_POLL = 0.5
"""Seconds between two looks for new output."""
_AGAIN = 3.0
"""Seconds until a server is asked again that could not be."""


@runtime_checkable
class Logs(Protocol):
    """What a driver may do beyond the Protocol of clusters: tell what the application writes."""

    def logs(
        self, server: str, *, place: str | None, lines: int | None, ago: float | None, task: str | None = None
    ) -> Piece:
        """A piece of what the application wrote on this server, to its standard output and error, oldest first. With a
        `task` (its id), what this background task wrote; without one, what the web process did.

        From `place` on, where an earlier piece ended; without one the last `lines` (None: all that is kept) of the last
        `ago` seconds by the server's own clock (None: of all time). Each line is bounded, and
        empty ones may be missing. Nothing of the reader stays on the server, so it may leave at any time.

        Raises:
            UsageError: `ago` is given, and the driver notes no times.
            ClusterError: the server can't be asked.
        """


@dataclass
class Source:
    """One server's output, read piece by piece. `failure` says why it could not be read to its end."""

    cluster: Logs
    server: str
    lines: int | None
    ago: float | None
    task: str | None = None
    place: str | None = None
    failure: EdgeguardError | None = None
    _first: Piece | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Ask for the first piece."""
        self._first = self._next()

    def written(self) -> Iterator[tuple[str, Line]]:
        """What was written until now."""
        piece = self._first
        told = 0
        while piece is not None:
            for line in piece.lines if self.lines is None else islice(piece.lines, self.lines - told):
                told += 1
                yield self.server, line
            if not piece.more or told == self.lines:
                return
            piece = self._next()

    def follow(self, tell: Callable[[str, Line], None], say: Callable[[str], None]) -> None:
        """Tell what is written from now on, for ever. A server that can't be asked is asked again."""
        while True:
            gone = self.failure is not None
            piece = self._next()
            if piece is None:
                if not gone and self.failure is not None:
                    say(f"{first_line(self.failure.message)}; it is asked again")
                time.sleep(_AGAIN)
                continue
            if gone:
                say(f"{self.server} can be asked again")
            for line in piece.lines:
                tell(self.server, line)
            if not piece.more:
                time.sleep(_POLL)

    def _next(self) -> Piece | None:
        try:
            piece = self.cluster.logs(self.server, place=self.place, lines=self.lines, ago=self.ago, task=self.task)
        except ClusterError as exc:
            self.failure = exc
            return None
        self.failure, self.place = None, piece.place
        return piece


def sources(
    cluster: Cluster, servers: Sequence[str], *, lines: int | None, ago: float | None, task: str | None = None
) -> list[Source]:
    """The output of these servers (none named: of all), with the first piece of each. With a `task`, the output of the
    background task of this name or id.

    Raises:
        UsageError: there is no such server or task, or the driver can't tell what was asked.
    """
    if not isinstance(cluster, Logs):
        raise UsageError(
            "this environment's driver can't tell what the application writes",
            "Look where its servers keep their logs. The drivers local and ssh can.",
        )
    unknown = sorted(set(servers) - set(cluster.servers))
    if unknown:
        raise UsageError(f"there is no server {unknown[0]}", f"The servers are {', '.join(cluster.servers)}.")
    wanted = None if task is None else tasks.find(cluster, task)
    found = [
        Source(cluster, server, lines, ago, wanted) for server in cluster.servers if server in servers or not servers
    ]
    at_once([source.begin for source in found])
    return found


def merged(found: Iterable[Source]) -> Iterator[tuple[str, Line]]:
    """What was written until now, in the order of the servers' clocks; without times, one server after the other."""
    return heapq.merge(*(source.written() for source in found), key=lambda told: told[1].at or 0.0)


def followed(found: Iterable[Source], say: Callable[[str], None]) -> Iterator[tuple[str, Line] | None]:
    """What is written from now on, as it comes, without an end. None comes now and then where there is nothing."""
    coming: queue.Queue[tuple[str, Line]] = queue.Queue(1000)
    for source in found:
        tell = partial(_put, coming)
        threading.Thread(target=source.follow, args=(tell, say), name=source.server, daemon=True).start()
    while True:
        try:
            yield coming.get(timeout=_POLL)
        except queue.Empty:
            yield None


def refuse_unread(found: Iterable[Source]) -> None:
    """Raise the error of the servers that could not be read; the others' output was told."""
    failures = [source.failure for source in found if source.failure is not None]
    if failures:
        messages = "; ".join(first_line(failure.message) for failure in failures)
        raise failures[0].with_more(message=messages)


def _put(coming: queue.Queue[tuple[str, Line]], server: str, line: Line) -> None:
    coming.put((server, line))
