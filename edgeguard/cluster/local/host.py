"""A host's small JSON files, written whole or not at all, and the lock under which the epoch is compared."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgeguard.errors import ClusterError, Fenced

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCK_SECONDS = 30.0  # a process holds a host's lock for one act; if it takes longer, the process hangs
EVICT_SECONDS = 5.0  # the same, for a process that takes over from a holder whose lease has run out
QUOTED = 10  # lines of other programs' output in an error
_PUT_BACK = "Put back the right one (another server may have the same), or remove it if nothing is under way."
_POLL = 0.002
_SLICE = 1_000_000  # bytes


def read(path: Path) -> dict[str, Any] | None:
    """The object in a file, None where there is no file.

    Raises:
        ClusterError: the file can't be read, or isn't whole. The message does not show its content: it may be secret.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ClusterError(f"{path} can't be read: {exc.strerror}", "Give edgeguard's user the right to.") from exc
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ClusterError(f"{path} is torn, or was not written by edgeguard", _PUT_BACK)
    return content


def write(path: Path, content: Mapping[str, Any], *, durable: bool = True, mode: int = 0o644) -> None:
    """Replace a file in one step. With `durable`, a power cut can't undo it once this has returned."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        fresh.replace(path)
        if durable:
            sync(path.parent)
    except OSError as exc:
        with suppress(OSError):  # the disk may be gone
            fresh.unlink()
        raise ClusterError(
            f"{path} can't be written: {exc.strerror}", "Make room, or give edgeguard's user the right."
        ) from exc


def sync(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, server: str, *, evict: bool = False) -> Iterator[None]:
    """Hold the lock of a server's folder, which is made if it is missing. The kernel frees the lock if its holder dies.

    With `evict`, a process that has held it for EVICT_SECONDS is killed, as if its machine had died at that moment. It
    may have been put to sleep in the midst of an act, and would keep all others out while it sleeps.

    Raises:
        ClusterError: another process has held it for LOCK_SECONDS.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w", encoding="utf-8")
    except OSError as exc:
        raise ClusterError(
            f"{server}: {folder} can't be used: {exc.strerror}", "Let cluster.root name a folder of its own."
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
                        with suppress(OSError):  # it has ended by itself, or is another user's
                            os.kill(pid, signal.SIGKILL)
                if waited > LOCK_SECONDS:
                    who = ", ".join(f"pid {pid}" for pid in _holders(file)) or "another edgeguard"
                    raise ClusterError(
                        f"{server}: {who} has held {folder / 'lock'} for {LOCK_SECONDS:.0f} s",
                        "See what it is doing, or end it.",
                    ) from None
            time.sleep(_POLL)
        yield


def _holders(file: TextIO) -> list[int]:
    """The other processes that hold a file's lock. Only Linux can tell (proc_pid_fdinfo(5)); elsewhere it is empty."""
    found = set()
    wanted = os.fstat(file.fileno())
    with suppress(OSError):  # there is no /proc
        for process in Path("/proc").iterdir():
            with suppress(OSError):  # it is not a process, has ended, or is another user's
                for opened in (process / "fd").iterdir():
                    told = (process / "fdinfo" / opened.name).read_text(encoding="ascii")
                    if "FLOCK" in told and os.path.samestat(opened.stat(), wanted):
                        found.add(int(process.name))
    return sorted(found - {os.getpid()})


@contextmanager
def fenced(folder: Path, server: str, epoch: int, *, after: int | None = None) -> Iterator[None]:
    """Like `locked`, but only for a holder of this epoch.

    A process that takes the environment's lock gives `after`, the epoch that it has seen: the server must not hold a
    later one.

    Raises:
        Fenced: the server's record holds another epoch.
    """
    # If the record names a holder, a process that takes the lock all the same has seen that the lease has run out.
    known_dead = after is not None and bool((read(folder / "record.json") or {}).get("lock"))
    with locked(folder, server, evict=known_dead):
        held = epoch_of(read(folder / "record.json"), server)
        if held != epoch if after is None else held > min(after, epoch):
            raise Fenced(
                f"{server}: epoch {held} is in force there, this process holds {epoch if after is None else after}",
                "A newer holder of the lock is at work; leave it alone, and see `edgeguard status`.",
            )
        yield


def epoch_of(record: Mapping[str, Any] | None, server: str) -> int:
    """The epoch that a server's record holds; 0 without one. Raises ClusterError where it is no whole number."""
    epoch = (record or {}).get("epoch", 0)
    if type(epoch) is not int:
        raise ClusterError(f"{server}: its record is damaged: epoch is not a whole number", _PUT_BACK)
    return epoch


def tail(path: Path, size: int = 2000) -> str:
    """The end of a log, as whole lines; empty where there is none."""
    try:
        return end_of(slice_of(path, path.stat().st_size - size - 1), size)
    except OSError:
        return ""


def slice_of(path: Path, begin: int, end: int | None = None) -> bytes:
    """A file's bytes from one position to another, or to its end; at most the last MB of them. Raises OSError."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) if end is None else end
        begin = max(begin, end - _SLICE, 0)
        file.seek(begin)
        return file.read(max(end - begin, 0))


def end_of(content: bytes, size: int) -> str:
    """The end of another program's output, from the beginning of a line, or else of a word.

    Half a secret would not be recognised as one, so no word is cut.
    """
    shown = content[-size:]
    if len(content) > size and content[-size - 1 : -size] != b"\n":
        shown = shown.partition(b"\n")[2] or shown.partition(b" ")[2]
    return shown.decode(errors="replace").strip()


def quoted(who: str, said: str) -> str:
    """The last lines of another program's output, in the form that follows an error's first line."""
    lines = said.splitlines()[-QUOTED:]
    return "".join([f"\n  {who}:", *(f"\n  | {line}" for line in lines)]) if lines else ""
