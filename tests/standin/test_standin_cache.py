from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.standin.beliefs import Beliefs
from edgeguard.standin.cache import (
    UNLIMITED,
    Cache,
    Freshness,
    Lifetime,
    Limits,
    Stored,
    freshness,
    lifetime,
    refreshed,
    surrogate_keys,
)

BELIEFS = Beliefs()
FRESH, SWR, SIE, DEAD = Freshness.FRESH, Freshness.SWR, Freshness.SIE, Freshness.DEAD


def stored(**fields: object) -> Stored:
    values: dict[str, object] = {
        "url": "h/a",
        "status": 200,
        "reason": "OK",
        "headers": (),
        "body": b"",
        "stored_at": 1000.0,
        "ttl": 10.0,
    }
    return Stored(**(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "own", "limits", "now"),
    [
        (FRESH, {"sie": 100.0}, Limits(), 1009.9),
        (SIE, {"sie": 100.0}, Limits(), 1010.0),
        (SIE, {"sie": 100.0}, Limits(), 1109.9),
        (DEAD, {"sie": 100.0}, Limits(), 1110.0),
        (DEAD, {}, Limits(), 1010.0),
        (SIE, {"sie": 100.0}, Limits(sie=50), 1059.9),
        (DEAD, {"sie": 100.0}, Limits(sie=50), 1060.0),
        (DEAD, {"sie": 100.0}, Limits(sie=500), 1110.0),
        (DEAD, {"sie": 100.0}, Limits(sie=0), 1010.0),
        (FRESH, {"sie": 100.0}, Limits(sie=0, swr=0), 1001.0),
        (SWR, {"sie": 100.0, "swr": 20.0}, Limits(), 1029.9),
        (SIE, {"sie": 100.0, "swr": 20.0}, Limits(), 1030.0),
        (SIE, {"sie": 100.0, "swr": 20.0}, Limits(swr=0), 1010.0),
        (SIE, {"sie": 100.0, "soft_purged_at": 1002.0}, Limits(), 1002.0),
        (SIE, {"sie": 100.0, "soft_purged_at": 1002.0}, Limits(sie=5), 1006.9),
        (DEAD, {"sie": 100.0, "soft_purged_at": 1002.0}, Limits(sie=5), 1007.0),
        (DEAD, {"soft_purged_at": 1002.0}, Limits(), 1002.0),
        (DEAD, {"sie": 100.0, "soft_purged_at": 1105.0}, Limits(), 1110.0),
    ],
)
def test_freshness(expected: Freshness, own: dict[str, float], limits: Limits, now: float) -> None:
    assert expected is freshness(stored(**own), limits, now, BELIEFS)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 2e6))
def test_a_request_can_only_lower_what_the_object_allows(own: float, limit: float, later: float) -> None:
    with_limit = freshness(stored(sie=own), Limits(sie=limit), 1000 + later, BELIEFS)
    without = freshness(stored(sie=own), Limits(sie=UNLIMITED), 1000 + later, BELIEFS)
    assert with_limit is without or (with_limit is DEAD and without is SIE)


def test_a_soft_purge_may_count_from_when_the_object_was_stored() -> None:
    purged = stored(sie=100.0, soft_purged_at=1008.0)
    other = Beliefs(soft_purge_starts_staleness=False)
    assert SIE is freshness(purged, Limits(sie=5), 1010, BELIEFS)
    assert DEAD is freshness(purged, Limits(sie=5), 1010, other)


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (Lifetime(None, None, None, 0.0), []),
        (Lifetime(60.0, None, None, 0.0), [("Cache-Control", "max-age=60")]),
        (Lifetime(70.0, None, None, 0.0), [("Cache-Control", "max-age=60, s-maxage=70")]),
        (Lifetime(80.0, None, None, 0.0), [("cache-control", "max-age=60"), ("Surrogate-Control", "max-age=80")]),
        (Lifetime(20.0, None, None, 10.0), [("Cache-Control", "max-age=30"), ("Age", "10")]),
        (Lifetime(0.0, None, None, 40.0), [("Cache-Control", "max-age=30"), ("Age", "40")]),
        (Lifetime(None, None, None, 0.0), [("Cache-Control", "no-cache, max-age=soon")]),
        (
            Lifetime(60.0, 5.0, 90.0, 0.0),
            [("Cache-Control", 'max-age=60, stale-while-revalidate=5, stale-if-error="90"')],
        ),
        (
            Lifetime(60.0, None, 7.0, 0.0),
            [("Cache-Control", "max-age=60, stale-if-error=90"), ("Surrogate-Control", "stale-if-error=7")],
        ),
        (
            Lifetime(30.0, None, None, 0.0),
            [
                ("Expires", "Thu, 01 Jan 1970 00:01:00 GMT"),
                ("Date", "Thu, 01 Jan 1970 00:00:30 GMT"),
                ("Age", "20"),
            ],
        ),
        (Lifetime(None, None, None, 0.0), [("Expires", "0")]),
    ],
)
def test_what_an_answer_says_of_its_lifetime(expected: Lifetime, headers: list[tuple[str, str]]) -> None:
    assert expected == lifetime(headers, 0.0)


