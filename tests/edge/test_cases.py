"""One table of cases holds on two caches that have nothing in common but the claims that edgeguard writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.edge import varnish
from tests.edge.cases import CASES
from tests.edge.scenarios import PASS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.play import Case
    from tests.edge.stage import Cache, Stage
    from tests.edge.varnish import Varnish


@pytest.fixture(scope="module")
def real_varnish() -> Iterator[Varnish]:
    missing = varnish.missing()
    if missing:
        sentence = f"Debian's {', '.join(missing)} not installed; scripts/test does that"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    with varnish.running() as running:
        yield running


@pytest.fixture
def played(stage: Stage) -> Stage:
    """The stand-in with the policy, for a service where requests with a cookie pass."""
    stage.install([*stage.policy(), PASS])
    return stage


@pytest.fixture(params=["played", "real_varnish"], ids=["stand-in", "varnish"])
def cache(request: pytest.FixtureRequest) -> Cache:
    found: Cache = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_holds(cache: Cache, case: Case) -> None:
    case.holds(cache)
