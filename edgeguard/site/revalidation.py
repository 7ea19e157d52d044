"""Whether a page loses its long stale-if-error when the origin answers 304 Not Modified.

The policy does not run for a 304. The headers of that answer decide how long the page may be kept afterwards (Fastly:
reference/http/http-headers/Surrogate-Control). So the origin itself is asked, with the validators of the edge's answer.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeguard.errors import OriginsUnhealthy
from edgeguard.findings import Finding
from edgeguard.machine import network
from edgeguard.machine.signals import pause
from edgeguard.site.asking import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.edge import Freshness, VisibleEdge

_SENDABLE = re.compile(r"[\x20-\x7e\x80-\xff]*")
"""A header's value (RFC 9110, 5.5), without the control characters that it must not have."""
_LONGEST = 4096
"""The most characters of a validator. Many servers refuse a request with 8 KiB of headers."""


def revalidates(headers: Mapping[str, str]) -> bool:
    """Whether a page with these headers can be renewed by a 304."""
    return "etag" in headers or "last-modified" in headers


def examine(
    url: str,
    headers: Mapping[str, str],
    edge: VisibleEdge,
    origin: str | None,
    *,
    needed: float,
    timeout: float,
    sleep: Callable[[float], None] = pause,
) -> tuple[Finding, ...]:
    """Ask the origin whether the page is still the same, and judge its 304 as this edge reads it. Returns () where all
    is well.

    `headers` are those of the edge's answer. `origin` is the beginning of a URL such as http://10.0.0.1:8080 (None: not
    known). `needed` is the least stale-if-error, in seconds, that the page has to keep. Errors of `sleep` pass through.
    """
    if not revalidates(headers):
        return ()
    if origin is None:
        remedy = "Name the origin, as the edge asks it: doctor.origin."
        return (_unknown(url, "it has a validator, and no origin is configured that could be asked", remedy),)
    conditions = {"If-None-Match": headers.get("etag", ""), "If-Modified-Since": headers.get("last-modified", "")}
    if not all(_SENDABLE.fullmatch(value) and len(value) <= _LONGEST for value in conditions.values()):
        remedy = f"Let the origin send an ETag of at most {_LONGEST} characters, without control characters; or none."
        return (_unknown(url, "its validator can't be sent in a request", remedy),)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        password = network.authorization(origin) or network.authorization(url)  # as the edge asks it
        asked = {"Host": parts.netloc, **password, **{name: value for name, value in conditions.items() if value}}
        answer = ask(origin.rstrip("/") + target, headers=asked, timeout=timeout, sleep=sleep)
    except OriginsUnhealthy as exc:
        return (_unknown(url, exc.message, "Is doctor.origin right, and may this machine ask it?"),)
    if answer.status != HTTPStatus.NOT_MODIFIED:
        return ()
    said = edge.freshness(answer.headers)
    return (*_loses(url, said, needed), *_keys(url, said))


def _loses(url: str, said: Freshness, needed: float) -> tuple[Finding, ...]:
    """The finding that stale-if-error gets lost. A 304 that states no freshness renews all that was stored."""
    if not said.stated or (said.promised is not None and said.promised >= needed):
        return ()
    left = "no stale-if-error" if said.promised is None else f"stale-if-error={said.promised}"
    return (
        Finding(
            "revalidates",
            "critical",
            f"{url} is renewed by a 304 with {left}: the copy loses what the policy gave it",
            "Let the origin send `Surrogate-Control: max-age=…, stale-if-error=<ceiling>` with 200 and 304 alike; "
            "or no ETag and no Last-Modified.",
            url,
        ),
    )


def _keys(url: str, said: Freshness) -> tuple[Finding, ...]:
    if not said.keyed:
        return ()
    return (
        Finding(
            "revalidates-keys",
            "warning",
            f"{url} is renewed by a 304 with surrogate keys of its own, which may drop the group key of the policy",
            "Leave Surrogate-Key out of 304 answers; a purge by groups may miss this page.",
            url,
        ),
    )


def _unknown(url: str, why: str, remedy: str) -> Finding:
    text = f"{url}: it can't be told what a 304 would do to its copy: {why}"
    return Finding("revalidation-unknown", "note", text, remedy, url)
