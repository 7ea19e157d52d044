"""Purges, in as few calls as the limits allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge import Purged
from edgeguard.edge.fastly.api import Missing
from edgeguard.edge.purging import address, check_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.edge.fastly.api import Api

PURGE_KEYS, PURGE_BYTES = 256, 16_000
"""The limits of one purge call: Fastly's limit on keys, and a size well within every limit on headers."""
_SOFT = {"Fastly-Soft-Purge": "1"}


class Purges:
    """The purges of one service."""

    def __init__(self, service: str, api: Api) -> None:
        self._service = service
        self._api = api

    def keys(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge. Raises UsageError before anything is purged if one can't be a surrogate key."""
        purged = []
        for group in batches(keys):
            arguments = {"service_id": self._service, "surrogate_key": " ".join(group)}
            marked = arguments | ({"fastly_soft_purge": 1} if soft else {})
            answer = self._api.call("purge.bulk_purge_tag", "purge", marked, repeat=soft)
            purged.append(Purged(len(group), tuple(answer.values())))
        return tuple(purged)

    def url(self, url: str, *, soft: bool = True) -> Purged:
        """As in Edge. Raises UsageError if this is not the address of a page, and Missing if its host is foreign."""
        try:
            answer = self._api.post(f"/purge/{address(url)}", f"purge {url}", _SOFT if soft else {}, repeat=soft)
        except Missing as exc:
            raise Missing(
                f"could not purge {url}: its host is no domain of a service of this account",
                "Check the host; only the domains of active versions can be purged.",
            ) from exc
        purge_id = answer.get("id") if isinstance(answer, dict) else None
        return Purged(0, (str(purge_id),) if purge_id else ())

    def everything(self) -> Purged:
        """As in Edge."""
        self._api.call("purge.purge_all", "purge everything", {"service_id": self._service})
        return Purged(0, ())


def batches(keys: Sequence[str]) -> Iterator[list[str]]:
    """As in Edge."""
    check_keys(keys)
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
