"""A person's command on a server: the caller's side, for drivers whose servers run edgeguard/cluster/host."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgeguard.cluster.host import frames, strict_json
from edgeguard.cluster.host.errors import HostError
from edgeguard.errors import NotStaged, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeguard.cluster import Cluster, ServerState

_SEND_SECONDS = 20.0
_PING_SECONDS = 5.0
_GLANCE = 0.05


@dataclass
class Ends:
    """The caller's ends of a command: its input (a descriptor; None: there is none), what takes its output and its
    errors, and the numbers of signals that are to be passed on, to which the caller may add at any time.

    What takes output may raise: then the command is ended.
    """

    output: Callable[[bytes], None]
    errors: Callable[[bytes], None]
    input: int | None = None
    signals: deque[int] = field(default_factory=deque)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, as shells have it (a signal's number and 128; 127: it was not found).
    `swapped`: a deploy has ended it, since another generation became current."""

    code: int
    swapped: bool = False


@runtime_checkable
class Runs(Protocol):
    """What a driver may do beyond the Protocol of clusters: run a person's command on a server."""

    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        """Run it to its end, with what hooks of the current generation have: variables, HOME, folder, user. No secret
        is in its arguments.

        SIGINT, SIGTERM and SIGHUP go to its whole process group. What it has started is ended with it. All of it is
        ended when the caller is gone: at once where that is seen, else after `frames.SILENCE` seconds; and when another
        generation becomes current on the server.

        Raises:
            NotStaged: nothing is current there.
            ClusterError: the server can't be asked, or the connection was cut.
        """


class Channel(Protocol):
    """The host program at the other end of two pipes."""

    def read(self) -> bytes | None:
        """Some of what it says; b"" at the end."""

    def send(self, content: bytes, deadline: float) -> None:
        """Send all of it, by this moment of the monotonic clock. Raises OSError, or the channel's own."""

    def kill(self) -> None:
        """End it now. Another thread may still send."""

    def close(self) -> int | None:
        """End it, and wait for its end. May be repeated. Returns its exit code, if it ended by itself."""

    def why(self, code: int | None) -> HostError:
        """Why it has ended."""


def able(cluster: Cluster, server: str) -> tuple[Runs, ServerState]:
    """The driver, and the state of the server on which a command is to run.

    Raises:
        UsageError: the driver runs no commands, or there is no such server.
        NotStaged: nothing was deployed there.
    """
    if not isinstance(cluster, Runs):
        raise UsageError(
            "this environment's driver runs no commands of yours",
            "Log in on the server by other means. The drivers local and ssh can.",
        )
    if server not in cluster.servers:
        raise UsageError(f"there is no server {server}", f"The servers are {', '.join(cluster.servers)}.")
    [state] = cluster.without([other for other in cluster.servers if other != server]).state()
    if state.generation is None:
        raise NotStaged(f"{server}: nothing was deployed there yet", "Deploy first.", server=server)
    return cluster, state


def carry(channel: Channel, first: bytes, ends: Ends, *, server: str, command: Sequence[str], port: int) -> Ended:
    """Have the host program (its word is `run`) run the command, and be between it and the caller. `first` is what the
    channel has said already; it is closed at the end.

    Raises:
        HostError: the command can't be run, or the channel ended before it.
    """
    request = {"command": list(command), "server": server, "port": port}
    line = _Line(channel, ends)
    said, heard = first, frames.Frames()
    try:
        line.send(b"r", json.dumps(request).encode())
        line.open()
        while True:
            for kind, content in heard.take(said):
                if kind == b"x":
                    return Ended(**strict_json.read_object(content))
                if kind == b"f":
                    told = strict_json.read_object(content)
                    raise HostError(told["message"], told["remedy"], code=told["code"])
                line.heed(kind, content)
            said = channel.read() or b""
            if not said:
                why = channel.why(line.end(kill=False))
                soon = f"the command is ended there within {frames.SILENCE:.0f} s"
                raise HostError(f"{why.message.rstrip('.')}; {soon}", why.remedy, code=why.code)
    except (ValueError, KeyError, TypeError, strict_json.Fault) as exc:
        raise HostError("the host program speaks another language", "Are both of the same version?") from exc
    finally:
        line.end()


class _Line:
    """What is sent to the command, from three threads: input, signals, and signs of life."""

    def __init__(self, channel: Channel, ends: Ends) -> None:
        self._channel = channel
        self._ends = ends
        self._sending = threading.Lock()
        self._taken = threading.Condition()
        self._under_way = 0
        self._over = threading.Event()

    def open(self) -> None:
        """Send from now on, until `end`."""
        for work in (self._stay, self._feed):
            threading.Thread(target=work, name="run", daemon=True).start()

    def end(self, *, kill: bool = True) -> int | None:
        """Send nothing more, and end the channel; without `kill` it has ended by itself. Returns its exit code."""
        self._over.set()
        with self._taken:
            self._taken.notify_all()
        if kill:
            self._channel.kill()  # whoever sends is let go
        with self._sending:
            return self._channel.close()

    def send(self, kind: bytes, content: bytes = b"") -> bool:
        """Send a message. False: nothing can be sent any more; the reader learns why."""
        with self._sending:
            if self._over.is_set():
                return False
            try:
                self._channel.send(frames.packed(kind, content), time.monotonic() + _SEND_SECONDS)
            except Exception:  # noqa: BLE001 (whatever the channel raises: it is over)
                self._over.set()
                return False
        return True

    def heed(self, kind: bytes, content: bytes) -> None:
        """Do what a message of the command says."""
        if kind == b"o":
            self._ends.output(content)
        elif kind == b"E":
            self._ends.errors(content)
        elif kind == b"t":
            with self._taken:
                self._under_way -= int(content)
                self._taken.notify_all()

    def _stay(self) -> None:
        """Say that the caller is there, and pass its signals on."""
        said = 0.0
        while not self._over.wait(_GLANCE):
            while self._ends.signals:
                self.send(b"s", str(self._ends.signals.popleft()).encode())
            if time.monotonic() - said > _PING_SECONDS:
                self.send(b"p")
                said = time.monotonic()

    def _feed(self) -> None:
        """Send the caller's input, no more of it than is taken."""
        while self._ends.input is not None and not self._over.is_set():
            try:
                piece = os.read(self._ends.input, frames.PIECE)
            except OSError:
                break
            if not piece:
                break
            with self._taken:
                self._taken.wait_for(lambda: self._over.is_set() or self._under_way < frames.WINDOW)
                self._under_way += len(piece)
            if self._over.is_set() or not self.send(b"i", piece):
                return
        self.send(b"e")
