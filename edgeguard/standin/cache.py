"""The edge node's cache, as data: its objects, their freshness at a given time, and purges. No clock, no I/O.

Times are the node's Unix time, durations seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edgeguard.standin.beliefs import Beliefs
    from edgeguard.standin.wire import Pairs

CACHEABLE = frozenset({200, 203, 300, 301, 302, 404, 410})
"""Fastly: guides/concepts/cache/cache-freshness."""
UNSTATED_TTL = 120.0
"""The TTL that vcl_fetch begins with when the answer states none (Fastly: guides/concepts/cache/cache-freshness)."""
UNLIMITED = 9_223_372_036.0
"""req.max_stale_if_error before VCL sets it. The documentation names no value; the object's own limit acts."""

KEY_BYTES, KEYS_BYTES = 1024, 16_384
"""The most bytes of a surrogate key, and of a whole header (Fastly: reference/http/http-headers/Surrogate-Key)."""

Key = tuple[int, str]
"""The cache's generation (which a purge of everything raises) and vcl_hash's result."""


@dataclass(frozen=True)
class Stored:
    """An object in the cache. `ttl`, `swr` and `sie` are fixed when it is stored; `age` is the Age of the answer."""

    url: str
    """Host and path with query, for purges by URL."""
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    stored_at: float
    ttl: float
    swr: float = 0.0
    sie: float = 0.0
    age: float = 0.0
    surrogate_keys: frozenset[str] = frozenset()
    soft_purged_at: float | None = None
    hits: int = 0

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def age_at(self, now: float) -> float:
        """The seconds that it has spent in caches: in this one and in those before."""
        return self.age + max(0.0, now - self.stored_at)

    def expires_at(self, beliefs: Beliefs) -> float:
        """The time at which it became, or becomes, stale."""
        natural = self.stored_at + self.ttl
        if self.soft_purged_at is None:
            return natural
        return min(natural, self.soft_purged_at if beliefs.soft_purge_starts_staleness else self.stored_at)


@dataclass(frozen=True)
class Limits:
    """The request's req.max_stale_while_revalidate and req.max_stale_if_error."""

    swr: float = UNLIMITED
    sie: float = UNLIMITED


class Freshness(Enum):
    """How an object may be used: as it is, while it is fetched again, while the origin fails, or not at all."""

    FRESH = "fresh"
    SWR = "stale-while-revalidate"
    SIE = "stale-if-error"
    DEAD = "dead"


def freshness(stored: Stored, limits: Limits, now: float, beliefs: Beliefs) -> Freshness:
    """How fresh an object is. The lower of its own and the request's limit counts, from when it became stale."""
    if stored.soft_purged_at is None and now < stored.stored_at + stored.ttl:
        return Freshness.FRESH
    staleness = max(0.0, now - stored.expires_at(beliefs))
    if staleness < min(stored.swr, limits.swr):
        return Freshness.SWR
    if staleness < min(stored.sie, limits.sie):
        return Freshness.SIE
    return Freshness.DEAD


def directives(headers: Pairs, name: str) -> dict[str, str]:
    """The directives of Cache-Control or Surrogate-Control. Names are in lower case; values have no quotes."""
    found: dict[str, str] = {}
    for key, value in headers:
        if key.lower() == name:
            for part in value.split(","):
                word, _, argument = part.strip().partition("=")
                if word:
                    found.setdefault(word.strip().lower(), argument.strip().strip('"'))
    return found


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


def _date(headers: Pairs, name: str) -> float | None:
    text = next((value for key, value in headers if key.lower() == name), None)
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def surrogate_keys(header: str) -> frozenset[str]:
    """The keys of a Surrogate-Key header. A key that exceeds a limit is ignored, and so are all keys after it."""
    kept, place = set(), 0
    for key in header.split():
        place = header.index(key, place) + len(key)
        if len(key) > KEY_BYTES or place > KEYS_BYTES:
            break
        kept.add(key)
    return frozenset(kept)


@dataclass(frozen=True)
class Lifetime:
    """The lifetime that an answer states for itself, in seconds; None where it states nothing."""

    ttl: float | None
    swr: float | None
    sie: float | None
    age: float


