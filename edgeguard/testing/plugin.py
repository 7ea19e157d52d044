"""The suite's options for pytest. Every pytest run with edgeguard beside it loads this, so it does nothing else."""

from __future__ import annotations

import pytest

LOCAL = "local"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("edgeguard", "edgeguard's contract suite (pytest --pyargs edgeguard.testing)")
    group.addoption(
        "--edgeguard-driver",
        metavar="NAME",
        default=LOCAL,
        help="the driver to test, by its entry point in edgeguard.drivers (default: local)",
    )
    group.addoption(
        "--edgeguard-world",
        metavar="MODULE",
        help="the module whose class World gives the servers (default, for the driver local: edgeguard.testing.local)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a driver without a world at once, and not in each test."""
    if config.getoption("--edgeguard-driver") != LOCAL and not config.getoption("--edgeguard-world"):
        raise pytest.UsageError("--edgeguard-driver needs --edgeguard-world: the suite has a world for local only")
