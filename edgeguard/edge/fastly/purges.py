"""Purges, in as few calls as the limits allow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from edgeguard.edge import Purged
from edgeguard.errors import UsageError
from edgeguard.settings import SURROGATE_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.edge.fastly.api import Api

PURGE_KEYS, PURGE_BYTES = 256, 16_000
"""Of one purge call: Fastly's limit on keys, and what is well within every limit on headers."""
_SOFT = {"Fastly-Soft-Purge": "1"}
_PORTS = {"http": 80, "https": 443}
_PATH, _QUERY = "/:@!$&'()*+,;=~%[]|", "/?:@!$&()*+,;=~%[]|^`{}\\"
"""What a browser sends as it is in a path and in a query (url.spec.whatwg.org: the percent-encode sets)."""


class Purges:
    """What can be purged in one service."""

    def __init__(self, service: str, api: Api) -> None:
        self._service = service
        self._api = api

    def keys(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge. Raises UsageError for what can't be a surrogate key, before anything is purged."""
        purged = []
        for group in batches(keys):
            arguments = {"service_id": self._service, "surrogate_key": " ".join(group)}
            marked = arguments | ({"fastly_soft_purge": 1} if soft else {})
            answer = self._api.call("purge.bulk_purge_tag", "purge", marked, repeat=soft)
            purged.append(Purged(len(group), tuple(answer.values())))
        return tuple(purged)

    def url(self, url: str, *, soft: bool = True) -> Purged:
        """As in Edge. Raises UsageError for what is not a page's address."""
        answer = self._api.post(f"/purge/{address(url)}", f"purge {url}", _SOFT if soft else {}, repeat=soft)
        purge_id = answer.get("id") if isinstance(answer, dict) else None
        return Purged(0, (str(purge_id),) if purge_id else ())

    def everything(self) -> Purged:
        """As in Edge."""
        self._api.call("purge.purge_all", "purge everything", {"service_id": self._service})
        return Purged(0, ())


def batches(keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys, each once, in as few calls as the limits allow.

    Raises:
        UsageError: one of them can't be a surrogate key; raised before the first batch is given.
    """
    for key in keys:
        if not re.fullmatch(SURROGATE_KEY, key):
            shown = key if len(key) <= 80 else f"{key[:80]}…"  # noqa: PLR2004 (a line)
            raise UsageError(f"{shown!r} is not a surrogate key", "Keys have 1 to 1024 visible ASCII characters.")
    return _batches(dict.fromkeys(keys))


def _batches(keys: dict[str, None]) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for key in keys:
        if len(group) == PURGE_KEYS or (group and size + len(key) + 1 > PURGE_BYTES):
            yield group
            group, size = [], 0
        group.append(key)
        size += len(key) + 1
    if group:
        yield group


def address(url: str) -> str:
    """A page's address as its visitors' browsers send it, `host/path?query`: that is what a cache knows it by.

    What is encoded stays as it is, in lower or upper case; what browsers encode is encoded; what they take out (`/../`,
    the fragment) is taken out.

    Raises:
        UsageError: it is no address of a page.
    """
    remedy = "Give it as https://www.example.com/path?query."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        name = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError) as exc:
        raise UsageError(f"{url!r} is not a URL", remedy) from exc
    if parts.scheme not in _PORTS or parts.username is not None or re.search(r"[\x00-\x1f\x7f]", url):
        raise UsageError(f"{url!r} is not a URL of a page", remedy)
    if not re.fullmatch(r"[a-z0-9_.:-]+", name):
        raise UsageError(f"{url!r} names no host", remedy)
    place = f"[{name}]" if ":" in name else name
    if port not in (None, _PORTS[parts.scheme]):
        place += f":{port}"
    query = f"?{quote(parts.query, _QUERY)}" if "?" in url.partition("#")[0] else ""
    return place + _without_dots(quote(parts.path.replace("\\", "/"), _PATH) or "/") + query


def _without_dots(path: str) -> str:
    """The path without its . and .. (also where these are encoded): as it is sent, and so that it can't lead out."""
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
