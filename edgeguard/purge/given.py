"""A purge as a command line gives it. All of it is checked before anything is purged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeguard import texts
from edgeguard.edge.purging import address, check_keys
from edgeguard.errors import UsageError
from edgeguard.purge import Purge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.settings import EdgeSettings


def wanted(*, keys: Sequence[str], urls: Sequence[str], file: str | None, every: bool, hard: bool) -> Purge:
    """The purge that these options mean. `every` purges every page: softly by its group, `hard` all at once.

    Raises:
        UsageError: nothing is named, something can't be purged, or the file can't be used.
    """
    if every and (keys or urls or file):
        raise UsageError("--all leaves nothing to name", "Take it, or --key, --url and --file, but not both.")
    listed = list(keys) + (_lines(file) if file is not None else [])
    if not every and not listed and not urls:
        raise UsageError("nothing is named that could be purged", "Name it with --key, --url, --file or --all.")
    check_keys(listed)
    for url in urls:
        address(url)
    once = tuple(dict.fromkeys(listed))
    return Purge(
        keys=once, urls=tuple(dict.fromkeys(urls)), groups=every and not hard, everything=every and hard, soft=not hard
    )


def of_other_hosts(urls: Sequence[str], settings: EdgeSettings) -> list[str]:
    """The URLs of other hosts than `edge.url`'s. They may be right: a service can have many domains."""
    own = urlsplit(settings.url).netloc
    return [url for url in urls if address(url).partition("/")[0] != own]


def _lines(file: str) -> list[str]:
    """The keys of a file, one on each line; "-" is standard input."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise UsageError(
            f"{name} can't be read: {exc.strerror or exc}", "Name a file with a key on each line."
        ) from exc
    try:
        text = texts.decoded(content)
    except UnicodeDecodeError:
        text = "\0"
    if not text.isascii() or "\0" in text:
        raise UsageError(f"{name} is not a list of keys: it has more than ASCII in it", "Put one key on each line.")
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), 1)}
    for number, line in lines.items():
        try:
            check_keys([line] if line else [])
        except UsageError as exc:
            raise UsageError(f"{name}, line {number}: {exc.message}", exc.remedy) from exc
    found = [line for line in lines.values() if line]
    if not found:
        raise UsageError(f"{name} names no key", "Put one key on each line.")
    return found
