"""Images that were changed after they were built. Root can do that, and an application that runs as root."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeguard.cluster.host import images
from tests.deploy.rehearsal import come_from, repository, said, untouched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.deploy.rehearsal import Ended, Rehearsal

FILE = ".platform.app.yaml"


def serving(rehearsal: Rehearsal) -> Path:
    """The image that serves."""
    return (rehearsal.root / "servers" / "web1" / "current" / "image").readlink()


@contextmanager
def changed(image: Path, name: str) -> Iterator[None]:
    """A file of the image has one byte more while the block runs."""
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


def test_an_image_that_is_changed_while_closed_is_put_back_all_the_same(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Here the new release's hook changes the image of the old release, and then fails."""
    image = serving(rehearsal)
    file = image / "app" / FILE
    before, mode = file.read_bytes(), file.stat().st_mode
    ended = rehearsal.deploy_of(repository(tmp_path / "r", deploy=f"chmod u+w {file}; echo >> {file}; exit 1"))
    try:
        said(ended, 10, "the previous release serves again")
        assert f"app/{FILE} was changed" in warned(ended)
        assert image == serving(rehearsal)
    finally:
        file.write_bytes(before)
        file.chmod(mode)


def test_a_cluster_closed_by_hand_opens_with_an_image_that_was_changed(rehearsal: Rehearsal) -> None:
    closed = rehearsal.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "a patch by hand")
    with changed(serving(rehearsal), FILE):
        opened = rehearsal.run("cluster", "open", "rehearsal")
    assert (closed.code, opened.code) == (0, 0), closed.err + opened.err
    assert f"app/{FILE} was changed" in opened.err


def test_a_changed_image_that_serves_stops_a_deploy_until_a_person_accepts_it(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    site = repository(tmp_path / "r", deploy="exit 1")
    with changed(serving(rehearsal), FILE):
        refused = untouched(rehearsal, lambda: rehearsal.deploy_of(site))
        accepted = rehearsal.deploy_of(site, "--accept", "image-changed")
    said(refused, 4, f"app/{FILE} was changed", "which serves", "--accept image-changed")
    said(accepted, 10, "the previous release serves again")
    assert warned(accepted).count(f"app/{FILE} was changed") == 2  # before, and after it was put back


def test_a_changed_image_that_serves_can_t_be_built_anew_but_deployed_as_it_is(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    site = repository(tmp_path / "r", deploy="sleep 0.5")
    assert rehearsal.deploy_of(site).code == 0
    image = serving(rehearsal)
    with changed(image, FILE):
        refused = untouched(rehearsal, lambda: rehearsal.deploy_of(site))
        lease = {"EDGEGUARD_CLUSTER__LEASE": "1"}
        deploy = rehearsal.start(
            "deploy", "rehearsal", "--json", "--accept", "image-changed", **lease, **come_from(site)
        )
        deploy.begins("hook")
        deploy.process.send_signal(signal.SIGKILL)
        deploy.end()
        resumed = rehearsal.run("resume", "rehearsal", "--json", **lease)
    said(refused, 4, f"app/{FILE} was changed", "a commit that changes the tree", "--accept image-changed")
    assert resumed.code == 0, resumed.err
    assert image == serving(rehearsal)


def test_a_changed_image_that_nobody_uses_is_built_anew_but_not_gone_back_to_unseen(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    one, two = repository(tmp_path / "one"), repository(tmp_path / "two", deploy="echo two")
    name = rehearsal.deploy_of(one).report["deploy"]
    image = serving(rehearsal)
    assert rehearsal.deploy_of(two).code == 0
    with changed(image, FILE):
        refused = untouched(rehearsal, lambda: rehearsal.run("rollback", "rehearsal", "--json", "--to", name))
        anew = rehearsal.deploy_of(one)
        assert images.verify(image) == []
    said(refused, 4, f"app/{FILE} was changed", "--accept image-changed")
    assert anew.code == 0, anew.err
    assert image == serving(rehearsal)
