"""Conditional requests: the edge confirms a stale object at the origin, and spares visitors a body that they have.

RFC 9110, 13. A 304 Not Modified is the answer to both.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.standin.cache import Stored
    from edgeguard.standin.wire import Pairs, Received

CONDITIONS = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range")
"""The edge itself judges a visitor's conditions when the answer may be stored, so the origin does not get them."""


def validators(stored: Stored | None) -> Pairs:
    """The headers with which the origin can confirm an object by a 304; [] where it has no validator."""
    if stored is None:
        return []
    etag, modified = stored.header("etag"), stored.header("last-modified")
    return [
        *([("If-None-Match", etag)] if etag else []),
        *([("If-Modified-Since", modified)] if modified else []),
    ]


def not_modified(received: Received, headers: Pairs) -> bool:
    """Whether the visitor already has the answer with these headers (RFC 9110, 13.2.2)."""
    if received.method not in {"GET", "HEAD"}:
        return False
    ours = {key.lower(): value for key, value in headers}
    theirs = received.header("if-none-match")
    if theirs is not None:
        etag = ours.get("etag", "").removeprefix("W/")
        return bool(etag) and (theirs == "*" or etag in {tag.strip().removeprefix("W/") for tag in theirs.split(",")})
    since, modified = received.header("if-modified-since"), ours.get("last-modified")
    try:
        return bool(since and modified) and parsedate_to_datetime(modified or "") <= parsedate_to_datetime(since or "")
    except (ValueError, TypeError):
        return False
