"""The suite finds each driver that breaks a promise, and the test that fails says which promise it is."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

import tests.contracts.broken_beyond  # noqa: F401 (it adds to BROKEN)
from edgeguard.errors import EdgeguardError
from edgeguard.testing import suite
from tests.contracts.broken_drivers import BROKEN, BrokenWorld

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contracts.broken_drivers import Test

CASES = [(promise, test) for promise, case in BROKEN.items() for test in case.tests]


@pytest.mark.parametrize(
    ("promise", "test"), CASES, ids=[f"{promise}-{test.__name__}".replace(" ", "-") for promise, test in CASES]
)
def test_a_driver_that_breaks_a_promise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: str, test: Test
) -> None:
    case = BROKEN[promise]
    for name in ("FASTLY_API_TOKEN", "EDGEGUARD_CANARY"):
        monkeypatch.setenv(name, "canary-7d1f")
    values = {name: value for name, value in case.values.items() if name in inspect.signature(test).parameters}
    world = BrokenWorld("local", tmp_path)
    world.kind = case.driver
    with world, pytest.raises((AssertionError, pytest.fail.Exception, EdgeguardError)):
        test(world, **values)


def test_each_test_of_the_suite_is_shown_to_fail() -> None:
    tests = {test for name, test in vars(suite).items() if name.startswith("test_")}
    shown = {test for case in BROKEN.values() for test in case.tests}
    in_another_process = {suite.test_a_hook_outlives_a_caller_that_is_killed}  # which loads the driver by its name
    assert tests - shown == in_another_process
