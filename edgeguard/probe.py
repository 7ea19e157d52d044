"""Ask a server one question over HTTP. The only module that imports httpx."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.errors import OriginsUnhealthy

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case; `seconds` is from the connection's start to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def ask(url: str, *, headers: Mapping[str, str], timeout: float) -> Answer:
    """One GET over a new connection; redirects are not followed and no proxy is used.

    Raises:
        OriginsUnhealthy: there was no HTTP answer within `timeout` seconds.
    """
    import httpx  # noqa: PLC0415 (heavy: 70 ms)

    began = time.monotonic()
    try:
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            answer = client.get(url, headers={**headers, "Connection": "close"})
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise OriginsUnhealthy(f"{url} gives no answer: {str(exc) or type(exc).__name__}") from exc
    return Answer(answer.status_code, dict(answer.headers.items()), answer.content, time.monotonic() - began)
