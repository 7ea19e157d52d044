"""Text as editors and shells save it: many of them put a byte order mark in front, which no reader of ours wants."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

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
