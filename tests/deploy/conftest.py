"""One world for all bad days. Each test has to leave it whole."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deploy.rehearsal import EDGEGUARD, World, furnished, line

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bad-days")
    command = [*EDGEGUARD, "rehearse", "--stay", "--json", "--hook-seconds", "1", "--after-hook-failure", "rollback"]
    with (folder / "stderr").open("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            ready = json.loads(line(process, 60) or (folder / "stderr").read_text())
            yield furnished(ready, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    """The world, which a test has to leave as it was: open, on one release, with nobody's lock and the base grace."""
    yield _world
    try:
        _left_whole(_world)
    except BaseException:
        _world.rescue()
        raise
    _world.commands.clear()


def _left_whole(world: World) -> None:
    after = world.status()
    assert after["lock"] is None
    assert after["deploy"] is None
    assert [server["open"] for server in after["servers"]] == [True] * 3
    assert len({server["release"] for server in after["servers"]}) == 1
    assert [server["release"] for server in after["servers"]] == [server["running"] for server in after["servers"]]
    assert after["grace"]["in_force"] == after["grace"]["base"]
    for path in world.state.rglob("*.jsonl"):
        content = path.read_text()
        assert not [secret for secret in world.secrets if secret in content], path
