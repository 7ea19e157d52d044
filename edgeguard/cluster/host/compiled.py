"""An archive of this package whose modules are compiled for the Python that runs it.

Python compiles what it imports from an archive anew at each start, and keeps nothing. That took longer than all else
that the programs do before they become an application or start a hook. A compiled module stands beside its source, so
another Python than the one that compiled them reads the sources (zipimport looks at the magic number).
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import sys
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_UNCHECKED = (1).to_bytes(4, "little")  # PEP 552: the source's hash follows, and is not looked at


def content(archive: bytes, path: Path) -> bytes:
    """The same archive, compiled modules included. Tracebacks name `path`."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as sources, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as both:
        for member in sources.infolist():
            source = sources.read(member)
            both.writestr(member, source)
            code = compile(source, str(path / member.filename), "exec", dont_inherit=True)
            with_header = importlib.util.MAGIC_NUMBER + _UNCHECKED + importlib.util.source_hash(source)
            both.writestr(f"{member.filename}c", with_header + marshal.dumps(code))
    return made.getvalue()


def place(archive: Path) -> Path:
    """Where the compiled archive is, beside its archive; the same path for one that is compiled."""
    tag = f".{sys.implementation.cache_tag}"
    return archive if archive.stem.endswith(tag) else archive.with_name(f"{archive.stem}{tag}.pyz")


def beside(archive: Path) -> Path:
    """The path of the compiled archive, which is made if need be. Where it can't be written, the archive itself: it
    does the same, slower."""
    path = place(archive)
    if path.exists():
        return path
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            file.write(content(archive.read_bytes(), path))
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o444)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):  # the disk may be gone
            fresh.unlink()
        return archive
    return path


def link(path: Path, archive: Path) -> None:
    """Let the link at `path` name the compiled archive. Who reads it meanwhile finds the earlier one or this."""
    named = beside(archive)
    if path.is_symlink() and path.resolve() == named.resolve():
        return
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(named)
    fresh.replace(path)
