"""The lock of a server, and the fence: who may act there.

Each act names the epoch under which its caller holds the environment's lock. Check and act happen under one lock on
this server, so that a holder who was replaced in between can do nothing. A caller who reaches the server over a
connection names a session too, since a half-dead connection may deliver an old act late.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgeguard.cluster.host import files
from edgeguard.cluster.host.errors import BUSY, DAMAGED, FENCED, HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCK_SECONDS = 30.0
"""A server's lock is held for one act. Whoever holds it for longer hangs."""
EVICT_SECONDS = 5.0
"""As long as this, a holder whose lease has run out may keep the lock: it may be asleep in the midst of an act."""
_SESSION = "session.json"
_COUNTED: dict[str, files.Kinds] = {"session": (int,), "serial": (int,), "given": (int,)}
_POLL = 0.002


@contextmanager
def locked(folder: Path, *, evict: bool = False) -> Iterator[None]:
    """Hold the lock of a server's folder, which is made if need be. The kernel frees it when its holder dies.

    With `evict`, a process that has held it for EVICT_SECONDS is killed, as if its machine had died at that moment.

    Raises:
        HostError: another process has held it for LOCK_SECONDS.
    """
    try:
        files.private(folder)
        file = open(folder / "lock", "w", encoding="utf-8", opener=files.only_ours)  # noqa: SIM115 (closed below)
    except OSError as exc:
        raise HostError(
            f"{folder} can't be used: {exc.strerror}", "Let cluster.root name a folder of edgeguard's own."
        ) from exc
    with file:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - began
                if evict and waited > EVICT_SECONDS:
                    evict = False
                    for pid in _holders(file):
                        with suppress(OSError):  # it has ended by itself, or belongs to another user
                            os.kill(pid, signal.SIGKILL)
                if waited > LOCK_SECONDS:
                    who = ", ".join(f"pid {pid}" for pid in _holders(file)) or "another edgeguard"
                    raise HostError(
                        f"{who} has held {folder / 'lock'} for {LOCK_SECONDS:.0f} s",
                        "See what it is doing, or end it.",
                        code=BUSY,
                    ) from None
            time.sleep(_POLL)
        yield


@dataclass(frozen=True)
class Caller:
    """Who asks for an act: the epoch of the lock, and for a caller over a connection its session and the act's serial.

    A session's number comes from `new_session`; its acts count up from serial 1. A caller in this very process has
    neither: nothing that it asks for can arrive late.
    """

    epoch: int
    session: int = 0
    serial: int = 0


@contextmanager
def fenced(folder: Path, caller: Caller, *, after: int | None = None) -> Iterator[None]:
    """As `locked`, for the holder of this epoch only, and for the acts of the newest session that acts, in their order.

    With `after`, for whoever takes the lock: the epoch that is in force may be any up to `after`.

    Raises:
        HostError: the server's record has another epoch, a newer session acts, or the act comes late (FENCED).
    """
    epoch = caller.epoch
    # A caller who takes the lock over from a holder that the record still names has seen that its lease has run out.
    known_dead = after is not None and bool((files.read(folder / "record.json") or {}).get("lock"))
    with locked(folder, evict=known_dead):
        check(files.read(folder / "record.json"), epoch, after)
        if caller.session:
            _in_order(folder, caller)
        yield


def check(record: Mapping[str, Any] | None, epoch: int, after: int | None) -> None:
    """Raise HostError (FENCED) unless whoever holds this epoch, or takes the lock `after` another one, may act on a
    server that has this record."""
    held = epoch_of(record)
    if held != epoch if after is None else held > min(after, epoch):
        raise HostError(
            f"epoch {held} is in force here, the caller holds {epoch if after is None else after}",
            "A newer holder of the lock is at work. Leave it alone, and see `edgeguard status`.",
            code=FENCED,
        )


def new_session(folder: Path) -> int:
    """A number for a session that begins now. Its first act that passes the fence shuts older sessions out.

    Until then they go on: whoever tries to take a lock that another has just taken begins a session, too.
    """
    with locked(folder):
        there = _sessions(folder)
        files.write(folder / _SESSION, {**there, "given": there["given"] + 1})
        return there["given"] + 1


def _in_order(folder: Path, caller: Caller) -> None:
    """Accept this session's act if no later one was accepted; the caller is inside of `locked`."""
    there = _sessions(folder)
    if (caller.session, caller.serial) <= (there["session"], there["serial"]):
        raise HostError(
            "a newer session is at work here, or a later act was done already",
            "Nothing was done. Whoever asks again does so in a new session.",
            code=FENCED,
        )
    # Not durable: a session does not outlive the power cut that could take this back.
    files.write(folder / _SESSION, {**there, "session": caller.session, "serial": caller.serial}, durable=False)


def _sessions(folder: Path) -> dict[str, int]:
    """The last session's number that was given to a caller; the session that acted last, and the serial of its act."""
    return files.read(folder / _SESSION, _COUNTED) or {"given": 0, "session": 0, "serial": 0}


def write_record(folder: Path, epoch: int, record: Mapping[str, Any]) -> None:
    """Write the record; the caller is inside of `fenced`. In one epoch a record with a lower serial is passed over."""
    if not older(record, epoch, files.read(folder / "record.json")):
        files.write(folder / "record.json", {**record, "epoch": epoch})


def older(record: Mapping[str, Any], epoch: int, held: Mapping[str, Any] | None) -> bool:
    """Whether a record that is about to be written in this epoch is older than the one that is held."""
    serial, there = record.get("serial", 0), (held or {}).get("serial", 0)
    return epoch_of(held) == epoch and isinstance(there, int) and isinstance(serial, int) and serial < there


def epoch_of(record: Mapping[str, Any] | None) -> int:
    """The epoch that a record holds; 0 without a record. Raises HostError (DAMAGED) where it is not a whole number."""
    epoch = (record or {}).get("epoch", 0)
    if type(epoch) is not int:
        raise HostError("its record is damaged: epoch is not a whole number", files.PUT_BACK, code=DAMAGED)
    return epoch


def _holders(file: TextIO) -> list[int]:
    """The other processes that hold a file's lock; none where that can't be told (Linux tells: proc_pid_fdinfo(5))."""
    found = set()
    wanted = os.fstat(file.fileno())
    with suppress(OSError):  # there is no /proc
        for process in Path("/proc").glob("[0-9]*"):  # also `self` and `thread-self` are there, which name us once more
            with suppress(OSError):  # it is no process, has ended, or belongs to another user
                for opened in (process / "fd").iterdir():
                    told = (process / "fdinfo" / opened.name).read_text(encoding="ascii")
                    if "FLOCK" in told and os.path.samestat(opened.stat(), wanted):
                        found.add(int(process.name))
    return sorted(found - {os.getpid()})
