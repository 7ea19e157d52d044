"""The Surrogate-Control that a gate adds to answers that the edge may keep.

`vcl_fetch` does not run when an origin answers 304. A page that is renewed so would lose the stale-if-error that the
policy gave it in `vcl_fetch`. It keeps it if the answer itself states it, 200 and 304 alike (Fastly:
guides/concepts/cache/cache-freshness; reference/http/http-headers/Surrogate-Control).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.cluster.local.http1 import Headers

_REFUSAL = re.compile(rb"\b(?:private|no-store|no-cache|stale-if-error)\b", re.IGNORECASE)


def lasting(status: int, headers: Headers, ceiling: int) -> bytes | None:
    """The Surrogate-Control of this answer, with stale-if-error=`ceiling`; None to leave the answer as it is.

    It is left as it is where the application forbids to keep it, states its own stale-if-error, or states no lifetime.
    """
    if not ceiling or status not in (200, 304):
        return None
    said: dict[bytes, bytes] = {}
    for name, _, value in headers:
        said[name] = said[name] + b", " + value if name in said else value
    surrogate, cache = said.get(b"surrogate-control", b""), said.get(b"cache-control", b"")
    if b"set-cookie" in said or _REFUSAL.search(surrogate) or _REFUSAL.search(cache):
        return None
    if _seconds(b"max-age", surrogate) is not None:
        return surrogate + b", stale-if-error=%d" % ceiling
    lifetime = _seconds(b"s-maxage", cache)
    if lifetime is None:
        lifetime = _seconds(b"max-age", cache)
    return None if lifetime is None else b"max-age=%d, stale-if-error=%d" % (lifetime, ceiling)


def _seconds(directive: bytes, said: bytes) -> int | None:
    found = re.search(rb"(?:^|[\s,])" + directive + rb"\s*=\s*\"?([0-9]{1,10})", said, re.IGNORECASE)
    return int(found[1]) if found else None
