"""A deploy of a service that may not carry VCL. Its own stale-if-error alone keeps its visitors served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.story.rehearsal import rehearsing, until, visitor

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_deploy_claims_nothing_and_says_so_and_visitors_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rehearsing(tmp_path, "--hook-seconds", "1") as rehearsal:
        monkeypatch.setenv("EDGEGUARD_EDGE__MECHANISM", "settings")
        state = tmp_path / "state"
        refused = rehearsal.edgeguard("deploy", "rehearsal", "--state", state)
        assert refused.code == 4
        assert "general.stale_if_error is off" in refused.said
        assert (refused.last["grace"]["mechanism"], refused.last["grace"]["base"]) == ("settings", 7 * 86_400)
        assert rehearsal.edgeguard("edge", "install", "rehearsal").last["changed"] is True
        before = len(rehearsal.history())
        with visitor(rehearsal.ready["edge_url"]) as anonymous:
            until(lambda: len(anonymous.answers) > 50)  # each page twice: the edge has a copy of it
            deploy = rehearsal.edgeguard("deploy", "rehearsal", "--state", state)
            seen = len(anonymous.answers)
            until(lambda: len(anonymous.answers) > seen + 50)
        asked = rehearsal.history()[before:]

        assert deploy.code == 0, deploy.said
        assert {answer.status for answer in anonymous.answers} == {200}
        assert [row for row in asked if row["method"] in ("PATCH", "PUT", "DELETE")] == []
        grace = deploy.last["grace"]
        assert (grace["mechanism"], grace["claimed"], grace["nodes"]) == ("settings", None, [])
        [warning] = [
            event["text"] for event in deploy.events if event["event"] == "warning" and "claim" in event["text"]
        ]
        assert "nothing can be confirmed" in warning
