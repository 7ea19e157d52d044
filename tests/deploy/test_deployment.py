"""A deployment and the record: another process reads the facts there that a dead process knew."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from edgeguard.cluster import Generation, Runs
from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Phase, Record, StartedHook
from edgeguard.deploy.deployment import UNGUARDED, Deployment
from edgeguard.machine.signals import Stop
from tests.cluster.servers import Servers

if TYPE_CHECKING:
    from edgeguard.cluster import Cluster
    from edgeguard.environment import Environment

SAMPLES = Path(__file__).parent.parent / "cluster" / "samples"


def deployment(servers: Servers, name: str = "d1") -> Deployment:
    """A deployment that has these servers' record, and nothing else of an environment."""
    record = SharedRecord(cast("Cluster", servers), "rehearsal", lease=0.01)
    environment = cast("Environment", SimpleNamespace(record=lambda: record, cluster=servers))
    return Deployment(id=name, environment=environment, stop=Stop(), say=lambda *_, **__: None)


RUNS = Runs(Path("/image/app"), ("true",))


def locked(deploying: Deployment) -> Deployment:
    """The same, once it holds the lock."""
    deploying.generation = Generation(deploying.id, "abc", Path("/image"), RUNS)
    deploying.record.take(deploying.as_written(None))
    return deploying


def note(deploying: Deployment, **facts: Any) -> None:  # noqa: ANN401 (whatever JSON can say)
    """An act of the phase that is reached takes the record along to every server."""
    taken_along = deploying.note_reached(**facts)
    deploying.environment.cluster.write_record(deploying.epoch, taken_along)


def heir(servers: Servers) -> Deployment:
    """Another process, which goes on with the unfinished deploy on these servers."""
    found = deployment(servers)
    found.record.take_over(wait=lambda _: None, say=lambda _: None)
    found.continue_from(found.under_way)
    return found


def test_another_process_knows_what_the_record_has() -> None:
    servers = Servers()
    first = deployment(servers)
    first.ref, first.purge_keys, first.accept, first.changed = "v2", ("news", "sport"), (UNGUARDED,), True
    locked(first)
    first.reach(Phase.CLOSE)
    note(first, was_open=False)
    first.reach(Phase.HOOK)
    note(first, hook=StartedHook.new(server="web2"))

    second = heir(servers)

    assert (second.ref, second.purge_keys, second.guarded, second.changed) == ("v2", ("news", "sport"), False, True)
    assert (second.reached, second.closed, second.opened) == (Phase.HOOK, True, False)
    assert (second.was_open, second.hook_begun, second.hook_server) == (False, True, "web2")


def test_a_phase_that_an_earlier_run_has_reached_stays() -> None:
    servers = Servers()
    first = locked(deployment(servers))
    first.reach(Phase.OPEN)
    note(first)

    second = heir(servers)
    second.reach(Phase.CLOSE)
    note(second, was_open=True)

    assert second.opened
    assert second.under_way.phase is Phase.OPEN


@pytest.mark.parametrize(
    ("phase", "closed", "opened"),
    [
        (Phase.LOCK, False, False),
        (Phase.CLOSE, True, False),
        (Phase.HOOK, True, False),
        (Phase.OPEN, True, True),
        (Phase.COMMITTED, True, False),
    ],
)
def test_what_a_phase_says(phase: Phase, *, closed: bool, opened: bool) -> None:
    found = deployment(Servers())
    found.reach(phase)
    assert (closed, opened) == (found.closed, found.opened)


def test_the_hook_of_a_superseded_deploy_counts_as_begun() -> None:
    servers = Servers()
    first = locked(deployment(servers))
    first.reach(Phase.HOOK)
    note(first, hook=StartedHook.new(server="web1"))
    first.record.release()

    fix = deployment(servers, "d2")
    fix.generation = Generation("d2", "def", Path("/image"), RUNS)
    fix.record.take(fix.as_written(fix.record.look().deploy), instead_of="d1")

    assert (fix.hook_begun, fix.hook_server, fix.closed) == (True, None, False)
    assert fix.under_way.superseded is not None
    assert fix.under_way.superseded.hook_begun


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*killed*.json")), ids=lambda path: path.stem)
def test_a_deploy_that_an_older_edgeguard_left_can_be_gone_on_with(path: Path) -> None:
    """Each was killed while its hook ran on web1. Older edgeguards knew fewer keys."""
    content = json.loads(path.read_text(encoding="utf-8"))
    servers = Servers()
    servers.records = dict.fromkeys(servers.servers, content)
    left = Record.of(content).deploy

    found = heir(servers)

    assert left is not None
    assert (left.release, True) == (found.under_way.release, found.guarded)
    assert (found.reached, found.hook_server, found.was_open) == (Phase.HOOK, "web1", True)
    assert (found.changed, found.hook_begun) == (False, True)
