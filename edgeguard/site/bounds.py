"""The bounds of an answer, whoever asks for it. Others write answers, and an answer may be endless or a gzip bomb.

The bound of its time is in machine.in_time.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BYTES = 32 * 2**20
"""The most bytes of a body, packed or unpacked."""
HEADERS = 100
"""The most headers of an answer. Fastly itself takes 96 (docs: limits of requests and responses)."""
_FOLD = re.compile(r"[ \t]*[\r\n]+[ \t]*")
"""A value that goes on in the next line means the same with a space (RFC 9112, 5.2)."""
_GZIP = 31
"""zlib's wbits for a stream with gzip's header and the largest window."""


class TooMuch(Exception):
    """An answer goes beyond a bound. The message goes on after the answer's URL."""


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The headers, with names in lower case. Several of one name become one list (RFC 9110, 5.2). Raises TooMuch."""
    found: dict[str, str] = {}
    for number, (name, value) in enumerate(headers, start=1):
        if number > HEADERS:
            raise TooMuch(f"answers with more than {HEADERS} headers")
        key = name.lower()
        line = _FOLD.sub(" ", value)
        found[key] = f"{found[key]}, {line}" if key in found else line
    return found


def body(chunks: Iterable[bytes], headers: Mapping[str, str], at_most: int) -> bytes:
    """The whole body of `chunks`, unpacked if it is packed with gzip. The rest of one that is too long is not read.

    Raises:
        TooMuch: it has more than `at_most` bytes.
        ValueError: it is not packed as its headers say.
    """
    packed = headers.get("content-encoding", "").strip().lower() == "gzip"
    unpacker = zlib.decompressobj(_GZIP) if packed else None
    read = 0
    content = bytearray()
    for chunk in chunks:
        read += len(chunk)
        try:
            content += chunk if unpacker is None else unpacker.decompress(chunk, at_most + 1 - len(content))
        except zlib.error as exc:
            raise ValueError(f"its content can't be unpacked ({exc})") from exc
        if len(content) > at_most or read > at_most:
            raise TooMuch(f"answers with more than {at_most} bytes")
    return bytes(content)
