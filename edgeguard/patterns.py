"""Patterns of paths in the rules of an environment's file.

`*` matches any part of one name, `?` one character of it, and `**` anything across folders (`**/` also no folder).
`{word}` matches a part of one name, and a template may use it by this word. A pattern has to match a whole path from
the root of the tree; a pattern that ends in / matches everything below that folder.
"""

from __future__ import annotations

import re

_WORDS = r"\{([a-z][a-z0-9_]*)\}"
_PARTS = re.compile(rf"\*\*/|\*\*|\*|\?|{_WORDS}|[^*?{{}}]+|[{{}}]")
_MEANING = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression, to be matched against a whole path.

    Raises:
        ValueError: it is not a pattern, or it names a word twice.
    """
    if not pattern or pattern.startswith("/") or "\n" in pattern:
        raise ValueError(f"{pattern!r} is not a pattern: paths begin at the root of the tree, without /")
    expression = ""
    for part in _PARTS.finditer(pattern + "**" if pattern.endswith("/") else pattern):
        if part[0] in "{}":
            raise ValueError(f"{pattern!r} is not a pattern: a word in braces is lower-case letters, digits and _")
        expression += _MEANING.get(part[0]) or (f"(?P<{part[1]}>[^/]+)" if part[1] else re.escape(part[0]))
    try:
        return re.compile(expression, re.DOTALL)
    except re.error as exc:
        raise ValueError(f"{pattern!r} names a word twice") from exc


def words(template: str) -> set[str]:
    """The words in a template."""
    return set(re.findall(_WORDS, template))


def filled(template: str, found: re.Match[str]) -> str:
    """The template with each word replaced by what the match has for it."""
    return re.sub(_WORDS, lambda word: found[word[1]], template)
