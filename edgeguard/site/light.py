"""Ask one question over HTTP with Python's own client, which is imported in 5 ms; site.asking's takes 70 ms.

The health check and the edge's status use it: commands that live for a moment ask little else.
"""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeguard.errors import OriginsUnhealthy
from edgeguard.machine import network
from edgeguard.machine.in_time import in_time
from edgeguard.machine.signals import pause
from edgeguard.site import bounds
from edgeguard.site.asking import Answer, words_of
from edgeguard.site.bounds import TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

    from edgeguard.machine.in_time import Line

_KEPT = "%/:;=@!$&'()*+,?[]~"
"""Characters of a path and a query that are sent as they are (RFC 3986). Others are sent with %."""
_PIECE = 2**16


def ask(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    at_most: int = bounds.BYTES,
    sleep: Callable[[float], None] = pause,
) -> Answer:
    """As site.asking.ask.

    Raises:
        OriginsUnhealthy: there was no whole HTTP answer within `timeout`, or it goes beyond the bounds.
    """
    try:
        return in_time(lambda line: _answer(url, headers, timeout, at_most, line), timeout, sleep=sleep)
    except TooMuch as exc:
        raise OriginsUnhealthy(f"{url} {exc}") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise OriginsUnhealthy(f"{url} gives no answer: {words_of(exc)}") from exc


def _answer(url: str, headers: Mapping[str, str], timeout: float, at_most: int, line: Line) -> Answer:
    began = time.monotonic()
    parts = urlsplit(url)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_KEPT)
    usual = {"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "edgeguard", **network.authorization(url)}
    sent = {**usual, **headers, "Connection": "close"}
    proxy = network.proxy(url)
    if proxy is not None and parts.scheme == "http":
        target, sent = f"http://{parts.netloc}{target}", {**sent, **network.password(urlsplit(proxy))}
    with closing(_connection(parts, None if proxy is None else urlsplit(proxy), timeout)) as connection:
        connection.connect()
        line.is_at(connection.sock)
        connection.request("GET", target, headers=sent)
        with connection.getresponse() as answer:
            heard = bounds.joined(answer.getheaders())
            body = bounds.body(_pieces(answer), heard, at_most)
    return Answer(answer.status, heard, body, time.monotonic() - began)


def _connection(parts: SplitResult, proxy: SplitResult | None, timeout: float) -> http.client.HTTPConnection:
    """A connection to the site, or to the proxy. The proxy hears at `connect` to which site TLS has to get through."""
    there = parts if proxy is None else proxy
    if parts.scheme == "https" and there.hostname is not None:
        port = there.port if proxy is None else there.port or http.client.HTTP_PORT
        secure = http.client.HTTPSConnection(there.hostname, port, timeout=timeout, context=network.authorities())
        if proxy is not None:
            secure.set_tunnel(parts.hostname or "", parts.port or http.client.HTTPS_PORT, network.password(proxy))
        return secure
    if parts.scheme == "http" and there.hostname is not None and parts.hostname:
        return http.client.HTTPConnection(there.hostname, there.port, timeout=timeout)
    raise ValueError("it is not an http:// or https:// address")


def _pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body as it comes. Raises IncompleteRead if it ends before its length."""
    while piece := answer.read(_PIECE):
        yield piece
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
