"""Going back: `rollback` may be repeated, `--to` and `--deploy` name their target, and what can be gone back to stays
on the servers."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

from tests.deploy.rehearsal import come_from, commit, repository, said, untouched
from tests.deploy.test_healthy import answering
from tests.deploy.test_recovery import LEASE, elsewhere, killed, releases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.rehearsal import Ended, Rehearsal


def answered(ended: Ended) -> dict[str, Any]:
    """The one object that a rollback prints if it had nothing to do."""
    assert ended.code == 0, ended.err
    content: dict[str, Any] = json.loads(ended.out)
    return content


def back(rehearsal: Rehearsal, *arguments: str, **variables: str) -> Ended:
    return rehearsal.run("rollback", "rehearsal", "--json", *arguments, **LEASE, **variables)


def deployed(rehearsal: Rehearsal, *arguments: str, **variables: str) -> dict[str, Any]:
    """The report of a deploy that ended well."""
    ended = rehearsal.deploy(*arguments, **variables)
    assert ended.code == 0, ended.err
    return ended.report


def greeting(text: str) -> dict[str, str]:
    """The environment of a runner that has the value of a variable."""
    return {
        "EDGEGUARD_APPLICATION__VARIABLES": json.dumps({"env:GREETING": {"from_env": "THE_GREETING"}}),
        "THE_GREETING": text,
    }


def variables_of(rehearsal: Rehearsal, generation: str) -> dict[str, str]:
    """The variables of a generation that is on a server."""
    path = rehearsal.root / "servers" / "web2" / "generations" / generation / "variables.json"
    content: dict[str, str] = json.loads(path.read_text())
    return content


def test_a_release_that_is_deployed_twice_can_be_gone_back_from(rehearsal: Rehearsal, tmp_path: Path) -> None:
    [first] = releases(rehearsal)
    site = come_from(repository(tmp_path / "r", build=": a tree that no other test has"))
    new = deployed(rehearsal, **site)["release"]
    twice = rehearsal.run("deploy", "rehearsal", **site)
    unchanged = untouched(rehearsal, lambda: rehearsal.deploy("--if-changed", **site))
    bare = untouched(rehearsal, lambda: back(rehearsal))
    ended = back(rehearsal, "--to", first[:9])
    again = untouched(rehearsal, lambda: back(rehearsal, "--to", first))
    told = rehearsal.run("history", "rehearsal").out.splitlines()
    marked = [line[0] for line in told if not line.startswith("    ")]

    assert twice.code == 0, twice.err
    assert "it serves already" in twice.err
    assert (unchanged.code, unchanged.report["unchanged"]) == (0, True), unchanged.err
    assert [phase["name"] for phase in unchanged.report["phases"]] == ["build"]
    assert answered(bare)["release"] == new
    assert first in [each["release"] for each in answered(bare)["releases"]]
    assert (ended.code, ended.report["outcome"]) == (0, "rolled-back"), ended.err
    assert releases(rehearsal) == {first}
    assert answered(again)["serves"] is True
    assert max(map(len, told)) <= 80
    assert marked[-4:] == [" ", "*", " ", "*"]  # once, twice, back; and the word on the star


def test_the_same_release_as_another_user_is_a_change(rehearsal: Rehearsal, tmp_path: Path) -> None:
    site = come_from(repository(tmp_path / "r", build=": a tree that is served as its user"))
    deployed(rehearsal, **site)
    named = {"EDGEGUARD_CLUSTER__USER": pwd.getpwuid(os.geteuid()).pw_name}
    changed = deployed(rehearsal, "--if-changed", **site, **named)
    unchanged = untouched(rehearsal, lambda: rehearsal.deploy("--if-changed", **site, **named))
    assert rehearsal.status()["servers"][0]["generation"] == changed["deploy"]
    assert (unchanged.code, unchanged.report["unchanged"]) == (0, True), unchanged.err


def test_two_releases_back_with_the_variables_of_then_and_no_image_on_this_machine(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    site = repository(tmp_path / "r")
    hello = deployed(rehearsal, **come_from(site), **greeting("hello"))
    goodbye = deployed(rehearsal, **come_from(site), **greeting("goodbye"))
    (site / "page.txt").write_text("another page")
    commit(site)
    third = deployed(rehearsal, "--if-changed", **come_from(site), **greeting("goodbye"))
    unclear = back(rehearsal, "--to", hello["release"])
    unknown = back(rehearsal, "--to", "f00d")
    ended = back(rehearsal, "--to", hello["deploy"])
    serves = variables_of(rehearsal, rehearsal.status()["servers"][1]["generation"])
    idle = untouched(rehearsal, lambda: back(rehearsal, "--deploy", third["deploy"]))
    exact = back(rehearsal, "--deploy", ended.report["deploy"])

    assert hello["release"] == goodbye["release"] != third["release"]
    said(unclear, 2, "more than one release", hello["deploy"], goodbye["deploy"])
    said(unknown, 2, "f00d", "is kept", goodbye["deploy"])
    assert ended.code == 0, ended.err
    assert serves["GREETING"] == "hello"
    assert "does not serve" in rehearsal.run("rollback", "rehearsal", "--deploy", third["deploy"]).out
    assert answered(idle)["release"] in {hello["release"], third["release"]}
    assert exact.code == 0, exact.err
    assert exact.report["release"] == third["release"]  # the release before the one that was gone back to


def test_a_retried_job_and_then_a_rollback(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """A deploy died in its hook, and its rollback is repeated; another one died after its commit."""
    before, site = releases(rehearsal), repository(tmp_path / "r")
    name = killed(rehearsal, "hook", site)
    other = untouched(rehearsal, lambda: back(rehearsal, "--deploy", "20260101-000000-0000"))
    refused = untouched(rehearsal, lambda: back(rehearsal, "--to", "2"))
    undone = back(rehearsal, "--deploy", name)
    repeated = untouched(rehearsal, lambda: back(rehearsal))

    assert answered(other)["unfinished"] == name
    assert refused.code in (2, 3), refused.err
    assert (undone.code, undone.report["deploy"]) == (0, name), undone.err
    assert releases(rehearsal) == before
    assert answered(repeated)["unfinished"] is None

    name = killed(rehearsal, "purge", site)
    finished = elsewhere(rehearsal, tmp_path, "rollback")
    new = releases(rehearsal)
    exact = back(rehearsal, "--deploy", name)

    assert (finished.code, finished.report["outcome"]) == (0, "deployed"), finished.err
    assert '"event": "serves"' in finished.out
    assert new != before
    assert exact.code == 0, exact.err
    assert releases(rehearsal) == before


def test_as_many_releases_stay_as_are_to_be_kept(rehearsal: Rehearsal, tmp_path: Path) -> None:
    two, site = {"EDGEGUARD_CLUSTER__KEEP_RELEASES": "2"}, repository(tmp_path / "r")
    [first] = releases(rehearsal)
    middle = deployed(rehearsal, **two, **come_from(site))
    failing = repository(tmp_path / "failing", deploy="exit 1")
    assert rehearsal.deploy_of(failing, **two).code == 10
    (site / "page.txt").write_text("a page of its own")
    commit(site)
    last = deployed(rehearsal, **two, **come_from(site))
    there = {path.name for path in (rehearsal.root / "servers" / "web1" / "generations").iterdir()}
    images = {json.loads(path.read_text())["digest"] for path in rehearsal.root.glob("releases/*/release.json")}
    gone = back(rehearsal, "--to", first)

    assert there == {middle["deploy"], last["deploy"]}
    assert images == {middle["release"], last["release"]}
    said(gone, 2, first[:12], middle["deploy"])


def test_a_sick_release_that_has_committed_makes_room_for_the_one_before(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before, sick = releases(rehearsal), tmp_path / "sick"
    site = answering(repository(tmp_path / "r"), f"500 if os.path.exists({str(sick)!r}) else 200")
    name = killed(rehearsal, "purge", site)
    sick.touch()
    short = {"EDGEGUARD_EDGE__HEALTHY_TIMEOUT": "0.5"}
    status = rehearsal.run("status", "rehearsal").out
    bare = back(rehearsal, **short)
    told = back(rehearsal, "--deploy", name, **short)
    ended = back(rehearsal, "--deploy", name, "--accept", "origins-sick", EDGEGUARD_EDGE__HEALTHY_TIMEOUT="2")

    assert f"rollback rehearsal --deploy {name}" in status
    said(bare, 11, "has committed, but", f"edgeguard rollback rehearsal --deploy {name}")
    said(told, 4, "--accept origins-sick")
    assert ended.code == 0, ended.err
    assert releases(rehearsal) == before
