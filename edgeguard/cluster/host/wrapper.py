"""Runs one hook and writes down how it ended: `python ARCHIVE hook LEDGER DESCRIPTOR ROOM`.

`python ARCHIVE hook-waits DESCRIPTOR` gets the same three with its order (waiting.py).

The ledger says what to run. The caller has written it, durably, as *started*. This program outlives its caller, so a
command that dies does not take the hook with it, and *done* is written all the same. The descriptor is of the file by
whose lock everybody sees that this program lives. The hook does not get it, so a process that the hook leaves behind
holds nothing. SIGTERM ends the hook before its time. ROOM is a file whose place on the disk is for *done*: the hook may
have filled the rest.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import files, processes, waiting
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.hook_log import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "EDGEGUARD_HOOK"
"""In the environment of a hook's processes: the path of its ledger."""
NOT_RUNNABLE = 127
"""The code of a hook whose command could not be started, as shells have it."""
_POLL = 0.01
_PIECE = 65_536


def main(ledger: Path, lock: int, room: Path) -> None:
    """Run the hook of this ledger to its end, in the background of a session of its own."""
    if os.fork():
        os._exit(0)  # whoever started this goes on; the lock is the child's too
    _watch(ledger, lock, room)


def wait(descriptor: int) -> None:
    """As `main`, once an order has come over this socket. Without one, do nothing."""
    if os.fork():
        os._exit(0)
    order = waiting.ordered(descriptor)
    if order is not None:
        _watch(*order)


def _watch(ledger: Path, lock: int, room: Path) -> None:
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    os.set_inheritable(lock, False)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    said = files.read(ledger) or {}
    with Writer(ledger.with_suffix(".log")) as log:
        said.update(_run(ledger, said, log, asked))
        said.update(done=True, bytes=log.close())
    files.write(ledger, said, room=room)


def _run(ledger: Path, said: dict[str, Any], log: Writer, asked: list[int]) -> dict[str, Any]:
    """What came of the hook: its code, how it ended, how long it took, and which processes it left behind."""
    reader, writer = os.pipe()
    began = time.monotonic()
    leader = _start(ledger, said, reader, writer)
    os.close(writer)
    os.set_blocking(reader, False)
    since = int(said["session"]["started"])
    status, ended, more = None, "by itself", True
    end = _end_of(leader)
    while status is None:
        if asked or time.monotonic() - began > said["limit"]:
            ended = "on request" if asked else "at its limit"
            break
        if reader in select.select([*([reader] if more else []), *end], [], [], _POLL)[0]:
            more = log.take(reader)
        status = _reaped(leader)
    for descriptor in end:
        os.close(descriptor)

    def reap() -> None:
        nonlocal status
        log.take(reader)
        status = _reaped(leader) if status is None else status

    processes.end(lambda: processes.session(leader, since), reap)
    while status is None:
        reap()
        time.sleep(_POLL)
    log.take(reader)  # not to its end: a process that left the session may hold the other end open for ever
    code = os.waitstatus_to_exitcode(status)
    strays = processes.marked(MARK, str(ledger))
    return {
        "code": code if ended == "by itself" else None,
        "ended": ended,
        "seconds": time.monotonic() - began,
        "strays": strays,
    }


def _start(ledger: Path, said: dict[str, Any], reader: int, writer: int) -> int:
    """Start the hook's main process in a session of its own; it begins once the ledger names that session."""
    ready, go = os.pipe()
    leader = os.fork()
    if leader == 0:
        try:
            os.setsid()
            os.close(go)
            os.close(reader)
            if not os.read(ready, 1):  # the other end is gone, and so is whoever would watch this hook
                os._exit(NOT_RUNNABLE)
            _become(ledger, said, writer)
        finally:
            os._exit(NOT_RUNNABLE)
    os.close(ready)
    while os.getpgid(leader) != leader:  # until its session is there
        time.sleep(0.0005)
    said["session"] = {"id": leader, "started": processes.start_of(leader), "boot": processes.boot()}
    files.write(ledger, said)
    os.write(go, b"g")
    os.close(go)
    return leader


def _become(ledger: Path, said: Mapping[str, Any], output: int) -> None:
    """Turn this process into the hook. Returns only if that can't be done, and then says why in the hook's output.

    Its user comes last, after all that needs edgeguard's own rights. It never runs as another one than it should.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in ((0, null), (1, output), (2, output)):
        os.dup2(descriptor, number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    variables = files.read(Path(said["variables"])) or {}
    environment = {**variables, **said["environment"], MARK: str(ledger)}
    os.umask(0o022)
    try:
        account = accounts.to_become(said.get("user"))
        if account is not None:
            os.fchown(output, account.user, account.group)  # so that it can open /dev/stderr
        accounts.run(account, Path(said["cwd"]), said["argv"], environment)
    except (HostError, OSError) as exc:
        os.write(2, f"{said['argv'][0]}: {getattr(exc, 'strerror', exc)}\n".encode())


def _end_of(leader: int) -> list[int]:
    """A descriptor that can be read once this child has ended; none where the system has no such thing."""
    try:
        return [os.pidfd_open(leader)]
    except (AttributeError, OSError):  # not Linux, or one before 5.3
        return []


def _reaped(leader: int) -> int | None:
    pid, status = os.waitpid(leader, os.WNOHANG)
    return status if pid else None
