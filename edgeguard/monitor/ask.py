"""Ask one question over HTTP with Python's own client: it is there in 5 ms, and the library of site/asking.py is not.

For the health check alone, which asks a few questions in a process that lives for a moment, each minute.
"""

from __future__ import annotations

import http.client
import time
import zlib
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeguard.errors import OriginsUnhealthy
from edgeguard.site.asking import Answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_KEPT = "%/:;=@!$&'()*+,?[]~"
"""Of a path and a query, sent as they stand; what is in neither (RFC 3986) is sent with %."""
_GZIP = 31
"""zlib: a stream with gzip's head, and the largest window."""


def ask(url: str, *, headers: Mapping[str, str], timeout: float, at_most: int | None = None) -> Answer:
    """As site.asking.ask. It asks as browsers do, for a compressed page, since that is the copy that a cache has.

    Raises:
        OriginsUnhealthy: there was no HTTP answer within `timeout` seconds, or its body is longer than `at_most`.
    """
    began = time.monotonic()
    sent = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "edgeguard", **headers, "Connection": "close"}
    try:
        parts = urlsplit(url)
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT)
        with closing(_connection(url, timeout)) as connection:
            connection.request("GET", target, headers=sent)
            with connection.getresponse() as answer:
                body = _body(answer, at_most)
    except (OSError, http.client.HTTPException, ValueError, zlib.error) as exc:
        raise OriginsUnhealthy(f"{url} gives no answer: {_said(exc)}") from exc
    if at_most is not None and len(body) > at_most:
        raise OriginsUnhealthy(f"{url} answers with more than {at_most} bytes")
    return Answer(answer.status, _joined(answer), body, time.monotonic() - began)


def _connection(url: str, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=_certificates())
    if parts.scheme == "http" and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    raise ValueError("it is not an http:// or https:// address")


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust: the system's authorities. Reading them takes longer than most answers, so it is done once."""
    import ssl  # noqa: PLC0415 (not everybody speaks TLS)

    return ssl.create_default_context()


def _body(answer: http.client.HTTPResponse, at_most: int | None) -> bytes:
    """One byte more than `at_most`, where there are more."""
    most = None if at_most is None else at_most + 1
    content = answer.read(most)
    if answer.headers.get("Content-Encoding", "").strip().lower() == "gzip":
        return zlib.decompressobj(_GZIP).decompress(content, most or 0)
    return content


def _joined(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Headers of one name are one list (RFC 9110, 5.2)."""
    headers: dict[str, str] = {}
    for name, value in answer.getheaders():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split()) or type(exc).__name__
