"""A hook's wrapper that starts before its hook may, since visitors would wait for its start.

It waits at one end of a pair of sockets, and the process that started it has the other. An order is the ledger's path
and its room, and the hook's lock comes with it as an open file; the wrapper answers before it starts the hook. Where
that process ends without an order, the wrapper reads the end of its input, and ends. It has written nothing until then.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 20.0
_LONGEST = 16_384  # bytes of an order
_GOES = b"g"


class Waiting:
    """A wrapper that waits for one order."""

    def __init__(self, program: Sequence[str]) -> None:
        """Start it. `program` is the argument vector that runs this package. Raises HostError where that fails."""
        self._ours, theirs = socket.socketpair()
        with theirs:
            if not begun([*program, "hook-waits", str(theirs.fileno())], theirs.fileno()):
                self._ours.close()
                raise HostError(
                    "the program that runs hooks could not be started", f"Does this run here: {shlex.join(program)}?"
                )

    def order(self, ledger: Path, lock: int, room: Path) -> bool:
        """Let it run the hook of this ledger, whose lock is this descriptor's. False: it has ended, and the hook was
        not started.

        Raises:
            HostError: it does not answer, and may start the hook or not.
        """
        with self._ours as wrapper:
            wrapper.settimeout(START_SECONDS)
            try:
                socket.send_fds(wrapper, [json.dumps([str(ledger), str(room)]).encode() + b"\n"], [lock])
                return wrapper.recv(1) == _GOES
            except socket.timeout as exc:
                raise HostError("the hook's wrapper does not answer", "Is this machine overloaded?") from exc
            except OSError:
                return False

    def end(self) -> None:
        """Let it end."""
        self._ours.close()


def ordered(descriptor: int) -> tuple[Path, int, Path] | None:
    """The ledger, the lock and the room of the order that comes over this descriptor; None where none will come. The
    caller is the wrapper, which starts the hook then: the one who orders it is told so."""
    with socket.socket(fileno=descriptor) as caller:
        said, locks, _, _ = socket.recv_fds(caller, _LONGEST, 1)
        if not said.endswith(b"\n") or not locks:
            return None
        ledger, room = json.loads(said)
        with suppress(OSError):  # who is gone now has written *started*, and starts nothing else
            caller.sendall(_GOES)
    return Path(ledger), locks[0], Path(room)


def begun(argv: Sequence[str], descriptor: int) -> bool:
    """Run a program that goes on in the background, with this descriptor. False: it ended before it had begun.

    Raises:
        HostError: it does not begin in time.
    """
    try:
        found = subprocess.run(
            argv,
            env={name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(descriptor,),  # a lock is held until the program is gone, whatever becomes of this process
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise HostError("the program that runs hooks does not start", "Is this machine overloaded?") from exc
    return found.returncode == 0


_waiting: dict[Path, Waiting] = {}
_lock = threading.Lock()


def make_ready(server: Path, program: Sequence[str]) -> None:
    """Start a wrapper that waits for the next order of this process, for this server."""
    fresh = Waiting(program)
    with _lock:
        old, _waiting[server] = _waiting.get(server), fresh
    if old is not None:
        old.end()


def ready(server: Path) -> Waiting | None:
    """The wrapper that waits for an order, which nobody else gets; None where none was started."""
    with _lock:
        return _waiting.pop(server, None)
