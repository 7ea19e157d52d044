"""The object under a request's key: looking it up, whether it may be served stale, and the turn to fetch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.cache import Freshness, Limits, Stored, freshness

if TYPE_CHECKING:
    from edgeguard.standin.cache import Key
    from edgeguard.standin.node import Node
    from edgeguard.standin.vcl import Request


class Lookup:
    """One request's view of one key in a node's cache. A request that restarts begins a new lookup."""

    def __init__(self, node: Node, request: Request) -> None:
        self._node = node
        self._request = request
        self.key: Key | None = None
        """None until vcl_hash has run."""
        self.stored: Stored | None = None
        """The object that `find` found last, fresh or not."""
        self.kept = False
        """Whether this request put the object into the cache, or counted a hit there."""
        self.began = False
        self._limits_at_start: Limits | None = None
        self._holds_turn = False

    def begin(self) -> None:
        """Note the request's limits as they are at the lookup."""
        self.began = True
        self._limits_at_start = self._limits()

    def find(self) -> Freshness | None:
        """Look the key up now. Returns how fresh the object is by its own limits; None where there is no object."""
        always_miss = self._request.values.get("req.hash_always_miss")
        self.stored = None if always_miss else self._node.cache.get(self._known_key())
        if self.stored is None:
            return None
        return freshness(self.stored, Limits(), self._node.controls.now(), self._node.controls.beliefs)

    def stale(self, *, for_exists: bool = False) -> Stored | None:
        """The object, if its limits and the request's let it be served now. With `for_exists`: for stale.exists."""
        if not self.began or self.stored is None or self._never_stale():
            return None
        beliefs = self._node.controls.beliefs
        limits = self._limits() if beliefs.limit_set_after_lookup_counts else self._limits_at_start or self._limits()
        if for_exists and not beliefs.stale_exists_obeys_limit:
            limits = Limits()
        dead = freshness(self.stored, limits, self._node.controls.now(), beliefs) is Freshness.DEAD
        return None if dead else self.stored

    def holds(self, stored: Stored) -> bool:
        """Whether this very object is in the cache under the key."""
        return self.key is not None and self._node.cache.get(self.key) is stored

    def keep(self, stored: Stored) -> None:
        """Put an object into the cache under the key."""
        self._node.cache.put(self._known_key(), stored)
        self.kept = True

    async def take_turn(self) -> None:
        """Wait until no other request fetches the key. Nothing happens if this request has the turn already."""
        if not self._holds_turn:
            await self._node.turns.take(self._known_key())
            self._holds_turn = True

    def give_back_turn(self) -> None:
        """Let other requests fetch the key. Nothing happens if this request does not have the turn."""
        if self._holds_turn:
            self._holds_turn = False
            self._node.turns.give_back(self._known_key())

    def _never_stale(self) -> bool:
        """Whether VCL has switched stale copies off (Fastly: reference/vcl/variables/client-request/req-hash-…)."""
        values = self._request.values
        return bool(values.get("req.hash_ignore_busy") or values.get("req.hash_always_miss"))

    def _known_key(self) -> Key:
        assert self.key is not None  # noqa: S101 - every request runs vcl_hash before it uses the key; this tells mypy
        return self.key

    def _limits(self) -> Limits:
        values = self._request.values
        return Limits(
            swr=float(values["req.max_stale_while_revalidate"] or 0.0),
            sie=float(values["req.max_stale_if_error"] or 0.0),
        )
