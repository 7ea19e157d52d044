"""Removes secrets from everything that is written out (docs/decisions/redaction.md says why here).

Code that reads a secret tells `redacted.learn` of it. Code that writes for others (the journal, the record's history,
the terminal) passes the text through `redacted`. A process has one `redacted`, since an error may come from anywhere.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit

from edgeguard.machine.encoded import decoded, plain, unescaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HIDDEN = "•••"
SHORTEST = 6
"""Characters. Shorter values don't count as secrets: hiding them would make any text unreadable."""

_OURS = ("event", "step", "phase", "command", "deploy", "environment", "outcome")
"""Keys whose values are this program's own words. They are never hidden: the journal is read by them."""
_DEPTH = 2
"""The most hex or base64 within hex or base64 that is read."""
_WIDEST = 12
"""The most characters with which a byte of a secret is usually written: &#x0000e4; is one."""
_PIECE = 65_530
"""The bytes from which on a line may be a piece of a longer one: what reads a program's output takes 64 KiB at once."""
_WRAPPED = re.compile(r"[ \t|]*[A-Za-z0-9+/_-]{16,}\s*")
"""A line that may be one of several lines of base64 or hex."""
_SECRET_NAME = re.compile(r"token|key|secret|pass|pwd|auth|sig|cred", re.IGNORECASE)
"""The names of a URL's parameters that may be secrets. Others, such as sslmode=require, are words of their own."""

_Content = TypeVar("_Content")


