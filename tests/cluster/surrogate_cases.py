"""What every gate of ours makes of an application's headers, where the ceiling is a week."""

from __future__ import annotations

CEILING = 604_800
LASTING: list[tuple[dict[str, str], str | None]] = [
    ({"cache-control": "max-age=1"}, "max-age=1, stale-if-error=604800"),
    ({"cache-control": "public, max-age=60, s-maxage=5"}, "max-age=5, stale-if-error=604800"),
    ({"cache-control": "max-age=60", "surrogate-control": "max-age=9"}, "max-age=9, stale-if-error=604800"),
    ({"cache-control": 'Max-Age="7"'}, "max-age=7, stale-if-error=604800"),
    ({"cache-control": "public,max-age = 08"}, "max-age=8, stale-if-error=604800"),
    ({"cache-control": "max-age=0"}, "max-age=0, stale-if-error=604800"),
    ({"surrogate-control": 'content="ESI/1.0", max-age=9'}, 'content="ESI/1.0", max-age=9, stale-if-error=604800'),
    ({"cache-control": "max-age=1", "surrogate-control": "content=ESI"}, "max-age=1, stale-if-error=604800"),
    ({}, None),
    ({"cache-control": "public"}, None),
    ({"cache-control": "private, max-age=60"}, None),
    ({"cache-control": "no-store"}, None),
    ({"cache-control": "no-cache, max-age=60"}, None),
    ({"cache-control": "max-age=60, stale-if-error=30"}, None),
    ({"cache-control": "max-age=60", "surrogate-control": "no-store"}, None),
    ({"cache-control": "max-age=60", "set-cookie": "a=b"}, None),
    ({"cache-control": "x-max-age=60"}, None),
    ({"cache-control": "max-age=soon"}, None),
]
"""The headers, and the Surrogate-Control that the edge gets; None: what the application said."""
OTHERS = [404, 500, 302]
"""Statuses whose headers are left alone."""
