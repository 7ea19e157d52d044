"""A node of the edge: the version that it runs, its cache, its copy of the dictionaries, and its fetches under way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgeguard.standin.cache import Cache
from edgeguard.standin.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.standin.controls import Controls
    from edgeguard.standin.dictionaries import Replica
    from edgeguard.standin.vcl import Program
    from edgeguard.standin.wire import Answer, Pairs


@dataclass(frozen=True)
class Loaded:
    """The active version, as a node runs it."""

    program: Program
    number: int
    tables: Mapping[str, Mapping[str, str]]


class Upstream(Protocol):
    """The next hop of a node: the origin, or the shield in front of it."""

    async def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
        """Send a request and wait for the whole answer. Raises Unreachable."""


class Purge(Protocol):
    """A purge by URL, as a visitor asks for it."""

    def __call__(self, url: str, secret: str | None, *, soft: bool, demanded: bool) -> bool:
        """Purge the URL everywhere. Returns False if a token is demanded and the secret is not that of one."""


class Node:
    """The state of one node. `visit.serve` answers a request with it."""

    def __init__(
        self,
        identity: str,
        controls: Controls,
        replica: Replica,
        upstream: Callable[[int], Upstream],
        purge: Purge | None = None,
    ) -> None:
        """`identity` is server.identity. `upstream` is called anew for each fetch, with the number of restarts before.

        A request that was restarted goes past the shield (Fastly: reference/vcl/statements/restart). `purge` is of the
        nodes that visitors meet.
        """
        self.identity = identity
        self.controls = controls
        self.replica = replica
        self.upstream = upstream
        self.purge = purge
        self.cache = Cache()
        self.turns = Turns()
        self.loaded: Loaded | None = None
        self._served = 0

    def load(self, program: Program, number: int, dictionaries: Mapping[str, str]) -> None:
        """Run this program from the next request on. `dictionaries` maps names to ids."""
        tables = {name: self.replica.items(dictionary_id) for name, dictionary_id in dictionaries.items()}
        self.loaded = Loaded(program, number, tables)

    def unload(self) -> None:
        """Serve nothing: no version is active."""
        self.loaded = None

    def next_is_clustered(self) -> bool:
        """Count one more request. Returns whether a neighbour in the cluster answers it (see Layout.clustered)."""
        self._served += 1
        return self.controls.layout.clustered and self._served % 2 == 0
