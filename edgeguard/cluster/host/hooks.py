"""A hook on one server: its ledger, its output, and whether it runs.

In `hooks/GENERATION/` of the server's folder: HOOK.json is the ledger, HOOK.log the output, and HOOK.lock is held
by the wrapper (wrapper.py) as long as it lives. They lie outside of the generation, so that they stay after a rollback.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from edgeguard.cluster.host import files, generations, hook_log, processes, waiting
from edgeguard.cluster.host.errors import HOOK_RUNS, HOOK_STARTED, HOOK_UNKNOWN, HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

KEPT = 20
"""So many deploys' hooks are remembered on a server, where nobody says how many."""
SHOWN_LINES, SHOWN = 20, 4000
"""Lines and characters of a hook's output in its result."""
_LEDGER: dict[str, files.Kinds] = {
    "done": (bool,),
    "nonce?": (str,),
    "code?": (int,),
    "ended?": (str,),
    "seconds?": files.NUMBER,
    "bytes?": (int,),
    "strays?": (list,),
    "session?": (dict,),
}
_ITS_END = 1 << 16
"""Bytes of a ledger, at most, that tell of the hook's end."""
_POLL = 0.01


@dataclass(frozen=True)
class Result:
    """How a hook ended. `code` is its exit code (None: it was ended at its limit, or on request); `ended` says which.

    `output` has its last lines, `log` is the file with more of it, and `strays` are processes that left the hook's
    session and still ran when it ended.
    """

    code: int | None
    ended: str
    output: str
    seconds: float
    log: Path
    strays: tuple[int, ...] = ()


@dataclass(frozen=True)
class Order:
    """What to start: a hook of a generation, with the variables that are this server's own, for `limit` seconds.

    `nonce` names this start. The same start asked for again is the same hook; another one is refused. Then the hooks of
    the last `keep` generations are remembered on the server.
    """

    generation: str
    hook: str
    environment: Mapping[str, str]
    limit: float
    nonce: str
    keep: int = KEPT


def start(server: Path, order: Order, program: Sequence[str]) -> None:
    """Write *started*, durably, and start the hook under its wrapper. The caller is inside of the server's fence.

    `program` is the argument vector that runs this package (see edgeguard/cluster/archive.py). It is not needed where
    this process has a wrapper that waits (waiting.py).

    Raises:
        HostError: the hook was started before by another order (HOOK_STARTED), or it can't be started.
    """
    path = ledger(server, order.generation, order.hook)
    there = _written(path)
    if there is not None and there.get("nonce") == order.nonce:
        return
    runs = generations.read(server, order.generation).runs
    if there is not None and running(server) == order.generation:
        raise HostError(f"the {order.hook} hook runs at this moment", "Wait until it has ended.", code=HOOK_RUNS)
    files.private(path.parent.parent)
    files.private(path.parent)
    with open(_lock(path), "a+", encoding="ascii", opener=files.only_ours) as lock:
        if not _take(lock.fileno()):
            raise HostError(f"the {order.hook} hook runs at this moment", "Wait until it has ended.", code=HOOK_RUNS)
        began: dict[str, Any] = {
            "done": False,
            "nonce": order.nonce,
            "argv": list(runs.hooks[order.hook]),
            "cwd": str(runs.folder),
            "user": runs.user,
            "variables": str(server / "generations" / order.generation / "variables.json"),
            "environment": dict(order.environment),
            "limit": order.limit,
            "started": time.time(),
        }
        room = files.keep_room(path, len(json.dumps(began)) + _ITS_END)
        files.write(path, began)
        wrapper = waiting.ready(server)
        if not (wrapper and wrapper.order(path, lock.fileno(), room)) and not waiting.begun(
            [*program, "hook", str(path), str(lock.fileno()), str(room)], lock.fileno()
        ):
            path.unlink()
            room.unlink()
            raise HostError(
                f"the {order.hook} hook could not be started", f"Does this run here: {shlex.join(program)}?"
            )
    _forget_old(server, order.keep)


def result(server: Path, generation: str, hook: str) -> Result | None:
    """How a hook of a generation ended on this server; None if it was never started there.

    Raises:
        HostError: it runs (HOOK_RUNS), or nothing says how it ended (HOOK_UNKNOWN).
    """
    path = ledger(server, generation, hook)
    said = _written(path)
    if said is None:
        return None
    if _runs(path, said):
        raise HostError(f"the {hook} hook of {generation} still runs", "Wait until it has ended.", code=HOOK_RUNS)
    said = _written(path) or said  # it may have ended just now
    if not said.get("done"):
        raise HostError(
            f"it is not known how the {hook} hook of {generation} ended; its runner was killed",
            f"Its output is in {path.with_suffix('.log')}.",
            code=HOOK_UNKNOWN,
        )
    log = path.with_suffix(".log")
    shown = "\n".join(files.tail(log, SHOWN).splitlines()[-SHOWN_LINES:])
    return Result(said.get("code"), said["ended"], shown, said["seconds"], log, tuple(said.get("strays") or ()))


def wait(
    server: Path,
    generation: str,
    hook: str,
    *,
    cancelled: Callable[[], bool],
    output: Callable[[str], None],
) -> Result | None:
    """As `result`, but wait for the end of a hook that runs, and hand on the lines of its output as they come.

    Raises:
        HostError: `cancelled()` turned true (HOOK_RUNS; it goes on by itself), or HOOK_UNKNOWN.
    """
    lines = Lines(output)
    offset = 0
    while True:
        try:
            found = result(server, generation, hook)
        except HostError as exc:
            offset = _follow(server, generation, hook, offset, lines)
            if exc.code != HOOK_RUNS or cancelled():
                raise
        else:
            if found is not None:
                _follow(server, generation, hook, offset, lines)
                lines.end()
            return found
        time.sleep(_POLL)


