"""The edge as a whole: the nodes that visitors meet, and the shield behind them. Writes and purges reach all nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeguard.standin.dictionaries import Replica
from edgeguard.standin.node import Node
from edgeguard.standin.visit import PURGE, serve
from edgeguard.standin.wire import Received

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from edgeguard.standin.controls import Controls
    from edgeguard.standin.node import Upstream
    from edgeguard.standin.origin import Origin
    from edgeguard.standin.vcl import Program
    from edgeguard.standin.wire import Answer, Pairs

EDGES = ("cache-standin1-LO", "cache-standin2-LO")
SHIELD = "cache-shield1-LO"
"""Each node's server.identity."""


class _Shield:
    """The shield, as the other nodes' upstream."""

    def __init__(self, node: Node, controls: Controls) -> None:
        self._node = node
        self._controls = controls

    async def ask(self, method: str, target: str, headers: Pairs, body: bytes = b"") -> Answer:
        """Ask as another node would: Fastly-FF tells VCL so. A hop within a cluster of nodes counts as a visit, too."""
        marked = [*headers, ("Fastly-FF", "stand-in")]
        visits = 2 if self._controls.layout.clustered else 1
        return await serve(self._node, Received(method, target, marked, body), visits)


class Network:
    """All nodes. `Controls.layout` says which of them serve; writes and purges reach them all."""

    def __init__(
        self, origin: Origin, controls: Controls, propagation: float, may_purge: Callable[[str | None], bool]
    ) -> None:
        """`may_purge` says of a secret whether its token may purge."""
        self._controls = controls
        self.propagation = propagation
        """Seconds until the nodes see a dictionary write, for writes from now on."""
        self._shield = Node(SHIELD, controls, Replica(propagation), lambda _: origin)
        shield = _Shield(self._shield, controls)

        def upstream(restarts: int) -> Upstream:
            return shield if controls.layout.shield and restarts == 0 else origin

        def purge(url: str, secret: str | None, *, soft: bool, demanded: bool) -> bool:
            allowed = not demanded or may_purge(secret)
            if allowed:
                self.purge_url(url, soft=soft)
            return allowed

        self._edges = tuple(Node(identity, controls, Replica(propagation), upstream, purge) for identity in EDGES)
        self._nodes = (*self._edges, self._shield)

    async def answer(self, received: Received) -> Answer:
        """Answer a visitor's request on the node that the connection reaches."""
        serving = self._edges[: self._controls.layout.edges]
        if received.method == "PURGE":  # VCL sees this method in its place
            received = replace(received, method=PURGE)
        return await serve(serving[received.connection % len(serving)], received)

    def load(self, program: Program, number: int, dictionaries: Mapping[str, str]) -> None:
        """Run this program from the next request on. `dictionaries` maps names to ids."""
        for node in self._nodes:
            node.load(program, number, dictionaries)

    def unload(self) -> None:
        """Serve nothing: no version is active."""
        for node in self._nodes:
            node.unload()

    def write(self, dictionary_id: str, changes: dict[str, str | None], now: float) -> None:
        """Send a write on its way to all nodes. `now` is when the API accepted it (monotonic seconds)."""
        for node in self._nodes:
            last = node is self._edges[-1]
            node.replica.delay = self.propagation + (self._controls.layout.lag if last else 0.0)
            node.replica.write(dictionary_id, changes, now)

    def purge_all(self) -> None:
        """Purge everything in every cache; never softly."""
        for node in self._nodes:
            node.cache.purge_all()

    def purge_url(self, url: str, *, soft: bool) -> None:
        """Purge a URL (host and path with query) in every cache."""
        for node in self._nodes:
            node.cache.purge_url(url, soft=soft, now=self._controls.now())

    def purge_keys(self, keys: Collection[str], *, soft: bool) -> None:
        """Purge surrogate keys in every cache."""
        for node in self._nodes:
            node.cache.purge_keys(keys, soft=soft, now=self._controls.now())
