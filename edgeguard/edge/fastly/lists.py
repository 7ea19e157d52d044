"""Lists of Fastly's API, read to their end.

The API gives a list in pages, of 100 rows where nothing else is asked for, and names the next page in a `Link` header:
`<https://api.fastly.com/…?page=2&per_page=100>; rel="next"` (github.com/fastly/go-fastly, fastly/fixtures/services/
list_paginator.yaml). Only the numbers in that address count: the place that is asked stays the same.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from edgeguard.errors import EdgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE = 100
"""The number of rows that a page of items is asked for, as Fastly's own Go client does."""
PAGES = 300
"""The most pages of a list. The largest dictionary of all has 25,000 items (go-fastly: MaximumDictionarySize)."""
BYTES = 64 * 2**20
"""The most bytes of a list, unpacked, in all its pages."""
LONGEST = 180.0
"""Seconds after which no further page is asked for."""
_LINK = re.compile(r'<([^<>]*)>\s*;\s*rel\s*=\s*"?(\w+)"?', re.IGNORECASE)
_NAMES = ("item_key", "number", "id", "name")
"""The keys of rows that tell one row of a list from another."""


class Page(NamedTuple):
    """An answer with a page of rows: its `Link` header ("" if there is none), and its size in bytes."""

    rows: list[dict[str, Any]]
    link: str
    size: int


def read(ask: Callable[[Mapping[str, str]], Page], doing: str, first: Mapping[str, str]) -> list[dict[str, Any]]:
    """All rows of a list, each once. `ask` gets the query of a page; that of the first page is `first`.

    Lists that Fastly does not page ignore the query, so a page without a row that is new ends the list, too.

    Raises:
        EdgeUnavailable: the list has no end within the bounds, or goes in circles. Errors of `ask` pass through.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    query, number, size, ends = first, 1, 0, time.monotonic() + LONGEST
    for _ in range(PAGES):
        page = ask(query)
        new = {tuple(str(row.get(name)) for name in _NAMES): row for row in page.rows}
        fresh = new.keys() - found.keys()
        found |= new
        size += page.size
        following = _next(page, number)
        if following is None or (not fresh and not page.link):
            return list(found.values())
        if not fresh or not number < int(following["page"]):
            raise _endless(doing, "it goes in circles")
        query, number = following, int(following["page"])
        if size > BYTES or time.monotonic() > ends:
            raise _endless(doing, f"after {number - 1} pages, {size} bytes")
    raise _endless(doing, f"after {PAGES} pages")


def _next(page: Page, number: int) -> dict[str, str] | None:
    """The query of the next page, after page `number`; None after the last one.

    A full page that names no page at all may have a next one.
    """
    links = {relation.lower(): address for address, relation in _LINK.findall(page.link)}
    if "next" in links:
        query = dict(parse_qsl(urlsplit(links["next"]).query))
        named = {name: query[name] for name in ("page", "per_page") if re.fullmatch("[0-9]{1,6}", query.get(name, ""))}
        return named if "page" in named else {"page": str(number + 1), "per_page": str(PAGE)}
    if links or not page.rows or len(page.rows) % PAGE:
        return None
    return {"page": str(number + 1), "per_page": str(PAGE)}


def _endless(doing: str, why: str) -> EdgeUnavailable:
    return EdgeUnavailable(
        f"could not {doing}: the list has no end ({why})",
        "Look at it in Fastly's control panel: it is larger than a service's list can be, or the API is at fault.",
    )
