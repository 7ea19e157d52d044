"""Ask a server one question over HTTP. The only module that imports http.client, which starts quickly and is enough."""

from __future__ import annotations

import http.client
import time
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeguard.errors import OriginsUnhealthy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_KEPT = "%/:;=@!$&'()*+,?[]~"
"""Of a path and a query, sent as they stand; what is in neither (RFC 3986) is sent with %."""
_GZIP = 31


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case; `seconds` is from the connection's start to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def ask(url: str, *, headers: Mapping[str, str], timeout: float, at_most: int | None = None) -> Answer:
    """One GET over a new connection; redirects are not followed and no proxy is used.

    `timeout` is for each step, in seconds; a body is read to its end, or until it has more than `at_most` bytes. It is
    asked for as browsers ask, compressed, since that is the copy that a cache has; `body` is what was compressed.

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
