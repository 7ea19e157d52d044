"""The folder `<image>.partial`, in which an image grows until it is whole.

It holds the parts of the image, the offer that says what they will be, and for each writer a folder of its own. A file
is in its place only if its content was found to be right.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files, manifest, offers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeguard.cluster.host.offers import Item, Offer

SUFFIX = ".partial"
PIECE = 1 << 20
_OFFER = "offer"
_WRITER = "writer."
_FOLDER = 0o755  # while the image grows
_FROZEN_FILE, _FROZEN_FOLDER = 0o444, 0o555  # as a build leaves them


class Partial:
    """An image's folder until it is whole."""

    def __init__(self, image: Path) -> None:
        self.image = image
        self.folder = image.with_name(image.name + SUFFIX)

    def path(self, item: Item) -> Path:
        """Where a file, a folder or a link goes."""
        return self.folder / item.path

    @contextmanager
    def held(self, *, wait: bool = True) -> Iterator[bool]:
        """Hold the folder; gives whether it is there. The kernel frees it when its holder dies.

        Raises:
            BlockingIOError: another process holds it, and this one does not `wait`.
        """
        while True:
            try:
                descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                yield False
                return
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if self._is(descriptor):
                    yield True
                    return
            finally:
                os.close(descriptor)

    def _is(self, descriptor: int) -> bool:
        """Whether the folder is still this one: its holder may have made an image of it."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.folder))
        return False

    def make(self) -> None:
        """Make the folder. Harmless where it is there."""
        manifest.make(self.folder.parent)
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)

    def offered(self) -> Offer | None:
        """The offer that was made last; None where there is none."""
        try:
            return offers.parse((self.folder / _OFFER).read_bytes())
        except FileNotFoundError:
            return None

    def begin(self, offer: Offer) -> None:
        """Keep an offer, and make what is here as it says, but for contents: what has no place in it is removed, and
        its folders and links are made. The folder is held."""
        self.folder.chmod(stat.S_IRWXU)  # a writer who died at the end has frozen it
        for path in self.folder.iterdir():
            if not path.name.startswith(_WRITER) and path.name not in offer.parts:
                manifest.remove(path)
        fresh = self.folder / f".{_OFFER}.tmp"
        fresh.write_bytes(offer.content)
        fresh.replace(self.folder / _OFFER)
        self.sweep()
        wanted = {item.path: item for item in offer.items}
        for part in offer.parts:
            self._clean(part, wanted)
        for item in offer.items:
            path = self.path(item)
            if item.kind == "folder":
                path.mkdir(exist_ok=True)
                path.chmod(_FOLDER)
            elif item.kind == "link":
                if not path.is_symlink():
                    path.symlink_to(item.content)
                os.utime(path, ns=(item.time, item.time), follow_symlinks=False)

    def _clean(self, name: str, wanted: dict[str, Item]) -> None:
        """Remove what is not of the wanted kind. No link is followed."""
        path, item = self.folder / name, wanted.get(name)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if item is None or item.kind != _kind(mode) or (item.kind == "link" and str(path.readlink()) != item.content):
            manifest.remove(path)
        elif item.kind == "folder":
            path.chmod(stat.S_IRWXU)
            for inner in list(path.iterdir()):
                self._clean(f"{name}/{inner.name}", wanted)

    def lacking(self, offer: Offer) -> list[int]:
        """The numbers of the files that are not here. One with another content is removed. The folder is held."""
        found = []
        for number, item in enumerate(offer.items):
            path = self.path(item)
            if item.kind != "file":
                continue
            if not path.exists():
                found.append(number)
            elif path.stat().st_size == item.size and digest_of(path) == item.content:
                dress(path, item)
            else:
                path.unlink()
                found.append(number)
        return found

    @contextmanager
    def writer(self) -> Iterator[Path]:
        """A folder for one writer's unfinished files. The image's folder is held when this is entered, not later."""
        own = self.folder / tempfile.mkdtemp(prefix=_WRITER, dir=self.folder)
        descriptor = os.open(own, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield own
        finally:
            os.close(descriptor)
            manifest.remove(own)

    def sweep(self, *, living: bool = False) -> bool:
        """Remove what dead writers left, and with `living` what the living ones have: they can put nothing in its place
        any more. Returns whether any lives. The folder is held."""
        lives = False
        for own in self.folder.glob(f"{_WRITER}*"):
            descriptor = os.open(own, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lives = True
                if not living:
                    continue
            finally:
                os.close(descriptor)
            manifest.remove(own)
        return lives

    def seal(self, offer: Offer) -> None:
        """Give the folders their modes and times, the inner ones first. The folder is held."""
        for item in reversed(offer.items):
            if item.kind == "folder":
                dress(self.path(item), item)

    def finish(self, offer: Offer) -> None:
        """Write what makes an image of the folder, durably, `release.json` last. The folder is held, and is whole."""
        (self.folder / _OFFER).unlink()
        os.sync()  # the files must be durable before the manifest names them
        for name, content in (("manifest", offer.manifest), ("release.json", offer.description)):
            with (self.folder / name).open("x", encoding="utf-8") as file:
                file.write(content)
                os.fchmod(file.fileno(), _FROZEN_FILE)
                file.flush()
                os.fsync(file.fileno())
        self.folder.chmod(_FROZEN_FOLDER)
        files.sync(self.folder)

    def put(self, fresh: Path, item: Item) -> None:
        """Put a file that is whole in its place."""
        dress(fresh, item)
        fresh.replace(self.path(item))


def dress(path: Path, item: Item) -> None:
    """Give a file or a folder its mode and its time."""
    path.chmod(item.mode)
    os.utime(path, ns=(item.time, item.time))


def digest_of(path: Path) -> str:
    """The digest of a file's content, as manifests have it."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _kind(mode: int) -> str:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return kinds.get(stat.S_IFMT(mode), "special")