def test_a_304_that_says_nothing_renews_everything() -> None:
    old = stored(sie=100.0, swr=5.0, age=3.0, soft_purged_at=1001.0, headers=(("ETag", "1"), ("X", "old")))
    new = refreshed(old, [("X", "new")], 2000.0, BELIEFS)
    assert (
        new.stored_at,
        new.ttl,
        new.swr,
        new.sie,
        new.age,
        new.soft_purged_at,
    ) == (2000.0, 10.0, 5.0, 100.0, 0.0, None)
    assert new.headers == (("ETag", "1"), ("X", "new"))


@pytest.mark.parametrize(("survives", "expected"), [(False, 0.0), (True, 100.0)])
def test_a_304_with_a_ttl_may_lose_what_vcl_fetch_set(*, survives: bool, expected: float) -> None:
    new = refreshed(stored(sie=100.0), [("Cache-Control", "max-age=60")], 2000.0, Beliefs(sie_survives_304=survives))
    assert (60.0, expected) == (new.ttl, new.sie)


@pytest.mark.parametrize("survives", [False, True])
def test_a_304_can_say_it_itself(*, survives: bool) -> None:
    said = [("Surrogate-Control", "max-age=60, stale-if-error=700")]
    assert refreshed(stored(sie=100.0), said, 2000.0, Beliefs(sie_survives_304=survives)).sie == 700.0


def test_purges() -> None:
    cache = Cache()
    for name in "abc":
        cache.put((1, name), stored(url=f"h/{name}", sie=50.0, surrogate_keys=frozenset({name, "all"})))
    assert cache.purge_keys(["a", "unknown"], soft=False, now=1001.0) == 1
    assert cache.get((1, "a")) is None
    assert cache.purge_keys(["all"], soft=True, now=1001.0) == 2
    assert cache.purge_keys(["all"], soft=True, now=1005.0) == 2
    soft = cache.get((1, "b"))
    assert soft is not None
    assert soft.soft_purged_at == 1001.0
    assert cache.purge_url("h/", soft=False, now=1001.0) == 0
    assert cache.purge_url("h/c", soft=False, now=1001.0) == 1
    cache.purge_all()
    assert (cache.generation, len(cache)) == (2, 0)


def test_the_least_recently_used_is_evicted() -> None:
    cache = Cache(capacity=2)
    cache.put((1, "a"), stored())
    cache.put((1, "b"), stored())
    cache.get((1, "a"))
    cache.put((1, "c"), stored())
    assert cache.get((1, "b")) is None
    assert cache.get((1, "a")) is not None


@pytest.mark.parametrize("survive", [True, False])
def test_a_304_with_surrogate_keys_of_its_own(*, survive: bool) -> None:
    """Those that vcl_fetch had added may be lost with it; one without keys changes none."""
    old = stored(surrogate_keys=frozenset({"a", "eg-00"}))
    beliefs = Beliefs(keys_survive_304=survive)
    assert refreshed(old, [("X", "new")], 2000.0, beliefs).surrogate_keys == {"a", "eg-00"}
    new = refreshed(old, [("Surrogate-Key", "a b")], 2000.0, beliefs)
    assert new.surrogate_keys == ({"a", "eg-00"} if survive else {"a", "b"})


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("", set()),
        ("a  b a", {"a", "b"}),
        (f"a {'k' * 1024} b", {"a", "k" * 1024, "b"}),
        (f"a {'k' * 1025} b", {"a"}),
        (f"a{' ' * 16_382}b c", {"a", "b"}),
        (f"a{' ' * 16_383}b c", {"a"}),
    ],
)
def test_surrogate_keys_end_at_the_first_that_is_too_long(header: str, kept: set[str]) -> None:
    assert surrogate_keys(header) == kept
