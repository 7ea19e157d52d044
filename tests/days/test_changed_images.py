"""Images that were written to after they were built, as root can, and an application that runs as root."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.days.world import repository, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.days.world import Ended, World


def serving(world: World) -> Path:
    """The image that serves."""
    return (world.root / "servers" / "web1" / "current" / "image").readlink()


@contextmanager
def changed(image: Path, name: str) -> Iterator[None]:
    """One byte more in a file of it, for as long as this lasts."""
    file = image / "app" / name
    before, mode = file.read_bytes(), file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(before + b"\n")
    file.chmod(mode)
    try:
        yield
    finally:
        file.chmod(0o644)
        file.write_bytes(before)
        file.chmod(mode)


def warned(ended: Ended) -> str:
    events = map(json.loads, ended.out.splitlines())
    return "\n".join(event["text"] for event in events if event["event"] == "warning")


def test_an_image_that_is_changed_while_closed_is_put_back_all_the_same(world: World, tmp_path: Path) -> None:
    """Here by the hook of the release that comes, which then fails."""
    image = serving(world)
    file = image / "app" / ".platform.app.yaml"
    before, mode = file.read_bytes(), file.stat().st_mode
    ended = world.deploy_of(repository(tmp_path / "r", deploy=f"chmod u+w {file}; echo >> {file}; exit 1"))
    try:
        said(ended, 10, "the previous release serves again")
        assert "app/.platform.app.yaml was changed" in warned(ended)
        assert image == serving(world)
    finally:
        file.write_bytes(before)
        file.chmod(mode)


def test_a_cluster_closed_by_hand_opens_with_an_image_that_was_changed(world: World) -> None:
    closed = world.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "a patch by hand")
    with changed(serving(world), ".platform.app.yaml"):
        opened = world.run("cluster", "open", "rehearsal")
    assert (closed.code, opened.code) == (0, 0), closed.err + opened.err
    assert "app/.platform.app.yaml was changed" in opened.err
