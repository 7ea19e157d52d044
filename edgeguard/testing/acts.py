"""The acts of a deploy, as the suite's tests do them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster import Closure
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.cluster import Cluster, Generation, HookResult
    from edgeguard.testing.world import World

CLOSURE = Closure("d-closing", 4_000_000_000.0)


def lock(world: World, epoch: int = 1) -> int:
    """Take the lock, as a deploy does."""
    world.cluster.write_record(epoch, {"version": 1}, expected=epoch - 1)
    return epoch


def deploy(world: World, epoch: int, generation: Generation, cluster: Cluster | None = None) -> None:
    """All that a deploy does to a cluster (the world's own, if no other is given), but the hook."""
    cluster = cluster or world.cluster
    cluster.stage(epoch, generation)
    cluster.stop_tasks(epoch)
    cluster.close(epoch, CLOSURE)
    cluster.drain(epoch, 5)
    cluster.swap(epoch, generation.name)
    cluster.check(generation)
    cluster.open(epoch, generation.name)


def opened(world: World, **hooks: str) -> Generation:
    """Let the servers serve the generation `one`, under epoch 1, with these hooks."""
    lock(world)
    one = world.generation("one", hooks=hooks)
    deploy(world, 1, one)
    return one


def closed_on(world: World, generation: Generation) -> None:
    """Close and drain, and make a generation current. The caller holds epoch 1."""
    world.cluster.stage(1, generation)
    world.cluster.close(1, CLOSURE)
    world.cluster.drain(1, 5)
    world.cluster.swap(1, generation.name)


def closed_with(world: World, script: str, variables: Mapping[str, str] | None = None) -> None:
    """Take the lock, and make the generation `one` current, whose deploy hook is this script."""
    lock(world)
    closed_on(world, world.generation("one", hooks={"deploy": script}, variables=variables))


def run_hook(world: World, server: str = "web1", *, limit: float = 60) -> HookResult:
    """Run the deploy hook, to its end."""
    return world.cluster.run_hook(1, "deploy", server, limit=limit, cancelled=never)


def states(world: World) -> list[tuple[str | None, str | None, str | None, bool]]:
    """Of each server: its generation and release, the release that runs, and whether it is open."""
    return [(state.generation, state.release, state.running, state.open) for state in world.cluster.state()]


def on_all(record: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """What `read_record` returns where every server has this record."""
    return dict.fromkeys(SERVERS, record)


def never() -> bool:
    """Nobody cancels."""
    return False
