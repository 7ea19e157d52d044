"""Read Fastly's headers on an answer: the facts about the edge's copy, and how long the answer may be kept. Pure.

For `Fastly-Debug: 1`, a node adds `Fastly-Debug-TTL` to its answer, and does not remove Surrogate-Control (Fastly:
reference/http/http-headers/Fastly-Debug-TTL, …/Surrogate-Control). Names of headers are in lower case.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from edgeguard.edge import Copy, Freshness, marks

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT = frozenset({200, 203, 300, 301, 302, 410})
"""The statuses that the policy keeps for long (policy/fetch_ceiling.vcl)."""
_NODE = re.compile(r"\(?\b([HM])\s+(\S+)\s+(-|-?[0-9.]+)\s+(-|-?[0-9.]+)\s+(-|-?[0-9.]+)\)?")
_PROMISE = re.compile(r"\bstale-if-error\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_LIFETIME = re.compile(r"\b(?:s-maxage|max-age)\s*=", re.IGNORECASE)


def asking(status_name: str) -> dict[str, str]:
    """The headers for a request for a page, with which the answer tells about the edge's copy."""
    return {"Fastly-Debug": "1", **marks.asking(status_name)}


def copy(headers: Mapping[str, str]) -> Copy:
    """Read the facts about the edge's copy in an answer.

    Behind a shield, Fastly-Debug-TTL has a group for each node, the one nearest to the visitor first.
    """
    word, _, at = headers.get("edgeguard-copy", "").partition(" ")
    existed = {"none": False, "stale": True}.get(word) if at.isdecimal() else None
    found = _NODE.search(headers.get("fastly-debug-ttl", ""))
    ttl, stale_if_error = (_seconds(text) for text in (found[3], found[4])) if found else (None, None)
    return Copy(
        hit=found[1] == "H" if found else _hit(headers),
        told=found is not None,
        node=found[2] if found else None,
        ttl=ttl,
        stale_if_error=stale_if_error,
        stale=marks.stale(headers),
        existed=existed,
        fetched_at=None if existed is None else int(at),
    )


def freshness(headers: Mapping[str, str]) -> Freshness:
    """Read an answer's freshness (Fastly: guides/concepts/cache/cache-freshness)."""
    evidence, lifetime = _lifetime(headers)
    both = [headers.get(name, "") for name in ("surrogate-control", "cache-control")]
    promises = (found for value in both if (found := _PROMISE.search(value)))
    promise = next(promises, None)
    return Freshness(
        refusal=_refusal(headers) or (("no-ttl", evidence) if lifetime == 0 else None),
        lifetime=lifetime,
        promised=int(promise[1]) if promise else None,
        stated="expires" in headers or any(_LIFETIME.search(value) for value in both),
        keyed="surrogate-key" in headers,
    )


def _refusal(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """The finding's name and the evidence if a cookie or a directive forbids to share the answer; else None."""
    if cookie := headers.get("set-cookie"):
        return "set-cookie", f"it sets the cookie {cookie.partition('=')[0].strip()}"
    for word in ("private", "no-store"):
        for name in ("Cache-Control", "Surrogate-Control"):
            value = headers.get(name.lower(), "")
            if re.search(rf"\b{word}\b", value, re.IGNORECASE):
                return word, f"{name}: {value}"
    return None


def _lifetime(headers: Mapping[str, str]) -> tuple[str, int | None]:
    """The header that decides on the TTL, and the TTL. Surrogate-Control counts before Cache-Control."""
    for name, directive in (
        ("Surrogate-Control", "max-age"),
        ("Cache-Control", "s-maxage"),
        ("Cache-Control", "max-age"),
    ):
        value = headers.get(name.lower(), "")
        if found := re.search(rf"(?<![\w-]){directive}\s*=\s*\"?([0-9]+)", value, re.IGNORECASE):
            return f"{name}: {value}", int(found[1])
    return "", None


def _hit(headers: Mapping[str, str]) -> bool:
    """Whether the answer is a copy, fresh or stale. X-Cache has a word for each node, the visitor's node last."""
    return headers.get("x-cache", "").rpartition(",")[2].strip().upper() == "HIT"


def _seconds(text: str) -> float | None:
    """A number of the debug header; None for "-" and for any text that is not a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
