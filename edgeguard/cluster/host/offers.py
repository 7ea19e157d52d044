"""What the machine that built an image says of it before any of it travels: an offer.

An offer is lines of JSON. The first is the text of `release.json`. Each other line is a line of the image's manifest
(manifest.py) with two numbers more, [mode, kind, digest or target, path, bytes, nanoseconds since 1970].
Times are no part of an image's identity, but Python's compiled files name those of their sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import images, manifest, strict_json
from edgeguard.cluster.host.errors import IMAGE_CHANGED, HostError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 256 * 1024 * 1024
"""Bytes of one offer. One of 50,000 files has about 10 MB."""
_MODE = re.compile(r"0[0-7]{3}")  # nothing that lends its owner's rights
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TYPES = [str, str, str, str, int, int]
_LONGEST_TIME = 1 << 62
_SHOWN = 120  # characters of a path in a message


@dataclass(frozen=True)
class Item:
    """A line of an offer. `content` is a file's digest, or what a link leads to. `time` is in nanoseconds."""

    mode: int
    kind: str
    content: str
    path: str
    size: int
    time: int


@dataclass(frozen=True)
class Offer:
    """An image that could be sent. `digest` tells this offer from others of the same image; `content` is its text."""

    digest: str
    content: bytes
    release: str
    description: str
    manifest: str
    items: tuple[Item, ...]

    @property
    def parts(self) -> list[str]:
        """The parts of an image that it has."""
        return [item.path for item in self.items if "/" not in item.path]


def make(image: Path) -> Offer:
    """The offer of an image on this machine.

    Raises:
        HostError: the image can't be read, or is not as its manifest says (IMAGE_CHANGED).
    """
    try:
        lines = [json.dumps((image / "release.json").read_text(encoding="utf-8"))]
        text = (image / "manifest").read_text(encoding="utf-8")
        for said in manifest.lines(text):
            status = os.lstat(image / said[3])
            lines.append(json.dumps([*said, status.st_size if said[1] == "file" else 0, status.st_mtime_ns]))
        content = "".join(f"{line}\n" for line in lines).encode()
        offer = parse(content)
    except OSError as exc:
        raise _changed(image, f"{exc.filename}: {exc.strerror}") from exc
    except (ValueError, TypeError, LookupError, HostError) as exc:
        raise _changed(image, str(exc)) from exc
    if offer.manifest != text:
        raise _changed(image, "the manifest was changed")
    return offer


def _changed(image: Path, why: str) -> HostError:
    return HostError(
        f"the image {image} is not as it was built: {why}",
        "Find out what writes there. A deploy builds it anew as soon as no server uses it.",
        code=IMAGE_CHANGED,
    )


def parse(content: bytes) -> Offer:
    """What an offer says.

    Raises:
        HostError: it is none, or holds what an image can't hold: a path that leads out of the image or through a link,
            a device, a file that lends its owner's rights.
    """
    try:
        first, *lines = content.decode("ascii").splitlines()
        description = strict_json.read(first)
        release = _release(description)
        told = [strict_json.read(line) for line in lines]
        items = tuple(map(_item, told))
    except ValueError as exc:
        raise HostError(f"what arrived is no offer of an image: {exc}") from exc
    _refuse_stray(items)
    text = "".join(f"{json.dumps(line[:4])}\n" for line in told)
    if manifest.digest(text, images.CONTENT) != release:
        raise HostError("the offered manifest is not that of its release", code=IMAGE_CHANGED)
    return Offer(hashlib.sha256(content).hexdigest(), content, release, description, text, items)


def _release(description: object) -> str:
    """The digest in the text of a release.json. Raises ValueError where there is none."""
    said = strict_json.read_object(description) if isinstance(description, str) else {}
    if not isinstance(said.get("digest"), str):
        raise ValueError("its first line does not describe a release")  # noqa: TRY004 (what arrived is wrong)
    return str(said["digest"])


def _item(said: Any) -> Item:  # noqa: ANN401 (JSON is of any type)
    if not isinstance(said, list) or [type(part) for part in said] != _TYPES:
        raise ValueError("a line has other parts")
    mode, kind, content, path, size, time = said
    fits = {
        "file": _MODE.fullmatch(mode) and _DIGEST.fullmatch(content),
        "folder": _MODE.fullmatch(mode) and not content,
        "link": mode == "-" and content and "\0" not in content,
    }
    if not fits.get(kind) or size < 0 or (size and kind != "file") or abs(time) > _LONGEST_TIME:
        raise ValueError(f"{path[:_SHOWN]!r} can't be in an image: {mode} {kind}")
    os.fsencode(path + content)  # raises UnicodeEncodeError, a ValueError
    return Item(0 if kind == "link" else int(mode, 8), kind, content, path, size, time)


def _refuse_stray(items: tuple[Item, ...]) -> None:
    """Refuse a path that is not directly in a folder which the offer named before."""
    kinds: dict[str, str] = {}
    for item in items:
        above, _, name = item.path.rpartition("/")
        inside = kinds.get(above) == "folder" if above else item.path in images.FROZEN and item.kind == "folder"
        if not inside or name in ("", ".", "..") or "\0" in name or item.path in kinds:
            raise HostError(f"what arrived is no offer of an image: {item.path[:_SHOWN]!r} can't be in one")
        kinds[item.path] = item.kind
