"""A frozen image on one server: whether it is as it was built, and its end.

An image is a folder with the frozen parts `app`, `home` and `toolchain`, a `manifest` of them, and `release.json`. The
last is written last: a folder without it is an unfinished build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.host import files, manifest
from edgeguard.cluster.host.errors import IMAGE_CHANGED, HostError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTENT = ("app", "toolchain")
"""The parts that make a release's identity."""
FROZEN = ("app", "home", "toolchain")
"""The parts that are frozen."""
_TOLD = 3  # differences in one message


def digest(folder: Path) -> str:
    """The digest of the release whose image this is. Raises HostError where the folder holds no finished image."""
    said = files.read(folder / "release.json", {"digest": (str,)})
    if said is None:
        raise HostError(f"{folder} holds no finished image", "Deploy again; it is rebuilt.")
    return str(said["digest"])


def verify(folder: Path) -> list[str]:
    """What differs in an image from the day it was frozen, a sentence each; empty if the image is whole.

    Every file is read. A file may vanish while this looks at it, in an image that is written to: that is told.
    """
    try:
        then = (folder / "manifest").read_text(encoding="utf-8")
        release = digest(folder)
        if manifest.digest(then, CONTENT) != release:
            return ["the manifest was changed"]
    except HostError as exc:
        return [exc.message]
    except OSError as exc:
        return [f"{exc.filename or folder} can't be read: {exc.strerror}"]
    except ValueError:
        return ["the manifest was changed"]
    try:
        return manifest.compare(then, folder, [part for part in FROZEN if (folder / part).exists()])
    except OSError as exc:
        return [f"{exc.filename or folder} can't be read: {exc.strerror}"]


def refuse_other(folder: Path, release: str, *, whole: bool) -> None:
    """Raise HostError (IMAGE_CHANGED) where the image is not this release's, or (`whole`) not as it was built."""
    found = digest(folder)
    if found != release:
        raise HostError(f"{folder} holds the release {found}, not {release}", code=IMAGE_CHANGED)
    if whole and (differs := verify(folder)):
        raise HostError(
            f"the image {folder} is not what was built: {in_short(differs)}",
            "Find out what writes there. A deploy builds it anew as soon as no server uses it.",
            code=IMAGE_CHANGED,
        )


def in_short(differs: Sequence[str]) -> str:
    """The first few of many sentences, and how many more there are."""
    more = len(differs) - _TOLD
    return "; ".join(differs[:_TOLD]) + (f" (and {more} more)" if more > 0 else "")


def remove(folder: Path) -> None:
    """Remove an image. An image that is half removed is none any more."""
    if folder.is_dir():
        folder.chmod(0o700)
        (folder / "release.json").unlink(missing_ok=True)
    manifest.remove(folder)


def finished(releases: Path) -> list[Path]:
    """The finished images in the folder of releases. One that is arriving (partial.py) is none yet."""
    found = sorted(releases.iterdir()) if releases.is_dir() else []
    return [folder for folder in found if folder.suffix != ".partial" and (folder / "release.json").exists()]
