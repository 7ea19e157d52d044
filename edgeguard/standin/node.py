"""A node of the edge: what it runs, its cache, its view of the dictionaries, and who waits for whose fetch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgeguard.standin.cache import Cache
from edgeguard.standin.visit import Visit
from edgeguard.standin.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.standin.cache import Key
    from edgeguard.standin.control import Controls
    from edgeguard.standin.dictionaries import Replica
    from edgeguard.standin.vcl import Program
    from edgeguard.standin.wire import Pairs, Received


@dataclass(frozen=True)
class Loaded:
    """The active version, as the node runs it."""

    program: Program
    number: int
    tables: Mapping[str, Mapping[str, str]]


class Turns:
    """One fetch at a time for one key; the others wait in the order in which they came (request collapsing)."""

    def __init__(self) -> None:
        self._locks: dict[Key, tuple[asyncio.Lock, int]] = {}

    async def take(self, key: Key) -> None:
        """Wait until nobody else fetches this key."""
        lock, waiting = self._locks.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[key] = (lock, waiting + 1)
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._leave(key)
            raise

    def give_back(self, key: Key) -> None:
        """Let the next one have its turn."""
        self._locks[key][0].release()
        self._leave(key)

    def _leave(self, key: Key) -> None:
        lock, waiting = self._locks[key]
        if waiting == 1:
            del self._locks[key]
        else:
            self._locks[key] = (lock, waiting - 1)


class Upstream(Protocol):
    """Whom a node asks: the origin, or the shield in front of it."""

    async def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
        """Raises Unreachable."""


class Node:
    """Serves visitors, or other nodes."""

    def __init__(self, identity: str, controls: Controls, replica: Replica, upstream: Callable[[], Upstream]) -> None:
        """`upstream` is asked anew for each fetch."""
        self.identity = identity
        self.controls = controls
        self.replica = replica
        self.upstream = upstream
        self.cache = Cache()
        self.turns = Turns()
        self._loaded: Loaded | None = None
        self._served = 0

    def load(self, program: Program, number: int, dictionaries: Mapping[str, str]) -> None:
        """Run this program from the next request on. `dictionaries` maps names to ids."""
        tables = {name: self.replica.items(dictionary_id) for name, dictionary_id in dictionaries.items()}
        self._loaded = Loaded(program, number, tables)

    def unload(self) -> None:
        """Serve nothing: no version is active."""
        self._loaded = None

    async def answer(self, received: Received, visits: int = 0) -> Answer:
        """One request; `visits`: how many nodes of the service it passed before this one (0: a visitor's)."""
        if self._loaded is None:
            return Answer(500, [("Content-Type", "text/html")], b"Fastly error: unknown domain\n", "Domain Not Found")
        self.replica.catch_up(time.monotonic())
        self._served += 1
        clustered = self.controls.layout.clustered and self._served % 2 == 0
        visit = Visit(self, self._loaded, received, visits, clustered=clustered)
        with contextlib.closing(visit):
            return await visit.answer()
