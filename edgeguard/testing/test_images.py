"""Images that somebody wrote to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import ImageChanged, Unhealthy
from edgeguard.testing.acts import CLOSURE, closed_on, lock, opened
from edgeguard.testing.world import SERVERS

if TYPE_CHECKING:
    from edgeguard.cluster import Generation
    from edgeguard.testing.world import World


def change(world: World, generation: Generation) -> None:
    """Write to the image of this generation, on every server."""
    file = generation.image / "app" / "release"
    for server in SERVERS:
        world.shell(server, f"chmod 0644 {file} && printf patched > {file}")


def test_a_whole_image_differs_in_nothing(world: World) -> None:
    one = opened(world)
    assert list(world.cluster.differences(one)) == []


def test_differences_name_what_was_changed(world: World) -> None:
    one = opened(world)
    change(world, one)
    assert any("app/release" in said for said in world.cluster.differences(one))


def test_staging_refuses_an_image_that_is_not_as_it_was_built(world: World) -> None:
    one = opened(world)
    change(world, one)
    with pytest.raises(ImageChanged):
        world.cluster.stage(1, one)
    world.cluster.stage(1, one, whole=False)  # a person may accept it, and a rollback has to


def test_an_image_that_was_changed_on_its_way_is_never_staged(world: World) -> None:
    """It was changed where it was built, after the build."""
    lock(world)
    one = world.generation("one")
    file = one.image / "app" / "release"
    file.chmod(0o644)
    file.write_text("patched", encoding="utf-8")
    with pytest.raises(ImageChanged):
        world.cluster.stage(1, one)


def test_check_does_not_read_the_image(world: World) -> None:
    """While the cluster is closed only links and processes are looked at, whatever the image holds."""
    one = opened(world)
    change(world, one)
    world.cluster.check(one)


def test_a_release_whose_image_was_changed_can_be_put_back_if_it_is_healthy(world: World) -> None:
    """Whatever it holds now, visitors had it before the deploy."""
    one = opened(world)
    change(world, one)
    closed_on(world, world.generation("two"))
    world.cluster.swap(1, one.name)
    with pytest.raises(Unhealthy):
        world.again(start_timeout=1, health_path="/status?404").check(one)
    world.cluster.check(one)
    world.cluster.open(1, one.name)
    assert world.ask()[::2] == (200, "patched")
    world.cluster.close(1, CLOSURE)
