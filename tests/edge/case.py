"""The parts of a case: steps that happen to one page, and the answers that its visitors must get.

The table itself is tests/edge/cases.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from edgeguard.edge.claim import FREE
from edgeguard.edge.claim import Claim as Written
from tests.edge.standin_edge import CLOSED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.edge.standin_edge import Cache


@dataclass(frozen=True)
class Got:
    """An answer, as far as the promises concern it."""

    status: int
    page: str  # "same" as somebody got before, "new", or "none" with an error
    stale: str | None  # "error", "hold"
    asked: bool  # whether the origin was asked for it
    words: str = field(default="", compare=False, repr=False)
    closed: tuple[str | None, str | None] = (None, None)  # Retry-After and Edgeguard-Closed


TOLD = (CLOSED["Retry-After"], CLOSED["Edgeguard-Closed"])
NEW = Got(200, "new", None, True, "the origin's page")
SAME = Got(200, "same", None, False, "the copy, fresh")
RENEWED = Got(200, "same", None, True, "the copy, renewed")
STALE = Got(200, "same", "error", True, "the copy, stale")
HELD = Got(200, "same", "hold", False, "the copy, stale, at once")
FAILED = Got(500, "none", None, True, "the origin's error")
SHORT = Got(503, "none", None, True, "the short page", TOLD)
CLOSED_500 = Got(500, "none", None, True, "the gate's answer", TOLD)
REFUSED = Got(503, "none", None, True, "an error")


class Promise(Enum):
    """The promises to a visitor, each of which can be broken."""

    NO_ERROR = "no error"
    NO_WAIT = "no wait"
    NOT_TOO_OLD = "not too old"


def lost(expected: Got, got: Got) -> set[Promise]:
    """The promises that are broken for a visitor who gets the one answer instead of the other."""
    found = set()
    if got.status >= 500 > expected.status:
        found.add(Promise.NO_ERROR)
    if got.asked and not expected.asked:
        found.add(Promise.NO_WAIT)
    if got.page == "same" != expected.page:
        found.add(Promise.NOT_TOO_OLD)
    return found


# -- what happens ----------------------------------------------------------------------------------------------------


@dataclass
class PageInACase:
    """One page at one cache, in the course of a case."""

    cache: Cache
    path: str
    status: int
    slots: dict[str, str] = field(default_factory=dict)
    bodies: set[bytes] = field(default_factory=set)
    seen: list[tuple[Got, Got]] = field(default_factory=list)
    """For each visitor, the answer that was due and the answer that came."""

    def put(self, slot: str, value: str) -> None:
        self.slots[slot] = value
        self.cache.write(self.slots)


class Step(Protocol):
    """One event in a case."""

    @property
    def words(self) -> str: ...

    def act(self, page: PageInACase) -> None: ...


@dataclass(frozen=True)
class Later:
    seconds: int

    @property
    def words(self) -> str:
        return f"{self.seconds} s later"

    def act(self, page: PageInACase) -> None:
        page.cache.later(self.seconds)


class Origin(Enum):
    """The origin changes its behaviour from now on."""

    HEALTHY = "the origin answers again"
    FAILS = "the origin answers 500"
    CLOSED = "the origin is closed"
    REFUSES = "the origin refuses connections"
    GONE = "the page is gone (404)"

    @property
    def words(self) -> str:
        return self.value

    def act(self, page: PageInACase) -> None:
        origin, path = page.cache.origin, page.path
        _, headers = origin.pages[path]
        codes = {Origin.FAILS: 500, Origin.GONE: 404}
        origin.pages[path] = (codes.get(self, page.status), headers)
        origin.closed = self is Origin.CLOSED
        if self is Origin.REFUSES:
            origin.down()
        else:
            origin.up()


@dataclass(frozen=True)
class Claim:
    """A claim of so many seconds of grace is written. It is in force for `last` seconds, and holds for `hold`."""

    grace: int
    last: int = 1000
    hold: int = 0
    slot: str = "deploy0"

    @property
    def words(self) -> str:
        lasting = [f"for {self.last} s"] if self.last != Claim.last else []
        lasting += [f"on hold for {self.hold} s"] if self.hold else []
        whose = "support" if self.slot.startswith("support") else "a deploy"
        return f"{whose} claims {self.grace} s" + (f" ({', '.join(lasting)})" if lasting else "")

    def act(self, page: PageInACase) -> None:
        now = page.cache.now()
        hold_until = now + self.hold if self.hold else 0
        page.put(self.slot, Written(self.slot, now + self.last, self.grace, "abcd1234", hold_until).value())


@dataclass(frozen=True)
class Slot:
    """A value is written into a slot."""

    words: str
    text: str
    slot: str = "deploy0"

    def act(self, page: PageInACase) -> None:
        page.put(self.slot, self.text.format(until=page.cache.now() + 500))


@dataclass(frozen=True)
class Released:
    slot: str = "deploy0"

    @property
    def words(self) -> str:
        return "support's claim is released" if self.slot.startswith("support") else "the deploy's claim is released"

    def act(self, page: PageInACase) -> None:
        page.put(self.slot, FREE)


class Purge(Enum):
    SOFT = "soft purge"
    HARD = "hard purge"

    @property
    def words(self) -> str:
        return self.value

    def act(self, page: PageInACase) -> None:
        page.cache.purge(key_of(page.path), soft=self is Purge.SOFT)


@dataclass(frozen=True)
class Visit:
    """A visitor asks for the page."""

    expected: Got
    cookie: str = ""

    @property
    def words(self) -> str:
        return f"{'with a cookie: ' if self.cookie else ''}**{self.expected.words}**"

    def act(self, page: PageInACase) -> None:
        origin = page.cache.origin
        before = origin.count(page.path)
        got = page.cache.get(page.path, **({"Cookie": self.cookie} if self.cookie else {}))
        kind = "none" if got.status >= 500 else "same" if got.body in page.bodies else "new"
        page.bodies.add(got.body)
        # One that refuses connections can't tell.
        asked = origin.count(page.path) > before if origin.running else self.expected.asked
        told = (got.headers.get("retry-after"), got.headers.get("edgeguard-closed"))
        page.seen.append((self.expected, Got(got.status, kind, got.stale, asked, closed=told)))


# -- a case -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A new page, and the events that happen to it. `cache` is its Cache-Control."""

    name: str
    steps: tuple[Step, ...]
    cache: str = "max-age=10"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    outside: str = ""
    """Why nobody can promise that there is no error here; a cache may do better than another."""

    def run(self, cache: Cache) -> list[tuple[Got, Got]]:
        """Play the case. Returns, for each visitor, the answer that was due and the answer that came."""
        path = cache.origin.page(self.status, self.cache)
        cache.origin.pages[path][1].update({"Surrogate-Key": key_of(path)} | dict(self.headers))
        page = PageInACase(cache, path, self.status)
        cache.write({})
        Origin.HEALTHY.act(page)
        for step in self.steps:
            step.act(page)
        return page.seen

    def holds(self, cache: Cache) -> None:
        seen = self.run(cache)
        if self.outside and any(lost(*visit) == {Promise.NO_ERROR} for visit in seen):
            return
        assert [expected for expected, _ in seen] == [got for _, got in seen]


def key_of(path: str) -> str:
    return path.strip("/").replace("/", "-")
