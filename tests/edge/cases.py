"""The table of cases for every cache: the stand-in with the policy, and a Varnish with its own VCL.

A page may be cached for 10 s unless its case says otherwise; base and ceiling are those of tests/edge/standin_edge.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.edge.case import (
    CLOSED_500,
    FAILED,
    HELD,
    NEW,
    REFUSED,
    RENEWED,
    SAME,
    SHORT,
    STALE,
    Case,
    Claim,
    Got,
    Later,
    Origin,
    Purge,
    Released,
    Slot,
    Visit,
)
from tests.edge.standin_edge import CEILING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.edge.case import Step


def case(
    name: str,
    *steps: Step,
    cache: str = "max-age=10",
    headers: Mapping[str, str] | None = None,
    status: int = 200,
    outside: str = "",
) -> Case:
    return Case(name, steps, cache, headers or {}, status, outside)


ETAG = {"ETag": '"1"'}
FIRST = Visit(NEW)


def first_of(status: int) -> Visit:
    return Visit(replace(NEW, status=status, words=f"the origin's {status}"))


VISITOR = "session=1"
"""A cookie: this request passes."""

CASES = (
    # -- no claim
    case("fresh", FIRST, Later(5), Origin.REFUSES, Visit(SAME)),
    case("stale and healthy", FIRST, Later(15), Visit(NEW), Visit(SAME)),
    case("stale and 5xx", FIRST, Later(40), Origin.FAILS, Visit(STALE), Visit(STALE)),
    case("stale and closed", FIRST, Later(40), Origin.CLOSED, Visit(STALE), Origin.HEALTHY, Visit(NEW)),
    case("stale and refused", FIRST, Later(40), Origin.REFUSES, Visit(STALE), Origin.HEALTHY, Visit(NEW)),
    case("stale and 404", FIRST, Later(40), Origin.GONE, Visit(Got(404, "new", None, True, "the origin's 404"))),
    case("stale and 5xx, with a validator", FIRST, Later(40), Origin.FAILS, Visit(STALE), headers=ETAG),
    case("stale and refused, with a validator", FIRST, Later(40), Origin.REFUSES, Visit(STALE), headers=ETAG),
    case("beyond the grace", FIRST, Later(75), Origin.FAILS, Visit(FAILED), Origin.HEALTHY, Visit(NEW)),
    case("beyond the grace and closed", FIRST, Later(75), Origin.CLOSED, Visit(SHORT), Origin.HEALTHY, Visit(NEW)),
    case("beyond the grace and refused", FIRST, Later(75), Origin.REFUSES, Visit(REFUSED)),
    case("cold and 5xx", Origin.FAILS, Visit(FAILED)),
    case("cold and closed", Origin.CLOSED, Visit(SHORT)),
    case("cold and refused", Origin.REFUSES, Visit(REFUSED)),
    # -- claims
    case(
        "raised and lowered again",
        *(FIRST, Later(100), Origin.CLOSED, Claim(300), Visit(STALE), Released(), Visit(SHORT)),
        *(Claim(300), Visit(STALE), Origin.HEALTHY, Visit(NEW)),
    ),
    case("raised after the failure", FIRST, Later(100), Origin.CLOSED, Visit(SHORT), Claim(300), Visit(STALE)),
    case("raised, with a validator", FIRST, Later(100), Origin.CLOSED, Claim(300), Visit(STALE), headers=ETAG),
    case("raised and refused", FIRST, Later(100), Origin.REFUSES, Claim(300), Visit(STALE)),
    case(
        "raised and refused, with a validator",
        *(FIRST, Later(100), Origin.REFUSES, Claim(300), Visit(STALE)),
        headers=ETAG,
    ),
    case("beyond the claim", FIRST, Later(320), Origin.CLOSED, Claim(300), Visit(SHORT)),
    case(
        "a claim that ends by itself",
        *(FIRST, Later(100), Origin.CLOSED, Claim(300, last=50), Visit(STALE), Later(51), Visit(SHORT)),
        *(Claim(300, last=50, slot="support1"), Visit(STALE), Later(51), Visit(SHORT)),
    ),
    case(
        "a deploy's claim and support's",
        *(FIRST, Later(100), Origin.CLOSED, Claim(300, slot="support8"), Claim(200, slot="deploy1")),
        *(Released("deploy1"), Visit(STALE), Claim(200), Released("support8"), Visit(STALE), Released(), Visit(SHORT)),
    ),
    case("a claim below the base", FIRST, Later(40), Origin.CLOSED, Claim(1), Claim(1, slot="support1"), Visit(STALE)),
    case(
        "garbage in a slot",
        *(FIRST, Later(40), Origin.CLOSED, Slot("garbage is written", "{until}:300:abcd"), Visit(STALE), Later(60)),
        *(Slot("other garbage", "x{until}:300:0000000000:abcd"), Visit(SHORT)),
        *(Slot("a claim for ever", "9999999999:300:9999999999:abcd"), Visit(SHORT)),
    ),
    # -- what is stored
    case("up to the ceiling", FIRST, Later(CEILING - 60), Origin.CLOSED, Claim(CEILING), Visit(STALE)),
    case("beyond the ceiling", FIRST, Later(CEILING + 40), Origin.CLOSED, Claim(2 * CEILING), Visit(SHORT)),
    case(
        "beyond the object's own limit",
        *(FIRST, Later(20), Origin.CLOSED, Claim(300), Visit(STALE), Later(20), Visit(SHORT)),
        *(Origin.HEALTHY, Visit(NEW)),
        cache="max-age=10, stale-if-error=20",
    ),
    case(
        "beyond the object's own limit, for caches alone",
        *(FIRST, Later(20), Origin.CLOSED, Claim(300), Visit(STALE), Later(20), Visit(SHORT)),
        headers={"Surrogate-Control": "max-age=10, stale-if-error=20"},
    ),
    case(
        "an object's own limit beyond the base",
        *(FIRST, Later(1000), Origin.CLOSED, Claim(CEILING), Visit(STALE)),
        cache="max-age=10, stale-if-error=100",
    ),
    case(
        "a redirect",
        *(first_of(301), Later(100), Origin.CLOSED, Claim(300), Visit(replace(STALE, status=301))),
        status=301,
    ),
    case("a 404", first_of(404), Later(15), Origin.CLOSED, Visit(SHORT), status=404),
    case("private", FIRST, Origin.CLOSED, Claim(300), Visit(SHORT), cache="max-age=10, private"),
    case("no-store", FIRST, Later(15), Origin.CLOSED, Claim(300), Visit(SHORT), cache="max-age=10, no-store"),
    case("no-cache", FIRST, Later(15), Origin.CLOSED, Claim(300), Visit(SHORT), cache="no-cache, max-age=10"),
    case(
        "no-cache for browsers alone",
        *(FIRST, Later(100), Origin.CLOSED, Claim(300), Visit(STALE)),
        cache="no-cache",
        headers={"Surrogate-Control": "max-age=10"},
    ),
    case(
        "a refusal in a second header",
        *(FIRST, Later(15), Origin.CLOSED, Claim(300), Visit(SHORT)),
        cache="max-age=10\nprivate",
    ),
    case(
        "an object's own limit in a second header",
        *(FIRST, Later(20), Origin.CLOSED, Claim(300), Visit(STALE), Later(20), Visit(SHORT)),
        cache="max-age=10\nstale-if-error=20",
    ),
    case(
        "an object's own limit in quotes",
        *(FIRST, Later(20), Origin.CLOSED, Claim(300), Visit(STALE), Later(20), Visit(SHORT)),
        cache='max-age=10, stale-if-error="20"',
    ),
    case("a cookie in the answer", FIRST, Origin.CLOSED, Claim(300), Visit(SHORT), headers={"Set-Cookie": "a=b"}),
    # -- hold
    case(
        "hold",
        *(FIRST, Later(15), Claim(300, hold=100), Visit(HELD), Origin.CLOSED, Visit(HELD), Origin.REFUSES),
        *(Visit(HELD), Released(), Claim(300, hold=100, slot="deploy1"), Visit(HELD)),
    ),
    case("hold, with a validator", FIRST, Later(15), Origin.CLOSED, Claim(300, hold=100), Visit(HELD), headers=ETAG),
    case("hold and fresh", FIRST, Claim(300, hold=100), Origin.CLOSED, Visit(SAME)),
    case("hold with a cold object", Claim(300, hold=100), FIRST),
    case("hold with a cold object, closed", Claim(300, hold=100), Origin.CLOSED, Visit(SHORT)),
    case("hold beyond the grace", FIRST, Later(320), Claim(300, hold=100), Visit(NEW)),
    case("hold beyond the grace, closed", FIRST, Later(320), Origin.CLOSED, Claim(300, hold=100), Visit(SHORT)),
    case("a hold that ends", FIRST, Later(15), Origin.CLOSED, Claim(300, hold=20), Later(21), Visit(STALE)),
    case(
        "a hold that would last too long",
        *(FIRST, Later(15), Origin.CLOSED, Claim(300, last=5000, hold=3700), Visit(STALE), Later(110), Visit(HELD)),
    ),
    case("a hold that outlasts its claim", FIRST, Later(15), Claim(300, last=20, hold=500), Later(21), Visit(NEW)),
    # -- purges
    case("soft purge", FIRST, Purge.SOFT, Visit(NEW)),
    case("soft purge and 5xx", FIRST, Purge.SOFT, Origin.FAILS, Visit(STALE), Later(75), Visit(FAILED)),
    case("soft purge and hold", FIRST, Purge.SOFT, Origin.CLOSED, Claim(300, hold=100), Visit(HELD)),
    case(
        "soft purge of a page with a long TTL",
        *(FIRST, Later(500), Purge.SOFT, Origin.CLOSED, Later(40), Visit(STALE), Claim(300), Visit(STALE)),
        cache="max-age=1000",
        outside="a page that somebody purged and nobody fetched since may count as stale since it was stored",
    ),
    case("hard purge", FIRST, Purge.HARD, Visit(NEW)),
    case("hard purge and 5xx", FIRST, Purge.HARD, Origin.FAILS, Claim(300, hold=100), Visit(FAILED)),
    # -- pass
    case("pass", FIRST, Visit(NEW, VISITOR), Visit(NEW, VISITOR), Visit(SAME)),
    case(
        "pass while closed",
        *(FIRST, Later(15), Claim(300, hold=100), Origin.CLOSED, Visit(CLOSED_500, VISITOR)),
        *(Origin.REFUSES, Visit(REFUSED, VISITOR), Visit(HELD)),
    ),
    # -- 304
    case(
        "304",
        *(FIRST, Later(15), Visit(RENEWED), Visit(SAME), Later(100), Origin.CLOSED, Visit(SHORT)),
        *(Claim(300), Visit(STALE)),
        cache="max-age=1",
        headers=ETAG | {"Surrogate-Control": f"max-age=10, stale-if-error={CEILING}"},
    ),
    case(
        "304 without stale-if-error",
        *(FIRST, Later(15), Visit(RENEWED), Later(15), Origin.CLOSED, Visit(STALE)),
        headers=ETAG,
        outside="a 304 is not the policy's to judge: the origin's answer has to carry the stale-if-error",
    ),
)
