"""Text as programs encode values in it, read back: escapes and quotes, hex, and base64, one layer after the other.

Shells, Python, C, JSON, URLs and HTML write a character in many ways, and mix them. So nothing enumerates the ways in
which a value may be written: what was written is decoded, and the value is looked for in that. Each reading knows from
which place of the text each of its bytes comes.
"""

from __future__ import annotations

import re
from array import array
from binascii import a2b_base64
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LAYERS = 4
"""The most escapes within escapes that are read: JSON in JSON in a shell's quotes, and one more."""

# Shells write a quote within quotes as '\'' or '"'"', SQL and CSV double it, and Python, C, JSON and $'…' have
# backslashes. A URL has %XX, and HTML has &…;.
_ESCAPE = re.compile(
    rb"""'\\''|'"'"'|''|""|"""
    rb"""\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}"""
    rb"""|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)"""
    rb"""|%[0-9a-fA-F]{2}|&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});""",
    re.DOTALL,
)
_LETTERS = dict(zip(b"abefnrtv", b"\a\b\x1b\f\n\r\t\v", strict=True))
"""The control characters that a backslash and a letter mean."""

_BASE64 = rb"[A-Za-z0-9+/_-]"
_WORD = re.compile(rb"(?<!%b)(?:%b{16,}+={0,2}\r?\n[ \t|]*+)*%b{8,}+={0,2}" % (_BASE64, _BASE64, _BASE64))
"""Base64, perhaps wrapped: lines of 16 characters and more, and the last one."""
_HEX = re.compile(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{2}(?:[ \t:-]?(?:\r?\n[ \t|]*)?[0-9a-fA-F]{2}){5,}+[0-9a-fA-F]?")
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SEPARATOR = re.compile(rb"[\s:|-]+")
_APART = b"\0\0"
"""Stands between words that were decoded. No variable can have a NUL in it."""


class Reading(NamedTuple):
    """What a text, or a word of it, says. `span` is the part of the text that some of its bytes come from."""

    content: bytes
    span: Callable[[int, int], tuple[int, int]]


def unescaped(content: bytes) -> Iterator[Reading]:
    """The text itself, and what is left of it when one layer of escapes after the other is taken away."""
    places: Sequence[int] = range(len(content) + 1)  # for each byte, where in the text it begins
    yield Reading(content, partial(_between, places))
    for _ in range(_LAYERS):
        further = _layer(content, places)
        if further is None:
            return
        content, places = further
        yield Reading(content, partial(_between, places))


def plain(content: bytes) -> bytes:
    """The text without any escape in it, as `unescaped` reads it last."""
    *_, last = unescaped(content)
    return last.content


def decoded(content: bytes, known: set[bytes]) -> Iterator[Reading]:
    """What the words of hex and base64 in a text may mean, together, but for those that are `known`; these are added.

    A word may be glued to the end of another: then it begins one, two or three characters later.
    """
    pieces: list[bytes] = []
    spans: list[Callable[[int, int], tuple[int, int]]] = []
    for found in _HEX.finditer(content):
        for start in range(0 if found[0] in known else 2):
            digits = _SEPARATOR.sub(b"", found[0])[start:]
            pieces.append(bytes.fromhex(digits[: len(digits) // 2 * 2].decode()))
            spans.append(partial(_in_hex, found, start))
        known.add(found[0])
    for found in _WORD.finditer(content):
        if (word := found[0]) not in known:
            known.add(word)
            digits = (word if b"\n" not in word else b"".join(word.replace(b"|", b"").split())).translate(
                _STANDARD, b"="
            )
            for start in range(4):
                end = len(digits) - ((len(digits) - start) % 4 == 1)  # one digit alone means nothing
                pieces.append(a2b_base64(digits[start:end] + b"=="))
                spans.append(partial(_in_lines, found, start))
    if pieces:
        yield Reading(_APART.join(pieces), partial(_in_pieces, pieces, spans))


def _in_pieces(
    pieces: Sequence[bytes], spans: Sequence[Callable[[int, int], tuple[int, int]]], begin: int, end: int
) -> tuple[int, int]:
    for piece, span in zip(pieces, spans, strict=True):
        if begin < len(piece):
            return span(begin, min(end, len(piece)))
        begin, end = max(begin - len(piece) - len(_APART), 0), end - len(piece) - len(_APART)
    raise AssertionError("beyond the last piece")


def _in_hex(found: re.Match[bytes], start: int, begin: int, end: int) -> tuple[int, int]:
    """The digits that these bytes come from."""
    places = [digit.start() for digit in re.finditer(rb"[0-9a-fA-F]", found[0])]
    return found.start() + places[start + 2 * begin], found.start() + places[start + 2 * end - 1] + 1


def _in_lines(found: re.Match[bytes], start: int, begin: int, end: int) -> tuple[int, int]:
    """The whole lines of base64 that these bytes come from: digits share their bits, and the rest says no more."""
    first, last = start + begin * 4 // 3, start + (end * 4 - 1) // 3
    spans, count = [], 0
    for line in re.finditer(rb"[^\s|]+", found[0]):
        before, count = count, count + len(line[0].rstrip(b"="))
        if before <= last and count > first:
            spans.append((found.start() + line.start(), found.start() + line.end()))
    return spans[0][0], spans[-1][1]


def _between(places: Sequence[int], begin: int, end: int) -> tuple[int, int]:
    return places[begin], max(places[end], places[begin] + 1)


def _layer(content: bytes, places: Sequence[int]) -> tuple[bytes, Sequence[int]] | None:
    """The text without its outermost escapes, and its places; None where it has none."""
    left, kept, last = bytearray(), array("Q"), 0
    for found in _ESCAPE.finditer(content):
        meant = _meant(found[0])
        left += content[last : found.start()] + meant
        kept.extend(places[last : found.start()])
        kept.extend([places[found.start()]] * len(meant))
        last = found.end()
    if not last:
        return None
    left += content[last:]
    kept.extend(places[last:])
    return bytes(left), kept


def _meant(escape: bytes) -> bytes:
    """The bytes that an escape stands for."""
    kind, rest = escape[:1], escape[1:]
    if kind == b"%":
        return bytes.fromhex(rest.decode())
    if kind == b"&":
        import html  # noqa: PLC0415 (its table of names takes a while)

        return html.unescape(escape.decode()).encode("utf-8", "surrogatepass")
    if kind == b"\\":
        return _after_backslash(rest)
    return kind if escape in (b"''", b'""') else b"'"


def _after_backslash(said: bytes) -> bytes:
    """The bytes that a backslash and these characters stand for."""
    kind, digits = said[:1], said[1:].strip(b"{}").replace(b"\\u", b"")
    if kind.lower() == b"u" and digits:
        units = digits if len(digits) == len("d83dde00") and kind == b"u" else b"%08x" % min(int(digits, 16), 0x10FFFF)
        return bytes.fromhex(units.decode()).decode("utf-16-be" if units is digits else "utf-32-be", "replace").encode()
    if kind == b"x" and digits:
        return bytes.fromhex(digits.decode())
    if said.isdigit() and kind < b"8":
        return bytes([int(said, 8) & 0xFF])
    return bytes([_LETTERS[said[0]]]) if said[0] in _LETTERS else said
