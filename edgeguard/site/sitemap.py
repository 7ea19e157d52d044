"""The pages that a site lists in its sitemap (sitemaps.org/protocol.html).

Others write the sitemap, so a DTD or entity is refused, and size, number and depth are bounded.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from xml.parsers import expat

from edgeguard.errors import OriginsUnhealthy
from edgeguard.site.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES = 50 * 1024 * 1024
"""The most bytes of one sitemap, unpacked: the protocol's limit."""
LOCATIONS = 50_000
"""The most locations of one sitemap, likewise."""
FILES = 20
"""The most sitemaps of an index that are read; the rest are ignored."""
_LOCATION = "loc"
_GZIP = b"\x1f\x8b"


def pages(url: str, *, timeout: float) -> tuple[str, ...]:
    """The pages on the sitemap's own host, each once. An index is followed one step.

    Raises:
        OriginsUnhealthy: the sitemap can't be read; the message says why.
    """
    index, found = _read(url, timeout)
    if index:
        inner = [_read(name, timeout)[1] for name in _own(url, found)[:FILES]]
        found = [name for names in inner for name in names]
    return _own(url, found)


def _own(url: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names on the host of `url`, each once. Other hosts are never asked, even if a sitemap names them."""
    host = urlsplit(url).netloc
    whole = (urljoin(url, name) for name in names)
    return tuple(dict.fromkeys(name for name in whole if urlsplit(name).netloc == host))


def _read(url: str, timeout: float) -> tuple[bool, list[str]]:
    """Whether the sitemap is an index, and its locations."""
    remedy = "doctor.sitemap names the sitemap, a URL or a path of the site."
    try:
        answer = ask(url, headers={}, timeout=timeout, at_most=BYTES)
    except OriginsUnhealthy as exc:
        raise OriginsUnhealthy(f"the sitemap can't be read: {exc.message}", remedy) from exc
    if answer.status != 200:  # noqa: PLR2004 (HTTP)
        raise OriginsUnhealthy(f"the sitemap {url} answers {answer.status}", remedy)
    try:
        return _parse(_unpacked(answer.body))
    except (expat.ExpatError, zlib.error, ValueError) as exc:
        raise OriginsUnhealthy(f"{url} is not a sitemap: {exc}", remedy) from exc


def _unpacked(body: bytes) -> bytes:
    if not body.startswith(_GZIP):
        return body
    unpacker = zlib.decompressobj(wbits=31)
    content = unpacker.decompress(body, BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"it has more than {BYTES} bytes")
    return content


def _parse(body: bytes) -> tuple[bool, list[str]]:
    """Whether the document is an index, and the text of every <loc> in a <url> or <sitemap>. Extensions are ignored."""
    path: list[str] = []  # the elements that are open
    found: list[str] = []
    text: list[str] = []
    roots: list[str] = []

    def start(name: str, _: object) -> None:
        local = name.rpartition(" ")[2]
        if not path:
            roots.append(local)
        path.append(local)
        text.clear()

    def end(_: str) -> None:
        if path[1:] in (["url", _LOCATION], ["sitemap", _LOCATION]):
            found.append("".join(text).strip())
            if len(found) > LOCATIONS:
                raise ValueError(f"it has more than {LOCATIONS} locations")
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError("it has a DTD")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    parser.Parse(body, True)
    if roots not in (["urlset"], ["sitemapindex"]):
        raise ValueError(f"its outermost element is {roots[0]}")
    return roots == ["sitemapindex"], found
