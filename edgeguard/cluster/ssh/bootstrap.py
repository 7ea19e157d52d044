"""What runs first on a host: it finds the host program's archive there, or takes it from the caller, and becomes it.

It speaks in lines that begin with a nonce, since login scripts may print before it and around it:

    NONCE send            send the archive
    NONCE ready           from here on the host program speaks
    NONCE anything else   it goes no further; `refusal` makes a sentence of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import HostError
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Python 3.5 has to understand it, to say that it is too old. The archive is linked to its name, never moved: two
# callers may bring it at once, and what is there is not overwritten.
_SOURCE = r"""
import os, sys
def say(*words):
    data = ("\n" + nonce + " " + " ".join(words) + "\n").encode("ascii", "backslashreplace")
    while data:
        data = data[os.write(1, data):]
def refuse(*words):
    say(*words)
    sys.exit(0)
def right():
    try:
        with open(path, "rb") as file:
            if hashlib.sha256(file.read(size + 1)).hexdigest() == digest:
                return True
    except IOError as exc:
        if exc.errno == 2:
            return False
        raise
    refuse("differs")
def install():
    say("send")
    content = b""
    while len(content) < size:
        more = os.read(0, min(size - len(content), 65536))
        if not more:
            sys.exit(0)
        content += more
    if hashlib.sha256(content).hexdigest() != digest:
        refuse("garbled")
    folder, name = os.path.split(path)
    os.makedirs(folder, 0o755, exist_ok=True)
    fresh = os.path.join(folder, "." + name + "." + nonce[:8] + ".tmp")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except FileExistsError:
            right()
    finally:
        if os.path.exists(fresh):
            os.unlink(fresh)
    there = os.open(folder, os.O_RDONLY)
    os.fsync(there)
    os.close(there)
if sys.version_info < (3, 9):
    refuse("python", sys.version.split()[0])
try:
    import hashlib, json, shutil, zipfile
except ImportError as exc:
    refuse("lacks", str(exc.name))
try:
    if not right():
        if not may_install:
            refuse("absent")
        install()
    compiled = os.path.splitext(path)[0] + "." + sys.implementation.cache_tag + ".pyz"  # see compiled.py
    program = compiled if os.path.exists(compiled) else path
    say("ready")
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-X", "utf8", program] + argv)
except OSError as exc:
    word = "forbidden" if exc.errno in (1, 13) else "system"
    refuse(word, str(exc.filename) + ":" if exc.filename else "", str(exc.strerror))
"""


def source(nonce: str, path: Path, digest: str, size: int, argv: Sequence[str], *, may_install: bool) -> str:
    """The Python source that becomes the archive at `path`, whose SHA-256 and size are these, with these arguments."""
    given = {"nonce": nonce, "path": str(path), "digest": digest, "size": size, "argv": list(argv)}
    lines = [f"{name} = {value!a}" for name, value in {**given, "may_install": may_install}.items()]
    return "\n".join(lines) + _SOURCE


# By the first word behind a nonce: the sentence and the remedy. {0} is the archive's path, {1} the other words.
_REFUSALS = {
    "python": (
        "its Python is {1}; 3.9 or newer is needed",
        "Install a newer one there, and name it as `python` in [cluster.options].",
    ),
    "lacks": (
        "its Python lacks {1}, a part of the standard library",
        "Install the whole of it there (Debian: python3, not python3-minimal).",
    ),
    "differs": (
        "{0} is not the host program that its name says: it is damaged, or somebody changed it",
        "Find out who, and remove it there; then edgeguard (with sudo `edgeguard cluster prepare`) puts it there anew.",
    ),
    "absent": ("{0} is not there", "Run `edgeguard cluster prepare` for this environment."),
    "garbled": ("the host program arrived damaged", "Try again; if it stays so, look at the way to the host."),
    "forbidden": (
        "the host program can't be put there: {1}",
        "Log in as root, or as a user who may use sudo, with `sudo = true` in [cluster.options].",
    ),
    "system": (
        "the host program can't be put there: {1}",
        "Make room on its disk; trying again is harmless.",
    ),
}
_UNKNOWN = ("it answered with something that edgeguard does not know", "Try again; look at its login scripts.")
_SHOWN = 300  # characters


def refusal(said: str, path: Path) -> HostError:
    """The error that the words behind a nonce mean."""
    word, _, rest = on_one_line(said).partition(" ")
    meaning, remedy = _REFUSALS.get(word, _UNKNOWN)
    return HostError(meaning.format(path, rest[:_SHOWN].strip()), remedy)