class Redaction:
    """All secrets of a process, in every form in which programs print them. Threads may share it."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._clear: set[str] = {"edgeguard"}
        self._search = _Search(())

    def learn(self, secrets: Iterable[str], *, clear: Iterable[str] = ()) -> None:
        """Hide these values from now on: each value whole, each of its lines, and the secrets of a URL.

        A value that is also a word of the `clear` texts, such as an environment's name, is not hidden: no message
        would be readable without it.
        """
        forms, words = {form for secret in secrets for form in _forms(secret)}, set(clear)
        if forms <= self._secrets and words <= self._clear:
            return
        self._secrets |= forms
        self._clear |= words
        said = "\n".join(self._clear)
        self._search = _Search(form for form in self._secrets if len(form) >= SHORTEST and not _word_of(said, form))

    def __call__(self, content: _Content) -> _Content:
        """The same content without secrets in its strings. Keys and the values of this program's own keys stay."""
        hidden: object = content
        if isinstance(content, str):
            hidden = self._text(content)
        elif isinstance(content, dict):
            hidden = {key: value if key in _OURS else self(value) for key, value in content.items()}
        elif isinstance(content, list | tuple):
            hidden = type(content)(self(value) for value in content)
        return hidden  # type: ignore[return-value]

    @contextmanager
    def lines(self, tell: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
        """Takes the lines of a stream, and tells them without secrets. At the block's end all of them are told.

        A line is told when it comes, unless a secret may go on after it: wrapped base64, and pieces of a line that is
        too long to come whole, are held back as far as the longest secret may reach.
        """
        held = _Held()
        try:
            yield lambda line: self._pass_on(held, line, tell)
        finally:
            self._pass_on(held, None, tell)

    def _pass_on(self, held: _Held, line: str | None, tell: Callable[[str], None]) -> None:
        goes_on = line is not None and held.take(line)
        reach = self._search.longest * _WIDEST
        if not held.text or (goes_on and len(held.text) < 2 * reach):  # not at every line: each look takes time
            return
        at = len(held.text) - reach if goes_on else len(held.text)
        content = held.text.encode("utf-8", "surrogatepass")
        place = len(held.text[:at].encode("utf-8", "surrogatepass"))
        for begin, end in self._found(content):
            place = min(begin, place) if begin < place < end else place
        if goes_on and b"\n" in content[:place]:
            place = content.rindex(b"\n", 0, place) + 1
        told = content[:place].decode("utf-8", "surrogatepass")
        held.text = content[place:].decode("utf-8", "surrogatepass")
        for whole in self._text(told.removesuffix("\n")).split("\n") if told else ():
            tell(whole)

    def _found(self, content: bytes) -> list[tuple[int, int]]:
        return _apart(self._spans(content, _DEPTH)) if self._search else []

    def _text(self, text: str) -> str:
        content = text.encode("utf-8", "surrogatepass")
        spans = self._found(content)
        if not spans:
            return text
        edges = [0, *(_character(content, edge) for span in spans for edge in span), len(content)]
        kept = zip(edges[::2], edges[1::2], strict=True)
        return HIDDEN.join(content[begin:end].decode("utf-8", "surrogatepass") for begin, end in kept)

    def _spans(self, content: bytes, depth: int) -> Iterator[tuple[int, int]]:
        """The parts of a text that say a secret, in whatever form."""
        known: set[bytes] = set()
        for reading in unescaped(content):
            for begin, end in self._search.spans(reading.content):
                yield reading.span(begin, end)
            for inner in decoded(reading.content, known) if depth else ():
                for begin, end in self._spans(inner.content, depth - 1):
                    yield reading.span(*inner.span(begin, end))


class _Held:
    """What a stream has said and nobody was told yet."""

    def __init__(self) -> None:
        self.text = ""

    def take(self, line: str) -> bool:
        """Add a line. Whether a secret may go on after it."""
        piece = len(line.encode("utf-8", "surrogatepass")) >= _PIECE
        self.text += line if piece else f"{line}\n"
        return piece or _WRAPPED.fullmatch(line) is not None


class _Search:
    """Finds many values in a text in one pass: first what values begin with, then the longest of these values."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values: dict[bytes, list[bytes]] = defaultdict(list)
        for form in sorted({form for value in values for form in _in_bytes(value)}, key=len, reverse=True):
            self._values[form[:SHORTEST]].append(form)
        self._beginning = re.compile(_tree(self._values))
        self.longest = max((len(form) for forms in self._values.values() for form in forms), default=0)
        """Bytes."""

    def __bool__(self) -> bool:
        return bool(self._values)

    def spans(self, content: bytes) -> Iterator[tuple[int, int]]:
        """The places of all values, those that overlap too."""
        at = 0
        while self._values and (found := self._beginning.search(content, at)):
            at = found.start() + 1
            for value in self._values[found[0]]:
                if content.startswith(value, found.start()):
                    yield found.start(), found.start() + len(value)
                    break


def _tree(words: Iterable[bytes]) -> bytes:
    """A pattern for any of these words, which takes the same time however many they are."""
    branches: dict[int, list[bytes]] = defaultdict(list)
    for word in words:
        if word:
            branches[word[0]].append(word[1:])
    inner = [re.escape(bytes([first])) + _tree(rest) for first, rest in sorted(branches.items())]
    return b"(?:" + b"|".join(inner) + b")" if inner else b""


def _character(content: bytes, place: int) -> int:
    """The first place from here on at which a character begins, in UTF-8."""
    while place < len(content) and content[place] & 0xC0 == 0x80:  # noqa: PLR2004 (a byte that goes on)
        place += 1
    return place


def _apart(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in their order, those that overlap joined to one."""
    apart: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if apart and begin < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((begin, end))
    return apart


def _in_bytes(value: str) -> Iterator[bytes]:
    """A value as texts have it once they are decoded: as it is, without what looks like escapes in it, with + for its
    spaces, and in Latin-1 (in Python's ASCII, a character above 127 may be written as one byte)."""
    raw = value.encode("utf-8", "surrogatepass")
    for form in {raw, plain(raw)}:
        said = form.decode("utf-8", "replace")
        if len(said) >= SHORTEST:
            yield from (form, form.replace(b" ", b"+"))
            yield b"".join(char.encode("latin-1" if char <= "\xff" else "utf-8", "surrogatepass") for char in said)


def _forms(secret: str) -> Iterator[str]:
    """The value, its lines, and what is secret in a URL: user and password, a user alone, and parameters."""
    yield secret.strip()
    yield from (line.strip() for line in secret.splitlines())
    with suppress(ValueError):  # it looks like a URL, but is not one
        parts = urlsplit(secret.strip())
        userinfo = parts.netloc.rpartition("@")[0]
        user, colon, password = userinfo.partition(":")
        alone = user if parts.scheme in ("http", "https") and not password else ""  # a token; `git` is none
        values = [value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)]
        written = [value for value in re.split("[&=]", parts.query) if unquote_plus(value) in values]
        for part in (userinfo if colon else "", password, alone, *values, *written):
            yield from (part, unquote(part))


def _word_of(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None


redacted = Redaction()
"""The redaction of this process."""
