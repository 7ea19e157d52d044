"""Purges, in as few calls as the limits allow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeguard.edge import Purged
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeguard.edge.api import Api

PURGE_KEYS, PURGE_BYTES = 256, 16_000
"""Of one purge call: Fastly's limit on keys, and what is well within every limit on headers."""


class Purges:
    """What can be purged in one service."""

    def __init__(self, service: str, api: Api) -> None:
        self._service = service
        self._api = api

    def keys(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge. A soft purge is repeated where its answer was lost, a hard one is not.

        Raises UsageError for what can't be a surrogate key, before anything is purged.
        """
        for key in keys:
            if not re.fullmatch(r"[\x21-\x7e]{1,1024}", key):
                raise UsageError(f"{key!r} is not a surrogate key", "Keys have 1 to 1024 visible ASCII characters.")
        purged = []
        for group in _groups(list(dict.fromkeys(keys))):
            arguments = {"service_id": self._service, "surrogate_key": " ".join(group)}
            marked = arguments | ({"fastly_soft_purge": 1} if soft else {})
            ids = self._api.call("purge.bulk_purge_tag", "purge", marked, repeat=soft)
            purged.append(Purged(len(group), tuple(str(purge_id) for purge_id in ids.values())))
        return tuple(purged)


def _groups(keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys, in as few calls as the limits allow."""
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
