"""Deploys that never opened, and reports, don't pile up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.deploy.rehearsal import come_from, repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Rehearsal


def test_what_a_deploy_that_never_opened_left_goes_with_the_next_deploy(rehearsal: Rehearsal, tmp_path: Path) -> None:
    def staged() -> set[str]:
        return {path.name for path in (rehearsal.root / "servers" / "web2" / "generations").iterdir()}

    serves = {server["generation"] for server in rehearsal.status()["servers"]}
    state = tmp_path / "state"
    names, images = [], []
    for number in range(3):
        site = repository(tmp_path / f"r{number}", deploy=f"exit {number + 1}")
        few = {"EDGEGUARD_CLUSTER__KEEP_REPORTS": "2", **come_from(site)}
        ended = rehearsal.deploy("--state", str(state), **few)
        assert ended.code == 10, ended.err
        names.append(str(ended.report["deploy"]))
        images.append(len(list((rehearsal.root / "releases").glob("*/release.json"))))
    assert staged() & set(names) == {names[-1]}
    assert serves <= staged()
    assert images[2] == images[1] == images[0]
    assert len(list(state.rglob("journal.jsonl"))) == 2
