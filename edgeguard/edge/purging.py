"""Surrogate keys and pages' addresses that a person wants purged. They are checked here, without any request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeguard.errors import UsageError
from edgeguard.settings import SURROGATE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN = 80
"""The most characters of a wrong key that an error quotes."""
_PORTS = {"http": 80, "https": 443}
_PATH, _QUERY = "/:@!$&'()*+,;=~%[]|", "/?:@!$&()*+,;=~%[]|^`{}\\"
"""The characters that a browser sends as they are in a path and in a query (url.spec.whatwg.org: the percent-encode
sets)."""


def check_keys(keys: Iterable[str]) -> None:
    """Raise UsageError if one of these can't be a surrogate key."""
    for key in keys:
        if not re.fullmatch(SURROGATE_KEY, key):
            shown = key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…"
            raise UsageError(f"{shown!r} is not a surrogate key", "Keys have 1 to 1024 visible ASCII characters.")


def address(url: str) -> str:
    """A page's address as browsers send it, `host/path?query`. A cache knows the page by this address.

    Encoded characters stay as they are, in lower or upper case. Characters that browsers encode are encoded. Parts that
    browsers remove (`/../`, the fragment) are removed.

    Raises:
        UsageError: this is not the address of a page.
    """
    remedy = "Give it as https://www.example.com/path?query."
    if re.match("[^/?#]*//[^/?#]*@", url):
        raise UsageError("a page's URL has a user or a password in it", "Leave it out: the edge knows pages without.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        name = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError) as exc:
        raise UsageError(f"{url!r} is not a URL", remedy) from exc
    if parts.scheme not in _PORTS or re.search(r"[\x00-\x1f\x7f]", url):
        raise UsageError(f"{url!r} is not a URL of a page", remedy)
    if not re.fullmatch(r"[a-z0-9_.:-]+", name):
        raise UsageError(f"{url!r} names no host", remedy)
    place = f"[{name}]" if ":" in name else name
    if port not in (None, _PORTS[parts.scheme]):
        place += f":{port}"
    query = f"?{quote(parts.query, _QUERY)}" if "?" in url.partition("#")[0] else ""
    return place + _without_dots(quote(parts.path.replace("\\", "/"), _PATH) or "/") + query


def _without_dots(path: str) -> str:
    """The path as browsers send it, without . and .. (encoded ones, too). So it can't lead out of its root."""
    kept: list[str] = []
    names = path.split("/")[1:]
    for place, name in enumerate(names):
        plain = re.sub("%2e", ".", name, flags=re.IGNORECASE)
        if plain == ".." and kept:
            kept.pop()
        if plain not in (".", ".."):
            kept.append(name)
        elif place == len(names) - 1:
            kept.append("")
    return "/" + "/".join(kept)
