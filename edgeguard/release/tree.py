"""Writes a commit's tree from Git's objects, byte for byte.

No attribute (`export-ignore`, `text`, `filter`) and no setting of the user (`core.autocrlf`, `core.symlinks`) changes
it, so the same commit is the same tree on every machine. Content that Git LFS keeps elsewhere is the one exception: the
tree has a pointer to it, and the content is fetched where git-lfs is installed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from edgeguard.cluster.host import manifest
from edgeguard.errors import BuildFailed, Interrupted
from edgeguard.machine import process

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edgeguard.release.source import Source

_PIECE = 1 << 20
_LINK, _EXECUTABLE, _SUBMODULE = "120000", "100755", "160000"
_UNUSABLE = frozenset({"", ".", "..", ".git"})  # parts of a path that Git's own checkout refuses
_LONGEST_POINTER = 1024  # bytes (git-lfs: docs/spec.md)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:[^\n]*\n)*?oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n"
)


class Written(NamedTuple):
    """What a written tree lacks: submodules, each an empty folder, with their commits, and content that LFS keeps."""

    submodules: dict[str, str]
    pointers: list[str]


@dataclass(frozen=True)
class Tree:
    """A commit's tree on its way into the folder `to`, which is empty. `deadline` is of the monotonic clock."""

    source: Source
    to: Path
    deadline: float

    def write(self) -> Written:
        """Write the tree. LFS content that can't be fetched leaves its pointer in the tree.

        Raises:
            BuildFailed: an object is missing, a path can't be written, or the deadline has passed.
            Interrupted: the source was cancelled.
            OSError: the disk is full, or the folder can't be written.
        """
        try:
            submodules = self._write_objects()
            pointers = self._pointers()
            if lfs_is_installed():
                pointers = {place: said for place, said in pointers.items() if not self._fetch(place, *said)}
        except (EOFError, BrokenPipeError) as exc:
            raise BuildFailed(
                "Git ended before it had read the whole tree",
                "Look at the repository with `git fsck`, or fetch it anew.",
            ) from exc
        except process.TimedOut as exc:
            raise BuildFailed(
                "the build took longer than its limit and was ended while Git read the tree",
                "Look whether Git can read the repository, or raise application.build_timeout.",
            ) from exc
        except process.Cancelled as exc:
            raise Interrupted("interrupted during the build, while Git read the tree", "Nothing was touched.") from exc
        return Written(submodules, [str(place.relative_to(self.to)) for place in pointers])

    def _write_objects(self) -> dict[str, str]:
        """Write every file, link and folder. Returns the submodules, which are empty folders, with their commits.

        Links come last, so that no path leads through one. One process of Git reads thousands of files.
        """
        entries = sorted(self.source.entries(), key=lambda entry: entry[0] == _LINK)
        with self._git("cat-file", "--batch") as (to, out):
            for mode, name, path in entries:
                place = self._place(path)
                if mode == _SUBMODULE:
                    manifest.make(place)
                    continue
                to.write(f"{name}\n".encode())
                to.flush()
                head = out.readline().split()  # "<object> <kind> <size>", or "<object> missing"
                if not head:
                    raise EOFError
                if len(head) != len(("object", "kind", "size")):
                    raise BuildFailed(
                        f"Git can't read {path}, the object {name}",
                        "Look at the repository with `git fsck`, or fetch it anew.",
                    )
                if mode == _LINK:
                    target = io.BytesIO()
                    _copy(out, target, int(head[2]))
                    place.symlink_to(os.fsdecode(target.getvalue()))
                else:
                    with place.open("xb") as file:
                        _copy(out, file, int(head[2]))
                    place.chmod(0o755 if mode == _EXECUTABLE else 0o644)
                out.read(1)  # the newline after the content
        return {path: name for mode, name, path in entries if mode == _SUBMODULE}

    def _place(self, path: str) -> Path:
        """Where a file goes. Its folder is made."""
        place = self.to / path
        if not _UNUSABLE.isdisjoint(path.split("/")) or place.is_symlink() or place.exists():
            raise BuildFailed(f"the tree's path {path!r} can't be written", "Commit a tree that Git can check out.")
        try:
            manifest.make(place.parent)
        except (FileExistsError, NotADirectoryError) as exc:
            raise BuildFailed(f"the tree's path {path!r} leads through a file", "Commit another tree.") from exc
        return place

    def _pointers(self) -> dict[Path, tuple[str, int]]:
        """The files whose content Git LFS keeps, with the digest and the size of that content."""
        found: dict[Path, tuple[str, int]] = {}
        if self.source.uses_lfs():
            for place in sorted(self.to.rglob("*")):
                if said := _pointer(place):
                    found[place] = (said[1].decode(), int(said[2]))
        return found

    def _fetch(self, place: Path, digest: str, size: int) -> bool:
        """Put the content in its pointer's place. False: it can't be had, or is another one."""
        path, content = str(place.relative_to(self.to)), place.with_name(f".{digest}.lfs")
        with self._git("lfs", "smudge", "--", path) as (to, out), content.open("xb") as file:
            to.write(place.read_bytes())
            to.close()
            found, length = hashlib.sha256(), 0
            while length <= size and (piece := out.read(_PIECE)):
                found.update(piece)
                file.write(piece)
                length += len(piece)
        if (found.hexdigest(), length) != (digest, size):
            content.unlink()
            return False
        content.chmod(place.stat().st_mode)
        content.replace(place)
        return True

    def _git(self, *arguments: str) -> AbstractContextManager[tuple[IO[bytes], IO[bytes]]]:
        return self.source.piped(*arguments, deadline=self.deadline)


def lfs_is_installed() -> bool:
    """Whether this machine can fetch what Git LFS keeps."""
    return shutil.which("git-lfs") is not None


def _pointer(place: Path) -> re.Match[bytes] | None:
    if place.is_symlink() or not place.is_file() or place.stat().st_size > _LONGEST_POINTER:
        return None
    return _POINTER.match(place.read_bytes())


def _copy(out: IO[bytes], file: IO[bytes], left: int) -> None:
    """Copy exactly so many bytes. Raises EOFError where the source ends before."""
    while left:
        piece = out.read(min(left, _PIECE))
        if not piece:
            raise EOFError
        file.write(piece)
        left -= len(piece)
