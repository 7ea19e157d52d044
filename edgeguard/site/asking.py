"""Ask a server one question over HTTP. The only module that imports httpx."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.errors import OriginsUnhealthy
from edgeguard.machine import network
from edgeguard.machine.in_time import in_time
from edgeguard.machine.signals import pause
from edgeguard.site import bounds
from edgeguard.site.bounds import TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.machine.in_time import Line

_WORDS = 300
"""The most characters of a foreign error. Some quote the whole of what they stumbled over."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. Header names are in lower case, and their values are read as latin-1, which loses no byte.

    `body` is unpacked. `seconds` is from the connection's start to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def ask(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout: float,
    at_most: int = bounds.BYTES,
    sleep: Callable[[float], None] = pause,
) -> Answer:
    """Send one GET over a new connection, by the proxy that `network` names. Redirects are not followed.

    It asks for compressed content, as browsers do: a cache has that copy. `timeout` is for everything together, in
    seconds, and `at_most` for the bytes of the body, unpacked. Errors of `sleep` (an interruption) pass through.

    Raises:
        OriginsUnhealthy: there was no whole HTTP answer within `timeout`, or it goes beyond the bounds.
    """
    import httpx  # noqa: PLC0415 (heavy: 70 ms)

    try:
        return in_time(lambda line: _answer(url, headers, timeout, at_most, line), timeout, sleep=sleep)
    except TooMuch as exc:
        raise OriginsUnhealthy(f"{url} {exc}") from exc
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
        said = f"{url} gives no answer: {words_of(exc)}"
        raise OriginsUnhealthy(said, "Is the address right, and does the site answer there?") from exc


def _answer(url: str, headers: Mapping[str, str], timeout: float, at_most: int, line: Line) -> Answer:
    import httpx  # noqa: PLC0415 (heavy: 70 ms)

    def trace(event: str, info: dict[str, Any]) -> None:  # www.python-httpx.org/advanced/extensions, "trace"
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            line.is_at(info["return_value"].get_extra_info("socket"))

    began = time.monotonic()
    sent = {"Accept-Encoding": "gzip", **network.authorization(url), **headers, "Connection": "close"}
    verify = False if url.lower().startswith("http://") else network.authorities()
    with (
        httpx.Client(timeout=timeout, trust_env=False, verify=verify, proxy=network.proxy(url)) as client,
        client.stream(
            "GET",
            url,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            extensions={"trace": trace},
        ) as answer,
    ):
        heard = bounds.joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw)
        body = bounds.body(answer.iter_raw(), heard, at_most)
    return Answer(answer.status_code, heard, body, time.monotonic() - began)


def words_of(exc: Exception) -> str:
    """A foreign error's words, on one line."""
    line = " ".join(str(exc).split()) or type(exc).__name__
    return line if len(line) <= _WORDS else f"{line[:_WORDS]}…"