def read(server: Path, generation: str, hook: str, offset: int) -> hook_log.Part:
    """A piece of a hook's output from an offset on; see hook_log."""
    path = ledger(server, generation, hook)
    said = _written(path) or {}
    return hook_log.read(path.with_suffix(".log"), offset, written=said.get("bytes") if said.get("done") else None)


def running(server: Path) -> str | None:
    """The generation whose deploy hook runs on this server, perhaps started by a command that is long gone. This needs
    no lock."""
    for path in _ledgers(server):
        if path.stem in ("deploy", "hook-deploy") and _runs(path, _written(path) or {}):
            return path.parent.name
    return None


def end(server: Path) -> None:
    """End every hook that runs on this server: its wrapper by the process id that it wrote down, then what is left."""
    for path in _ledgers(server):
        while _held(path):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(_lock(path).read_text(encoding="ascii")), signal.SIGTERM)
            time.sleep(_POLL)
        said = _written(path) or {}
        processes.end(partial(_members, said))


def ledger(server: Path, generation: str, hook: str) -> Path:
    """Where it is written that a hook of a generation was started on a server, and how it ended."""
    path = server / "hooks" / generation / f"{hook}.json"
    older = server / "generations" / generation / f"hook-{hook}.json"  # where earlier versions wrote it
    return older if older.exists() and not path.exists() else path


def refuse_second(server: Path, generation: str, hook: str) -> None:
    """Raise HostError (HOOK_STARTED) if this hook was started here before, whatever became of it."""
    said = _written(ledger(server, generation, hook))
    if said is not None:
        how = f"ended with code {said.get('code')}" if said.get("done") else "did not come to its end, or still runs"
        raise HostError(
            f"the {hook} hook of {generation} was started before, and {how}",
            "It is never started twice by itself. See what it did before you go on.",
            code=HOOK_STARTED,
        )


def refuse_while_one_runs(server: Path) -> None:
    """Raise HostError (HOOK_RUNS) while a deploy hook runs here: what it runs from must not be taken away."""
    generation = running(server)
    if generation is not None:
        raise HostError(
            f"the deploy hook of {generation} still runs here, though its deploy is gone",
            f"Wait until it has ended, or end it; its output is in {ledger(server, generation, 'deploy').parent}.",
            code=HOOK_RUNS,
        )


def forget(server: Path, generation: str, hook: str) -> None:
    """Forget that a hook was started here, since a person lets it start again, perhaps on another server."""
    ledger(server, generation, hook).unlink(missing_ok=True)


class Lines:
    """Bytes, handed on as lines of text; a very long line in pieces."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self._output = output
        self._rest = b""

    def part(self, content: bytes, gone: int) -> None:
        """The next piece of a log, after `gone` bytes that are lost."""
        if gone:
            self.end()
            self.take(b"[%d bytes are left out here]\n" % gone)
        self.take(content)

    def take(self, content: bytes) -> None:
        """More of the text."""
        *whole, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) >= hook_log.PIECE:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            self._output(line.decode(errors="replace").rstrip("\r"))

    def end(self) -> None:
        """The text is at its end, or has a gap here."""
        if self._rest:
            self._output(self._rest.decode(errors="replace"))
            self._rest = b""


def _follow(server: Path, generation: str, hook: str, offset: int, lines: Lines) -> int:
    """Hand on what has come since `offset`. Returns the offset after it."""
    while True:
        part = read(server, generation, hook, offset)
        lines.part(part.content, part.gone)
        if not part.content:
            return part.next
        offset = part.next


def _ledgers(server: Path) -> Iterator[Path]:
    """Every ledger of this server. Another process may stage or prune a generation meanwhile."""
    folders = [*_entries(server / "hooks"), *_entries(server / "generations")]
    for folder in folders:
        for path in _entries(folder):
            if path.suffix == ".json" and (folder.parent.name == "hooks" or path.name.startswith("hook-")):
                yield path


def _entries(folder: Path) -> list[Path]:
    """What a folder holds; nothing if it is gone, or is no folder."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _forget_old(server: Path, keep: int) -> None:
    folders = sorted((server / "hooks").glob("*/"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[keep:]:
        shutil.rmtree(folder, ignore_errors=True)


def _written(path: Path) -> dict[str, Any] | None:
    """A ledger; None where there is none. Raises HostError where it is damaged."""
    said = files.read(path, _LEDGER)
    if said is not None and said["done"] and (said.get("ended") is None or said.get("seconds") is None):
        raise files.damaged(path, "it has an end without its facts")
    session = (said or {}).get("session")
    if session is not None and any(type(session.get(key)) is not int for key in ("id", "started")):
        raise files.damaged(path, "its session is none")
    return said


def _runs(path: Path, said: Mapping[str, Any]) -> bool:
    """A hook that has not ended runs while its wrapper lives, or its session has members."""
    return not said.get("done") and (_held(path) or bool(_members(said)))


def _members(said: Mapping[str, Any]) -> list[int]:
    session = said.get("session")
    if not session or session.get("boot") != processes.boot():
        return []
    return processes.session(int(session["id"]), int(session["started"]))


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _take(lock: int) -> bool:
    """Take a lock that nobody should hold. A process that only looks whether it is held has it for a moment, so one
    refusal proves nothing."""
    for _ in range(100):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False


def _held(path: Path) -> bool:
    """Whether the wrapper lives."""
    try:
        with _lock(path).open(encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
