"""PLATFORM_PROJECT_ENTROPY: a random text of an environment, from which applications make keys and salts.

It is made once, and is the same on all servers and in all releases: a new one would end sessions and make what was
encrypted unreadable. It is a secret, in a file beside the servers' folders that only edgeguard's user can read.
"""

from __future__ import annotations

import base64
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files
from edgeguard.errors import UsageError
from edgeguard.machine.redaction import redacted

if TYPE_CHECKING:
    from pathlib import Path

FILE = "entropy"
_BYTES = 35  # 56 characters of base32, without padding
_FORM = re.compile(r"[A-Z2-7]{56}\n?")


def of(root: Path, *, told: str | None = None) -> str:
    """The text of the environment with this `cluster.root`, made by the first call. Redaction learns it.

    `told` is what the servers keep, where they keep one: any machine may deploy, and each has a root of its own. Two
    first calls at once return the same.

    Raises:
        UsageError: the file can't be read or made, or holds something else.
    """
    if told is not None and _FORM.fullmatch(told):
        redacted.learn([told])
        return told
    path = root / FILE
    try:
        if not path.exists():
            _make(path)
        said = path.read_text(encoding="ascii")
    except OSError as exc:
        raise UsageError(
            f"{path} can't be used: {exc.strerror}", "Make room there, or give edgeguard's user the right to use it."
        ) from exc
    except UnicodeDecodeError:
        said = ""
    if not _FORM.fullmatch(said):
        raise UsageError(
            f"{path} is damaged; it holds the environment's PLATFORM_PROJECT_ENTROPY",
            "Put it back from a backup. Or remove it: then a new one is made, and keys made from the old one are lost.",
        )
    redacted.learn([said.strip()])
    return said.strip()


def hide(root: Path) -> None:
    """Let redaction learn the text, where there is one that this user can read."""
    if (root / FILE).exists():
        with suppress(UsageError):
            of(root)


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{FILE}.{os.urandom(4).hex()}.tmp")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b32encode(os.urandom(_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another deploy has made one just now: that one counts
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)
    files.sync(path.parent)
