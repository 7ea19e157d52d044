r"""PCRE patterns as Python's. Where the two languages differ, a pattern is translated or refused.

`\z` and `\Z` are translated, and classes are ASCII's. What only PCRE has is refused: `\h`, `\K`, `\R`, `\Q`, recursion,
POSIX classes, options in the middle.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

_END = re.compile(r"(\\\\)|\\([zZ])")
_REPLACEMENT = re.compile(r"\\(?:([0-9])|\{([0-9]{1,2})\})")


@lru_cache(maxsize=1024)
def translate(pattern: str) -> re.Pattern[str]:
    """The compiled pattern.

    Raises:
        ValueError: the pattern is not valid, or means something else in PCRE. The text says why.
    """

    def end(found: re.Match[str]) -> str:
        return found[1] or {"z": r"\Z", "Z": r"(?=\n?\Z)"}[found[2]]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": [[:alpha:]] and the like
            return re.compile(_END.sub(end, pattern), re.ASCII)
    except (re.error, Warning, OverflowError) as exc:
        raise ValueError(f"{pattern!r} is no pattern that this stand-in knows: {exc}") from exc


def substitute(text: str, pattern: str, replacement: str, *, count: int) -> str:
    r"""Replace as regsub (count 1) and regsuball (0): `\1` and `\{1}` in the replacement stand for groups."""

    def one(found: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            number = int(reference[1] or reference[2])
            return (found[number] or "") if number <= found.re.groups else ""

        return _REPLACEMENT.sub(group, replacement)

    return translate(pattern).sub(one, text, count=count)
