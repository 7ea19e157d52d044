"""Removes secrets from everything that is written out (docs/decisions/redaction.md says why here).

Code that reads a secret tells `redacted.learn` of it. Code that writes for others (the journal, the record's history,
the terminal) passes the text through `redacted`. A process has one `redacted`, since an error may come from anywhere.
"""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HIDDEN = "•••"
SHORTEST = 6
"""Characters. Shorter values don't count as secrets: hiding them would make any text unreadable."""

_OURS = ("event", "step", "phase", "command", "deploy", "environment", "outcome")
"""Keys whose values are this program's own words. They are never hidden: the journal is read by them."""

_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")

_Content = TypeVar("_Content")


class Redaction:
    """All secrets of a process, in every form in which programs print them. Threads may share it."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._clear: set[str] = {"edgeguard"}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, secrets: Iterable[str], *, clear: Iterable[str] = ()) -> None:
        """Hide these values from now on: each value whole, each of its lines, and the password of a URL.

        A value that is also a word of the `clear` texts, such as an environment's name, is not hidden: no message
        would be readable without it.
        """
        self._secrets |= {form for secret in secrets for form in _forms(secret)}
        self._clear |= set(clear)
        said = "\n".join(self._clear)
        hidden = [form for form in self._secrets if len(form) >= SHORTEST and not _word_of(said, form)]
        every = sorted({again for form in hidden for again in _escaped(form)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, every))) if every else None

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

    def _text(self, text: str) -> str:
        if self._pattern is None:
            return text
        text = self._pattern.sub(HIDDEN, text)
        return _ENCODED.sub(lambda found: HIDDEN if self._in_base64(found[0]) else found[0], text)

    def _in_base64(self, word: str) -> bool:
        """Whether a secret is in what this word encodes, at whatever offset (PLATFORM_RELATIONSHIPS is encoded so)."""
        plain = word.rstrip("=").replace("-", "+").replace("_", "/")
        for start in range(4):
            part = plain[start:]
            whole = part[: len(part) - (len(part) % 4 == 1)]
            decoded = base64.b64decode(whole + "=" * (-len(whole) % 4)).decode(errors="replace")
            if self._pattern is not None and self._pattern.search(decoded):
                return True
        return False


def _forms(secret: str) -> Iterator[str]:
    yield secret.strip()
    yield from (line.strip() for line in secret.splitlines())
    with suppress(ValueError):  # it looks like a URL, but is not one
        password = urlsplit(secret.strip()).password or ""
        yield from (password, unquote(password))


def _escaped(form: str) -> Iterator[str]:
    """A secret as it is, as JSON writes it, and as a part of a URL."""
    yield form
    yield json.dumps(form)[1:-1]
    yield json.dumps(form, ensure_ascii=False)[1:-1]
    yield quote(form, safe="")


def _word_of(text: str, word: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None


redacted = Redaction()
"""The redaction of this process."""
