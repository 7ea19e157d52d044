"""What this server is: its versions, the room on its disk, and the size of the image that it serves."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import generations, images, takes
from edgeguard.cluster.host.haproxy import find_haproxy

if TYPE_CHECKING:
    from collections.abc import Mapping

TAKES = {"releases": takes.path}
"""What `facts` takes."""
_LIMIT = 10.0


def facts(folder: Path, *, releases: str) -> dict[str, Any]:
    """Versions by their programs' names; bytes that are free where images are; bytes of the image that is current, as
    the disk has them (0: none is)."""
    there = Path(releases)
    room = os.statvfs(next(place for place in (there, *there.parents) if place.exists()))
    name = generations.current(folder)
    image = None if name is None else generations.find(folder, name)
    return {
        "versions": {"Python": platform.python_version(), **_versions()},
        "free": room.f_bavail * room.f_frsize,
        "image": 0 if image is None else sum(_size(image.image / part) for part in images.CONTENT),
    }


def _versions() -> Mapping[str, str]:
    """The third word of `HAProxy version 2.6.12-1 2023/12/12`, and the second of `systemd 252 (252.38-1)`."""
    said = {"systemd": (["systemctl", "--version"], 1), "HAProxy": ([find_haproxy() or "haproxy", "-v"], 2)}
    found = {}
    for program, (argv, place) in said.items():
        words = _first_line(argv).split()
        found[program] = words[place] if len(words) > place else "none"
    return found


def _first_line(argv: list[str]) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False)
        return ran.stdout.decode(errors="replace").partition("\n")[0]
    return ""


def _size(part: Path) -> int:
    """Bytes of its files on the disk: st_blocks counts 512 each (stat(2))."""
    total = 0
    for folder, _, names in os.walk(part):
        for name in names:
            with suppress(OSError):
                total += Path(folder, name).lstat().st_blocks * 512
    return total
