"""The dictionary of a service, with the claims and the audit. Its items belong to no version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeguard.edge.fastly import lists
from edgeguard.edge.fastly.api import Missing
from edgeguard.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.edge.fastly.api import Api
    from edgeguard.edge.fastly.versions import Versions
    from edgeguard.settings import EdgeSettings


class Dictionary:
    """The items of one service's dictionary."""

    def __init__(self, settings: EdgeSettings, api: Api, versions: Versions) -> None:
        self._settings = settings
        self._api = api
        self._versions = versions
        self._id: str | None = None

    def forget(self) -> None:
        """Look the dictionary up anew next time: another version may be active by then, with another dictionary."""
        self._id = None

    def items(self, name: str | None = None) -> Mapping[str, str]:
        """As in Edge."""
        return self._read(self._items_of(name))

    def item(self, key: str) -> str:
        """As in Edge."""
        named = {**self._items_of(), "dictionary_item_key": key}
        try:
            row = self._api.call("dictionary_item.get_dictionary_item", f"read {key}", named, repeat=True)
        except Missing:
            return ""
        return _text(row.get("item_value"))

    def write(self, items: Mapping[str, str | None]) -> None:
        """As in Edge. Removing a missing item answers 404, so a write with removals reads the items first."""
        if not items:
            return
        dictionary = self._items_of()
        removals = None in items.values()

        def write_once() -> None:
            there = self._read(dictionary, repeat=False) if removals else {}
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

    def _read(self, dictionary: Mapping[str, object], *, repeat: bool = True) -> dict[str, str]:
        first = {"page": "1", "per_page": str(lists.PAGE)}
        operation = "dictionary_item.list_dictionary_items"
        rows = self._api.listed(operation, "read the dictionary", dictionary, first=first, repeat=repeat)
        return {row["item_key"]: _text(row.get("item_value")) for row in rows}

    def _items_of(self, name: str | None = None) -> dict[str, object]:
        """The arguments that name the dictionary in a call. Its id is the same in all versions: it is read once."""
        found = self._id if name is None else None
        if found is None:
            version = self._versions.active()
            found = self._versions.dictionary_in(version, name) if version is not None else None
        if found is None:
            raise EdgeError(
                f"the service has no dictionary {name or self._settings.dictionary!r}",
                "Install the policy first: edgeguard edge install.",
            )
        if name is None:
            self._id = found
        return {"service_id": self._settings.service, "dictionary_id": found}


def _text(value: object) -> str:
    """An item's value. Where it is no text, its JSON, which is no claim and no line of the audit."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:
        return "null"
