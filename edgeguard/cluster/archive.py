"""The archive of `cluster/host`: one file that any Python from 3.9 on runs, the same bytes wherever it is made."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path

from edgeguard.cluster import host
from edgeguard.cluster.host import compiled

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest moment that a zip file can hold
_MAIN = b"from edgeguard.cluster.host.__main__ import main\n\nmain()\n"


def content() -> bytes:
    """The archive. It depends on the package's source files and on nothing else: no times, no owners, no compression
    (whose output differs between versions of zlib)."""
    folder = Path(host.__file__).parent
    members = {"__main__.py": _MAIN, "edgeguard/__init__.py": b"", "edgeguard/cluster/__init__.py": b""}
    for path in folder.glob("*.py"):
        members[f"edgeguard/cluster/host/{path.name}"] = path.read_bytes()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted(members.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.create_system = 3  # Unix, also where it is made elsewhere
            member.external_attr = 0o100444 << 16
            archive.writestr(member, source)
    return made.getvalue()


def put(folder: Path) -> Path:
    """Write the archive into a folder, under its digest, unless it is there. Versions lie side by side, and none is
    ever overwritten. Returns its path."""
    made = content()
    path = folder / f"host-{hashlib.sha256(made).hexdigest()[:16]}.pyz"
    if not (path.exists() and path.read_bytes() == made):
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{path.name}.{os.getpid()}.tmp"
        fresh.write_bytes(made)
        fresh.chmod(0o444)
        fresh.replace(path)
    return path


def program(archive: Path) -> tuple[str, ...]:
    """The argument vector that runs the archive here, compiled: isolated from the environment, the user's folders and
    the folder in which it is called."""
    return (sys.executable, "-I", "-S", str(compiled.beside(archive)))
