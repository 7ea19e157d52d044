"""What a frozen folder holds, one line for each file, so that a later look can say what differs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edgeguard.cluster.host import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_OPEN = 0o755
_PERMISSIONS = 0o777
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def make(folder: Path) -> None:
    """Make a folder, and those above it that are missing, with the modes of umask 022, whatever this process's is: they
    are a part of an image's identity. Harmless where it is there already."""
    if not folder.is_dir():
        make(folder.parent)
        folder.mkdir()
        folder.chmod(_OPEN)


def unfit(folder: Path) -> str | None:
    """Why a folder can't be frozen, in a sentence without its subject; None where it can.

    What lends its owner's rights to whoever runs it, pipes and devices have no place in an image. Sockets are let pass:
    a program that a build had started may have left them, and `freeze` removes them.
    """
    if folder.is_symlink() or not folder.is_dir():
        return f"{folder.name} is no folder any more"
    for path in _walk(folder):
        name, mode = path.relative_to(folder.parent).as_posix(), path.lstat().st_mode
        if stat.S_ISREG(mode) and (mode & (stat.S_ISUID | stat.S_ISGID) or _has_capabilities(path)):
            return f"{name} lends its owner's rights to whoever runs it (setuid, setgid, or capabilities)"
        if stat.S_ISFIFO(mode):
            return f"{name} is a pipe"
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            return f"{name} is a device"
    return None


def freeze(folder: Path) -> None:
    """Take the right to write away from everything in the folder, and from itself. Links are not followed.

    A file with a second name (a hard link) becomes a copy: the second name may be outside, in a package manager's
    cache, and whoever writes there would change the folder too. Sockets are removed. A folder keeps no setgid bit and
    no sticky bit, which it may have from the folder that all images are in.
    """
    for path in list(_walk(folder)):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            _copy_in_place(path)
        elif stat.S_ISSOCK(status.st_mode):
            path.unlink()
    for path in (*_walk(folder), folder):
        if not path.is_symlink():
            mode = path.stat().st_mode & ~_WRITABLE
            _chmod(path, mode & _PERMISSIONS if path.is_dir() else mode)


def unfreeze(folder: Path) -> None:
    """Give the owner the right to write to everything in the folder, and to itself. Links are not followed."""
    for path in (folder, *_walk(folder)):
        if not path.is_symlink():
            _chmod(path, path.stat().st_mode | stat.S_IWUSR)


def take(folder: Path, parts: Sequence[str]) -> str:
    """The manifest of these parts of a folder: JSON lines [mode, kind, digest or target, path], in order of path.

    Kinds are file, link, folder and special. Times and owners are left out.
    """
    lines = (
        _describe(folder, path)
        for part in sorted(parts)
        for path in (folder / part, *sorted(_walk(folder / part), key=os.fsencode))
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def digest(manifest: str, parts: Sequence[str]) -> str:
    """The identity of what these parts hold.

    Python's compiled files are left out: they follow from their sources, and differ from one compilation to the next.
    """
    found = hashlib.sha256()
    for line in manifest.splitlines(keepends=True):
        path = Path(_read(line)[3])
        if path.parts[0] in parts and "__pycache__" not in path.parts:
            found.update(line.encode())
    return found.hexdigest()


def lines(manifest: str) -> Iterator[list[str]]:
    """The lines of a manifest, [mode, kind, digest or target, path]. Raises ValueError where it is none."""
    return map(_read, manifest.splitlines())


def changed(then: str, now: str, part: str) -> list[str]:
    """The files and links of one part that two manifests tell differently, by their paths within that part.

    Folders don't count, nor do Python's compiled files, nor modes: the images of two releases differ in none of these
    by what a visitor could see. Raises ValueError where one is no manifest.
    """
    contents = [
        {
            path.partition("/")[2]: said[1:]
            for path, said in _by_path(manifest.splitlines()).items()
            if path.partition("/")[0] == part and said[1] != "folder" and "__pycache__" not in path.split("/")
        }
        for manifest in (then, now)
    ]
    old, new = contents
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def compare(manifest: str, folder: Path, parts: Sequence[str]) -> list[str]:
    """What differs in the folder from its manifest, a sentence each; nothing if it is as it was."""
    then, now = _by_path(manifest.splitlines()), _by_path(take(folder, parts).splitlines())
    said = []
    for path in sorted(then.keys() | now.keys()):
        if path not in now:
            said.append(f"{path} is missing")
        elif path not in then:
            said.append(f"{path} was added")
        elif then[path][1:] != now[path][1:]:
            said.append(f"{path} was changed")
        elif then[path] != now[path]:
            said.append(f"{path} has mode {now[path][0]}, not {then[path][0]}")
    return said


def remove(folder: Path) -> None:
    """Remove a folder, frozen or not; nothing happens if there is none. Links are removed, not what they lead to.

    Root needs no other modes, and changes none: in a HOME, the application's user could put a link in the way of that.
    """
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    with suppress(PermissionError):
        shutil.rmtree(folder)
        return
    _chmod(folder, stat.S_IRWXU)
    for path in _walk(folder, opening=True):
        del path
    shutil.rmtree(folder)


def _by_path(lines: Iterable[str]) -> dict[str, list[str]]:
    return {path: [mode, kind, content] for mode, kind, content, path in map(_read, lines)}


def _read(line: str) -> list[str]:
    """A line of a manifest. Raises ValueError where it is none."""
    found = strict_json.read(line)
    if not isinstance(found, list) or [type(part) for part in found] != [str] * 4 or not found[3]:
        raise ValueError("a line of the manifest is none")
    return found


def _describe(folder: Path, path: Path) -> list[str]:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
        return ["-", "link", str(path.readlink()), name]
    mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
    if path.is_dir():
        return [mode, "folder", "", name]
    if not path.is_file():  # a socket or a pipe that a build left
        return [mode, "special", "", name]
    with path.open("rb") as content:
        return [mode, "file", _sha256(content), name]


def _walk(folder: Path, *, opening: bool = False) -> Iterator[Path]:
    """Everything below a folder, a folder before its content; `opening` makes each folder writable first."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = Path(entry.path)
        below = entry.is_dir(follow_symlinks=False)
        if below and opening:
            _chmod(path, stat.S_IRWXU)
        yield path
        if below:
            yield from _walk(path, opening=opening)


def _copy_in_place(path: Path) -> None:
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)  # a new file: nothing that a build put there is followed
    os.close(descriptor)
    shutil.copy2(path, fresh)  # with its times: Python's compiled files name those of their sources
    Path(fresh).replace(path)


def _has_capabilities(path: Path) -> bool:
    """Whether a file gives capabilities to whoever runs it (capabilities(7)). Only Linux has them."""
    return hasattr(os, "listxattr") and "security.capability" in os.listxattr(path, follow_symlinks=False)


def _chmod(path: Path, mode: int) -> None:
    path.chmod(stat.S_IMODE(mode))


def _sha256(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while piece := file.read(1 << 20):
        found.update(piece)
    return found.hexdigest()
