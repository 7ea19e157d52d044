"""VCL text to tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.standin.vcl.syntax import Place

_TOKEN = re.compile(
    r"""
      (?P<space>   \s+ )
    | (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<long>    \{(?P<mark>[A-Za-z0-9_]*)"(?P<inner>.*?)"(?P=mark)\} )
    | (?P<string>  "[^"\n]*" )
    | (?P<rtime>   [0-9]+(?:\.[0-9]+)?(?:ms|[smhdwy])(?![A-Za-z0-9_]) )
    | (?P<float>   [0-9]+\.[0-9]+ )
    | (?P<integer> [0-9]+(?![A-Za-z_]) )
    | (?P<name>    [A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)* )
    | (?P<symbol>  <<= | >>= | && | \|\| | == | != | <= | >= | !~ | [-+*/%|&^]= | [{}();,!~<>=+:-] )
    """,
    re.VERBOSE | re.DOTALL,
)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNENDED = {
    '"': 'a short string "…" ends on its line; a long one is {"…"}',
    "/": "a comment /* … */ is not ended",
}
"""The explanation of text that is no token, by its first character."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is string, rtime, float, integer, name, symbol or end; `text` of a string is its content."""

    kind: str
    text: str
    at: Place


def tokens(text: str, places: Sequence[Place]) -> Iterator[Token]:
    """The tokens of a text whose line n (from 0) is at places[n], and an end token last.

    Raises:
        VclError: some text is not a token.
    """
    position = line = 0
    while position < len(text):
        at = places[line]
        found = _TOKEN.match(text, position)
        if found is None:
            raise at.error(_UNENDED.get(text[position], f"nothing in VCL begins with {text[position]!r}"))
        kind, content = found.lastgroup or "", found[0]
        if kind == "long":
            yield Token("string", found["inner"], at)
        elif kind == "string":
            yield Token("string", _unescaped(content[1:-1], at), at)
        elif kind not in {"space", "comment"}:
            yield Token(kind, content, at)
        line += content.count("\n")
        position = found.end()
    yield Token("end", "", places[-1])


def continued(text: str) -> frozenset[int]:
    """The lines (from 0) that begin inside a comment or a long string: nothing stands for itself there."""
    found: set[int] = set()
    for token in _TOKEN.finditer(text):
        if token["comment"] or token["long"]:
            first = text.count("\n", 0, token.start())
            found.update(range(first + 1, first + token[0].count("\n") + 1))
    return frozenset(found)


def _unescaped(content: str, at: Place) -> str:
    """A short string's content. It may have %XX, and has no backslash escapes (Fastly: reference/vcl/types/string)."""

    def character(found: re.Match[str]) -> str:
        if found[1] is None or found[1] == "00":
            raise at.error('"%" in a short string begins %XX; write %25, or use a long string {"…"}')
        return chr(int(found[1], 16))

    return _PERCENT.sub(character, content)
