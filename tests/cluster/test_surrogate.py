"""The headers of the local gate that tell the edge how long to keep an answer."""

from __future__ import annotations

import pytest

from edgeguard.cluster.local.surrogate import lasting

CEILING = 604_800


@pytest.mark.parametrize("status", [200, 304])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache-control": "max-age=1"}, "max-age=1, stale-if-error=604800"),
        ({"cache-control": "public, max-age=60, s-maxage=5"}, "max-age=5, stale-if-error=604800"),
        ({"cache-control": "max-age=60", "surrogate-control": "max-age=9"}, "max-age=9, stale-if-error=604800"),
        ({"cache-control": 'Max-Age="7"'}, "max-age=7, stale-if-error=604800"),
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "private, max-age=60"}, None),
        ({"cache-control": "no-store"}, None),
        ({"cache-control": "no-cache, max-age=60"}, None),
        ({"cache-control": "max-age=60, stale-if-error=30"}, None),
        ({"cache-control": "max-age=60", "set-cookie": "a=b"}, None),
    ],
)
def test_a_lifetime_is_given_the_ceiling_and_a_refusal_is_left_alone(
    status: int, headers: dict[str, str], expected: str | None
) -> None:
    found = lasting(
        status, [(name.encode(), name.encode(), value.encode()) for name, value in headers.items()], CEILING
    )
    assert (found.decode() if found else None) == expected


@pytest.mark.parametrize("status", [404, 500, 302])
def test_other_answers_are_left_alone(status: int) -> None:
    assert lasting(status, [(b"cache-control", b"Cache-Control", b"max-age=1")], CEILING) is None
