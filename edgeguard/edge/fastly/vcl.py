"""Fastly as an edge: the policy as snippets of a version, claims as items of a dictionary, purges by key."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import shown, wanted
from edgeguard.edge.fastly.api import Api, Missing
from edgeguard.edge.fastly.purges import Purges
from edgeguard.edge.fastly.versions import Versions
from edgeguard.errors import EdgeError, EdgeUnauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeguard.edge import ActiveVersion, Policy, Purged, Status
    from edgeguard.edge.fastly.shown import Ask
    from edgeguard.settings import EdgeSettings

PAGE = 1000
"""Of a dictionary's items."""


class Fastly:
    """Implements Edge (edgeguard/edge/__init__.py). May be used from several threads; one call is made at a time."""

    def __init__(self, settings: EdgeSettings, token: str, ask: Ask, *, api: Api | None = None) -> None:
        self._settings = settings
        self._api = api or Api(settings.api_url, token)
        self._versions = Versions(settings, self._api)
        self._purges = Purges(settings.service, self._api)
        self._ask = ask
        self._dictionary: str | None = None

    # -- the policy ----------------------------------------------------------------------------------------------

    def policy(self) -> Policy:
        """As in Edge."""
        return self._versions.policy()

    def active_version(self) -> ActiveVersion:
        """As in Edge."""
        return self._versions.look()

    def token(self) -> Mapping[str, Any] | None:
        """As in Edge. Which kinds of tokens may ask about themselves is not documented, so a refusal is no error."""
        try:
            found: dict[str, Any] = self._api.call(
                "tokens.get_token_current", "read the token's scopes", {}, repeat=True
            )
        except EdgeUnauthorized:
            return None
        return found

    def install(self, reason: str, *, expecting: int | None = None) -> Policy:
        """As in Edge. Where it fails, the draft stays behind, not activated, and the error names it."""
        self._dictionary = None
        return self._versions.change(wanted.installed(self._settings), reason, expecting=expecting)

    def remove(self, reason: str, *, dictionary: bool = False, expecting: int | None = None) -> Policy:
        """As in Edge."""
        self._dictionary = None
        return self._versions.change(wanted.removed(dictionary=dictionary), reason, expecting=expecting)

    # -- the dictionary ------------------------------------------------------------------------------------------

    def items(self, dictionary: str | None = None) -> Mapping[str, str]:
        """As in Edge."""
        arguments = self._items_of(dictionary)
        return self._api.repeated(lambda: self._read(arguments))

    def write(self, items: Mapping[str, str | None]) -> None:
        """As in Edge. Removing what isn't there answers 404, so a write that removes looks first what is there."""
        if not items:
            return
        dictionary = self._items_of()
        removals = None in items.values()

        def write_once() -> None:
            there = self._read(dictionary) if removals else {}
            operations = [
                {"op": "delete", "item_key": key}
                if value is None
                else {"op": "upsert", "item_key": key, "item_value": value}
                for key, value in items.items()
                if value is not None or key in there
            ]
            if operations:
                self._api.change_items(dictionary, operations)

        # Somebody else may remove the same item between the look and the write.
        self._api.repeated(write_once, also=(Missing,) if removals else ())

    def _read(self, dictionary: Mapping[str, object]) -> dict[str, str]:
        items: dict[str, str] = {}
        for page in itertools.count(1):
            arguments = {**dictionary, "page": page, "per_page": PAGE}
            rows = self._api.once("dictionary_item.list_dictionary_items", "read the dictionary", arguments)
            items |= {row["item_key"]: row["item_value"] for row in rows}
            if len(rows) < PAGE:
                break
        return items

    def _items_of(self, name: str | None = None) -> dict[str, object]:
        """Our dictionary keeps its id in all versions, so it is looked up once."""
        found = self._dictionary if name is None else None
        if found is None:
            version = self._versions.active()
            found = self._versions.dictionary_in(version, name) if version is not None else None
        if found is None:
            raise EdgeError(
                f"the service has no dictionary {name or self._settings.dictionary!r}",
                "Install the policy first: edgeguard edge install.",
            )
        if name is None:
            self._dictionary = found
        return {"service_id": self._settings.service, "dictionary_id": found}

    # -- what the edge shows, and purges -------------------------------------------------------------------------

    def status(self) -> Status:
        """As in Edge."""
        return shown.status(self._settings, self._ask)

    def shielded(self) -> bool | None:
        """As in Edge."""
        try:
            return self._versions.shielded()
        except EdgeUnauthorized:  # a token for purges alone
            return None

    def purge(self, keys: Sequence[str], *, soft: bool = True) -> tuple[Purged, ...]:
        """As in Edge."""
        return self._purges.keys(keys, soft=soft)

    def purge_url(self, url: str, *, soft: bool = True) -> Purged:
        """As in Edge."""
        return self._purges.url(url, soft=soft)

    def purge_everything(self) -> Purged:
        """As in Edge."""
        return self._purges.everything()