def lifetime(headers: Pairs, now: float) -> Lifetime:
    """Read an answer's lifetime.

    Surrogate-Control's max-age comes before Cache-Control's s-maxage and max-age, and those before Expires. Age is
    subtracted from each but Expires.

    Fastly: reference/http/http-headers/Surrogate-Control and …/Age, reference/vcl/variables/backend-response/…
    """
    surrogate, control = directives(headers, "surrogate-control"), directives(headers, "cache-control")
    age = _seconds(next((value for key, value in headers if key.lower() == "age"), None)) or 0.0
    stated = (_seconds(surrogate.get("max-age")), _seconds(control.get("s-maxage")), _seconds(control.get("max-age")))
    ttl = next((seconds for seconds in stated if seconds is not None), None)
    if ttl is not None:
        ttl = max(0.0, ttl - age)
    elif (expires := _date(headers, "expires")) is not None:
        date = _date(headers, "date")
        ttl, age = max(0.0, expires - (now if date is None else date)), 0.0
    found = {}
    for name in ("stale-while-revalidate", "stale-if-error"):
        own = _seconds(surrogate.get(name))
        found[name] = own if own is not None else _seconds(control.get(name))
    return Lifetime(ttl, found["stale-while-revalidate"], found["stale-if-error"], age)


def refreshed(stored: Stored, headers: Pairs, now: float, beliefs: Beliefs) -> Stored:
    """The object after a 304 with these headers. vcl_fetch has not run, so only headers and the stored object count."""
    said = lifetime(headers, now)
    new = {key.lower() for key, _ in headers}
    kept = [(key, value) for key, value in stored.headers if key.lower() not in new | {"age"}]
    keys = next((value for key, value in headers if key.lower() == "surrogate-key"), None)
    lost = said.ttl is not None and not beliefs.sie_survives_304
    return replace(
        stored,
        headers=(*kept, *((key, value) for key, value in headers if key.lower() != "age")),
        stored_at=now,
        ttl=stored.ttl if said.ttl is None else said.ttl,
        swr=said.swr if said.swr is not None else 0.0 if lost else stored.swr,
        sie=said.sie if said.sie is not None else 0.0 if lost else stored.sie,
        age=said.age,
        surrogate_keys=stored.surrogate_keys if keys is None or beliefs.keys_survive_304 else surrogate_keys(keys),
        soft_purged_at=None,
    )


class Cache:
    """The objects that one node keeps: those used last, up to `capacity`."""

    def __init__(self, capacity: int = 10_000) -> None:
        self.generation = 1
        self._capacity = capacity
        self._objects: OrderedDict[Key, Stored] = OrderedDict()

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Stored | None:
        """The object, fresh or not. Getting it counts as a use."""
        if key in self._objects:
            self._objects.move_to_end(key)
        return self._objects.get(key)

    def put(self, key: Key, stored: Stored) -> None:
        """Store an object in place of the one under this key. A full cache evicts the object used longest ago."""
        self._objects[key] = stored
        self._objects.move_to_end(key)
        if len(self._objects) > self._capacity:
            self._objects.popitem(last=False)

    def purge_keys(self, keys: Collection[str], *, soft: bool, now: float) -> int:
        """Purge by surrogate key. Returns how many objects were purged."""
        wanted = frozenset(keys)
        return self._purge(lambda stored: not wanted.isdisjoint(stored.surrogate_keys), soft=soft, now=now)

    def purge_url(self, url: str, *, soft: bool, now: float) -> int:
        """Purge by host and path with query. Returns how many objects were purged."""
        return self._purge(lambda stored: stored.url == url, soft=soft, now=now)

    def purge_all(self) -> None:
        """Purge everything, never softly: a new generation begins, in which no stored object is found, stale or not."""
        self.generation += 1
        self._objects.clear()

    def _purge(self, chosen: Callable[[Stored], bool], *, soft: bool, now: float) -> int:
        found: Sequence[Key] = [key for key, stored in self._objects.items() if chosen(stored)]
        for key in found:
            if not soft:
                del self._objects[key]
            elif (stored := self._objects[key]).soft_purged_at is None:
                self._objects[key] = replace(stored, soft_purged_at=now)
        return len(found)
