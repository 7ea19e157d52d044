"""The headers of the local gate that tell the edge how long to keep an answer."""

from __future__ import annotations

import pytest

from edgeguard.cluster.local.surrogate import lasting
from tests.cluster.surrogate_cases import CEILING, LASTING, OTHERS


@pytest.mark.parametrize("status", [200, 304])
@pytest.mark.parametrize(("headers", "expected"), LASTING)
def test_a_lifetime_is_given_the_ceiling_and_a_refusal_is_left_alone(
    status: int, headers: dict[str, str], expected: str | None
) -> None:
    found = lasting(
        status, [(name.encode(), name.encode(), value.encode()) for name, value in headers.items()], CEILING
    )
    assert (found.decode() if found else None) == expected


@pytest.mark.parametrize("status", OTHERS)
def test_other_answers_are_left_alone(status: int) -> None:
    assert lasting(status, [(b"cache-control", b"Cache-Control", b"max-age=1")], CEILING) is None
