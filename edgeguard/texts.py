"""Text as editors and shells save it: many of them put a byte order mark in front, which no reader of ours wants."""

from __future__ import annotations

import codecs
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 2**20
"""Bytes of a TOML file that is read."""
MARK = "\ufeff"
"""The byte order mark."""


def read(path: Path) -> str:
    """The text of a file. Raises OSError, and UnicodeDecodeError as `decoded` does."""
    return decoded(path.read_bytes())


def decoded(content: bytes) -> str:
    """Text in UTF-8, or in UTF-16 where a byte order mark says so, without the mark.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Windows PowerShell's `>`
        return content.decode("utf-16")
    return content.decode("utf-8").removeprefix(MARK)


def toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises OSError, and ValueError for all that is no TOML, is too large or too deep."""
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    try:
        return tomllib.loads(decoded(content))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
