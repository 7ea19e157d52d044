"""Request collapsing: one fetch at a time for one key of the cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.standin.cache import Key


class Turns:
    """The fetches that are under way. Requests that wait for one get their turn in the order in which they came."""

    def __init__(self) -> None:
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}

    async def take(self, key: Key) -> None:
        """Wait until no other request fetches this key."""
        lock, waiting = self._locks.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[key] = (lock, waiting + 1)
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._leave(key)
            raise

    def give_back(self, key: Key) -> None:
        """Let the next request have its turn."""
        self._locks[key][0].release()
        self._leave(key)

    def _leave(self, key: Key) -> None:
        lock, waiting = self._locks[key]
        if waiting == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, waiting - 1)
