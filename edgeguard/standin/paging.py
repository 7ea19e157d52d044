"""Lists in pages, with a header that names the next page and the last one, as recorded from the real API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from edgeguard.standin.problems import Problem
from edgeguard.standin.routing import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE, LARGEST_PAGE = 100, 1000
"""The number of rows in a page where the call names none, and the most that it may name."""


def paged(call: Call, rows: Sequence[object]) -> Reply:
    """The page of a list that this call asks for. Raises Problem (400) for a page that is no number."""
    page, size = _number(call, "page", 1), min(_number(call, "per_page", PAGE), LARGEST_PAGE)
    last = max(1, -(-len(rows) // size))
    relations = {"last": last, "next": page + 1, "prev": page - 1}
    if page >= last:
        del relations["last"], relations["next"]
    if page == 1:
        del relations["prev"]
    address = f"http://{call.received.header('host')}{call.path}"
    links = [
        f'<{address}?{urlencode({**call.query, "page": number, "per_page": size})}>; rel="{relation}"'
        for relation, number in relations.items()
    ]
    headers = [("Content-Type", "application/json"), *([("Link", ", ".join(links))] if links else [])]
    return Reply(rows[(page - 1) * size : page * size], headers=headers)


def _number(call: Call, name: str, otherwise: int) -> int:
    text = call.query.get(name, str(otherwise))
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
        raise Problem(400, "Bad request", f"'{text}' is not a page")
    return int(text)
