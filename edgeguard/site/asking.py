"""Ask a server one question over HTTP. The only module that imports httpx."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edgeguard.errors import OriginsUnhealthy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Header names are in lower case; `seconds` is from the connection's start to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def ask(url: str, *, headers: Mapping[str, str], timeout: float, at_most: int | None = None) -> Answer:
    """Send one GET over a new connection. Redirects are not followed, and no proxy is used.

    `timeout` is for each step, in seconds. The body is read to its end, or until it has more than `at_most` bytes.

    Raises:
        OriginsUnhealthy: there was no HTTP answer within `timeout` seconds, or its body is longer than `at_most`.
    """
    import httpx  # noqa: PLC0415 (heavy: 70 ms)

    began = time.monotonic()
    body = bytearray()
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=False, verify=_trusted(url)) as client,
            client.stream("GET", url, headers={**headers, "Connection": "close"}) as answer,
        ):
            for chunk in answer.iter_bytes():
                body += chunk
                if at_most is not None and len(body) > at_most:
                    raise OriginsUnhealthy(f"{url} answers with more than {at_most} bytes")
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        said = f"{url} gives no answer: {str(exc) or type(exc).__name__}"
        raise OriginsUnhealthy(said, "Is the address right, and does the site answer there?") from exc
    return Answer(answer.status_code, dict(answer.headers.items()), bytes(body), time.monotonic() - began)


def _trusted(url: str) -> ssl.SSLContext | bool:
    """The authorities to trust. Reading them takes longer than most answers, so it is done once, and only for TLS."""
    return False if url.lower().startswith("http://") else _certificates()


@cache
def _certificates() -> ssl.SSLContext:
    import httpx  # noqa: PLC0415 (heavy: 70 ms)

    return httpx.create_ssl_context(trust_env=False)
