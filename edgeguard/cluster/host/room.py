"""Whether an image finds room on this server, and a server to run it: looked at before anything of it is sent."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import copies, images, manifest, reserve, takes, task_units
from edgeguard.cluster.host.errors import HostError, refusal
from edgeguard.cluster.host.partial import Partial
from edgeguard.cluster.host.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from edgeguard.cluster.host.offers import Item, Offer

REMEDY = "Make room on its disk; trying again is harmless, and what has arrived stays."
TAKES = {
    "image": takes.path,
    "size": takes.whole,
    "files": takes.whole,
    "user": takes.perhaps(takes.text),
    "tasks": takes.flag,
}
"""What `unready` takes."""
_MB = 1_000_000


def unready(folder: Path, *, image: str, size: int, files: int, tasks: bool, user: str | None = None) -> dict[str, Any]:
    """What keeps this server from taking an image of so many bytes and files, and from running its background `tasks`
    if it has any, a sentence each; and whether there may be too little room for it, which only an offer of it can tell
    (`look`)."""
    found = [refusal(lambda: Prepared.of(folder)), refusal(lambda: accounts.to_become(user))]
    if tasks and found[0] is None:
        found.append(refusal(lambda: task_units.refuse_missing(Prepared.of(folder))))
    if files:  # where none comes, it is a rollback, which a full disk does not keep from working
        found.append(reserve.lacking(folder))
    return {"found": list(filter(None, found)), "narrow": _is_narrow(Path(image), size, files)}


def look(image: Path, offer: Offer) -> None:
    """Refuse an image for which there is no room. Nothing of it is left here. Raises HostError."""
    partial = Partial(image)
    if (image / "release.json").exists():
        return
    wanted = [item for item in offer.items if item.kind == "file" and not partial.path(item).exists()]
    found = sources(image.parent, {item.content for item in wanted})
    here = [places[0] for places in found.values()]
    cloned = bool(here) and copies.clones(here[0], image.parent)
    make_sure(image, [item for item in wanted if not cloned or item.content not in found])


def sources(releases: Path, contents: Collection[str]) -> dict[str, list[Path]]:
    """Where these contents lie, if the manifests of the images here are right."""
    found: dict[str, list[Path]] = defaultdict(list)
    for image in images.finished(releases):
        with suppress(OSError, ValueError):  # it is damaged, or is being removed
            for _, kind, content, path in manifest.lines((image / "manifest").read_text(encoding="utf-8")):
                if kind == "file" and content in contents:
                    found[content].append(image / path)
    return found


def make_sure(image: Path, coming: Sequence[Item]) -> None:
    """Raise HostError where these files don't fit on the disk."""
    room = os.statvfs(_above(image))
    need = sum(-(-item.size // room.f_frsize) * room.f_frsize for item in coming)
    free = room.f_bavail * room.f_frsize
    if need > free:
        raise HostError(
            f"there is no room for the image on the disk of {image.parent}: {-(-need // _MB)} MB are needed, "
            f"{free // _MB} MB are free",
            REMEDY,
        )
    if room.f_files and len(coming) > room.f_favail:
        raise HostError(
            f"there is no room for the image on the disk of {image.parent}: it needs {len(coming)} more files, "
            f"{room.f_favail} are possible",
            REMEDY,
        )


def _is_narrow(image: Path, size: int, many: int) -> bool:
    """Whether there may be too little room here for an image of so many bytes in so many files."""
    if (image / "release.json").exists():
        return False
    room = os.statvfs(_above(image))
    need = size + many * room.f_frsize
    return need > room.f_bavail * room.f_frsize or bool(room.f_files and many > room.f_favail)


def _above(image: Path) -> Path:
    """The folder in which the image will be, or the first one above it that is there."""
    return next(folder for folder in image.parents if folder.exists())
