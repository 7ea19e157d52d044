"""Edge dictionaries: the items as the API holds them, and as the edge sees them a while later."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard.standin.problems import Problem, missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY_LIMIT = 256
VALUE_LIMIT = 8000
BATCH_LIMIT = 1000


@dataclass(frozen=True)
class Item:
    """An item. The times are in the API's form."""

    value: str
    created_at: str
    updated_at: str


@dataclass(frozen=True)
class Change:
    """One operation on an item: create, update, upsert or delete."""

    op: str
    key: str
    value: str = ""


class Dictionary:
    """A dictionary's items. Versions hold it by name, and share it."""

    def __init__(self, dictionary_id: str, service_id: str, created_at: str) -> None:
        self.id = dictionary_id
        self.service_id = service_id
        self.created_at = created_at
        self.items: dict[str, Item] = {}
        self._changed = datetime.now(UTC)

    def apply(self, changes: Sequence[Change], now: str, *, atomic: bool = True) -> dict[str, str | None]:
        """Apply the changes in order. Returns the new values by key, for the edge (None: the item is gone).

        Raises Problem at the first impossible change. With `atomic`, the changes before it are undone.
        """
        if len(changes) > BATCH_LIMIT:
            raise Problem(400, "Bad request", f"A batch may hold {BATCH_LIMIT} operations, not {len(changes)}")
        items = dict(self.items) if atomic else self.items
        for change in changes:
            self._apply(items, change, now)
        self.items = items
        self._changed = datetime.now(UTC)
        return {change.key: items[change.key].value if change.key in items else None for change in changes}

    def _apply(self, items: dict[str, Item], change: Change, now: str) -> None:
        known = items.get(change.key)
        if change.op not in {"create", "update", "upsert", "delete"}:
            raise Problem(400, "Bad request", f"Unknown op '{change.op}'")
        if not change.key or len(change.key) > KEY_LIMIT or len(change.value) > VALUE_LIMIT:
            raise Problem(400, "Bad request", f"A key has 1 to {KEY_LIMIT} characters, a value up to {VALUE_LIMIT}")
        if known is None and change.op in {"update", "delete"}:
            raise self._missing(change.key)
        if known is not None and change.op == "create":
            record = f"dictionary_id={self.id} item_key={change.key} service_id={self.service_id}"
            raise Problem(409, "Duplicate record", f"Duplicate dictionary_item: '{record}'")
        if change.op == "delete":
            del items[change.key]
        elif known is None:
            items[change.key] = Item(change.value, now, now)
        else:
            items[change.key] = replace(known, value=change.value, updated_at=now)

    def item_json(self, key: str) -> dict[str, Any]:
        """An item as the API shows it. Raises Problem (404)."""
        if key not in self.items:
            raise self._missing(key)
        item = self.items[key]
        return {
            "dictionary_id": self.id,
            "service_id": self.service_id,
            "item_key": key,
            "item_value": item.value,
            "created_at": item.created_at,
            "updated_at": item.updated_at,
            "deleted_at": None,
        }

    def info_json(self) -> dict[str, Any]:
        """The number of items, their digest, and the time of the last change (written with a space, as Fastly does)."""
        content = "".join(f"{key}\0{item.value}\0" for key, item in sorted(self.items.items()))
        return {
            "item_count": len(self.items),
            "last_updated": self._changed.strftime("%Y-%m-%d %H:%M:%S"),
            "digest": hashlib.sha256(content.encode()).hexdigest(),
        }

    def _missing(self, key: str) -> Problem:
        by = {"dictionary_id": self.id, "item_key": key, "service_id": self.service_id}
        return missing("DictionaryItem", by)


class Replica:
    """The items as one edge node sees them: each write as a whole, in the order of writing, `delay` seconds later.

    Times are monotonic seconds.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        """The delay of writes from now on. A write with a shorter delay does not overtake those under way."""
        self._under_way: deque[tuple[float, str, dict[str, str | None]]] = deque()
        self._items: dict[str, dict[str, str]] = {}

    def write(self, dictionary_id: str, changes: dict[str, str | None], now: float) -> None:
        """Send a write on its way. `now` is when the API accepted it."""
        self._under_way.append((now + self.delay, dictionary_id, changes))

    def items(self, dictionary_id: str) -> Mapping[str, str]:
        """A live view of the items; `catch_up` changes it."""
        return self._items.setdefault(dictionary_id, {})

    def catch_up(self, now: float) -> None:
        """Apply the writes whose delay has passed."""
        while self._under_way and self._under_way[0][0] <= now:
            _, dictionary_id, changes = self._under_way.popleft()
            items = self._items.setdefault(dictionary_id, {})
            for key, value in changes.items():
                if value is None:
                    items.pop(key, None)
                else:
                    items[key] = value
