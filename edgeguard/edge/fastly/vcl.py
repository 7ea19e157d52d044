"""Read VCL as statements, without understanding them. It takes any text: what it can't read is one more word. Pure.

Comments, strings and code can't be mistaken for each other here, as they can by a regular expression over the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MACRO = "#FASTLY"
"""The first word of the statement that stands for a macro. The second is the macro's name, in lower case."""

_TOKEN = re.compile(
    r"""
      (?P<macro>   \#[ \t]*FASTLY[ \t]+(?P<name>[A-Za-z]+)[ \t]*(?=\r?\n|\Z) )
    | (?P<comment> \#[^\n]* | //[^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<string>  \{(?P<mark>[A-Za-z0-9_]*)".*?"(?P=mark)\} | "[^"\n]*" )
    | (?P<word>    [A-Za-z0-9_][A-Za-z0-9_.:-]* | && | \|\| | [=!<>+*/%|&^-]=|<<=|>>=|!~ )
    | (?P<other>   \S )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Statement:
    """A statement: its words without the ";", and the statements between its braces (None where it has no braces).

    An `else` is a statement of its own, and so is a macro. Strings are words with their quotes. White space and
    comments are not in it, so two statements are equal if Fastly's compiler reads the same.
    """

    words: tuple[str, ...]
    block: tuple[Statement, ...] | None = None

    def __str__(self) -> str:
        """The words as one line of VCL."""
        line, before = "", "("
        for word in self.words:
            line += word if before == "(" or word in ("(", ")", ",") else f" {word}"
            before = word
        return line


def statements(text: str) -> tuple[Statement, ...]:
    """The statements of a text. Braces that don't match close at the text's end, or are left out."""
    reader = _Reader()
    for kind, word in _tokens(text):
        if kind == "macro":
            reader.add(Statement((MACRO, word)))
        elif word == "{":
            reader.open()
        elif word == "}":
            reader.close()
        elif word == ";":
            reader.end()
        else:
            reader.words.append(word)
    return reader.all()


class _Reader:
    """The words of the statement that is being read, and the blocks that are open around it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._blocks: list[list[Statement]] = [[]]
        self._heads: list[list[str]] = []

    def add(self, statement: Statement) -> None:
        self._blocks[-1].append(statement)

    def end(self) -> None:
        if self.words:
            self.add(Statement(tuple(self.words)))
        self.words = []

    def open(self) -> None:
        self._heads.append(self.words)
        self._blocks.append([])
        self.words = []

    def close(self) -> None:
        self.end()
        if self._heads:
            body = tuple(self._blocks.pop())
            self.add(Statement(tuple(self._heads.pop()), body))

    def all(self) -> tuple[Statement, ...]:
        while self._heads:
            self.close()
        self.end()
        return tuple(self._blocks[0])


def every(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """The statements and those in their blocks, in the order of the text."""
    ahead = list(reversed(body))
    while ahead:
        statement = ahead.pop()
        yield statement
        ahead.extend(reversed(statement.block or ()))


def subroutine(statement: Statement) -> str | None:
    """The name of the subroutine that a statement declares; None if it declares none."""
    if statement.block is None or "sub" not in statement.words[:-1]:
        return None
    return statement.words[statement.words.index("sub") + 1]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(text):
        kind = str(found.lastgroup)
        if found["macro"]:
            yield "macro", found["name"].lower()
        elif not found["comment"]:
            yield kind, found[0]
