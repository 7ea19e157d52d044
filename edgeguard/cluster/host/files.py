"""Small JSON files that are written whole or not at all, and the ends of logs."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import reserve, strict_json
from edgeguard.cluster.host.errors import DAMAGED, HostError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Kinds = tuple[type, ...]
NUMBER: Kinds = (int, float)
_ANY: dict[str, Kinds] = {}
PUT_BACK = "Put back the right one (another server may have the same), or remove it if nothing is under way."
"""The remedy for a file that is damaged."""
QUOTED = 10
"""Lines of the application's output in an error."""
_SLICE = 1_000_000  # bytes
_PASSABLE = 0o711


def read(path: Path, kinds: Mapping[str, Kinds] = _ANY) -> dict[str, Any] | None:
    """The object in a file; None where there is no file. `kinds` has the types that the values of some keys must have;
    a key with a "?" may be missing, or null.

    Raises:
        HostError: the file can't be read, or is damaged. Its content is not shown: it may be secret.
    """
    try:
        with path.open("rb") as file:
            content = strict_json.read_object(file.read(strict_json.LARGEST + 1))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise HostError(f"{path} can't be read: {exc.strerror}", "Give edgeguard's user the right to read it.") from exc
    except strict_json.Fault as exc:
        raise damaged(path, str(exc)) from exc
    for key, kind in kinds.items():
        name, value = key.rstrip("?"), content.get(key.rstrip("?"))
        if type(value) not in kind and not (value is None and key.endswith("?")):
            raise damaged(path, f"its {name} is none")
    return content


def damaged(path: Path, why: str) -> HostError:
    """The error about a file of edgeguard's own that makes no sense."""
    return HostError(f"{path} is torn, or was not written by edgeguard ({why})", PUT_BACK, code=DAMAGED)


def write(path: Path, content: Mapping[str, Any], *, durable: bool = True, room: Path | None = None) -> None:
    """Replace a file by this object, as `write_text` does."""
    write_text(path, json.dumps(content), durable=durable, room=room)


def write_text(path: Path, text: str, *, durable: bool = True, room: Path | None = None) -> None:
    """Replace a file in one step. Only this user can read it. With `durable`, a power cut after the return can't take
    it back. `room` is what `keep_room` has returned for this file: then a full disk does not matter. Else the reserve
    of the server's folder is used up for it.

    Raises:
        HostError: it can't be written. The file that was there stays.
    """
    fresh = room or path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def replace() -> None:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | (0 if room else os.O_TRUNC), 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            file.truncate()
            if durable:
                os.fsync(file.fileno())
        fresh.replace(path)
        if durable:
            sync(path.parent)

    try:
        reserve.despite_full_disk(path, replace)
    except OSError as exc:
        with suppress(OSError):  # the disk may be gone
            fresh.unlink()
        raise HostError(
            f"{path} can't be written: {exc.strerror}", "Make room, or give edgeguard's user the right to write there."
        ) from exc


def keep_room(path: Path, size: int) -> Path:
    """Occupy so many bytes of the disk, beside this file, for what will be written to it. May be repeated.

    Raises:
        HostError: there is no such room.
    """
    room = path.with_name(f".{path.name}.room")
    write_text(room, " " * size)
    return room


def private(folder: Path) -> None:
    """Make a folder that no other user can enter, whatever the umask, and those above it that are missing. One that is
    there and this user's own becomes private, unless `let_pass` was called for it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 and mode != _PASSABLE and status.st_uid == os.geteuid():
        folder.chmod(0o700)


def let_pass(folder: Path) -> None:
    """Let other users pass through a folder of this user's, to a place whose name they know. They can't list it, and
    every file in it is private."""
    folder.chmod(_PASSABLE)


def only_ours(path: str, flags: int) -> int:
    """An `opener` for `open`: the file is of mode 0600, also one that is there and this user's own. Whoever can open a
    lock can hold it."""
    descriptor = os.open(path, flags, 0o600)
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)
    return descriptor


def sync(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tail(path: Path, size: int = 2000) -> str:
    """The end of a log, as whole lines; empty where there is none."""
    try:
        return end_of(slice_of(path, path.stat().st_size - size - 1), size)
    except OSError:
        return ""


def slice_of(path: Path, begin: int, end: int | None = None) -> bytes:
    """The bytes of a file from one position to another (None: to its end), at most the last MB of them."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END) if end is None else end
        begin = max(begin, end - _SLICE, 0)
        file.seek(begin)
        return file.read(max(end - begin, 0))


def end_of(content: bytes, size: int) -> str:
    """The end of a text that the application wrote. It begins with a line, or else with a word: half of a secret would
    not be recognised as one."""
    shown = content[-size:]
    if len(content) > size and content[-size - 1 : -size] != b"\n":
        shown = shown.partition(b"\n")[2] or shown.partition(b" ")[2]
    return shown.decode(errors="replace").strip()


def quoted(who: str, said: str, most: int = QUOTED) -> str:
    """The last lines of a program's output, at most so many, to follow an error's first line."""
    lines = said.splitlines()[-most:]
    return "".join([f"\n  {who}:", *(f"\n  | {line}" for line in lines)]) if lines else ""
