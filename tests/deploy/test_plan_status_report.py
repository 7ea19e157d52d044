"""The commands `plan`, `status` and `report`, and the purge of a deploy."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.deploy.rehearsal import SERVER, Rehearsal, come_from, commit, repository, untouched

if TYPE_CHECKING:
    from pathlib import Path


def test_plan_names_every_phase_and_touches_nothing(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.run("plan", "rehearsal", "--json"))
    assert ended.code == 0, ended.err
    phases = [phase["name"] for phase in json.loads(ended.out)["phases"]]
    assert phases == [
        *("build", "lock", "preflight", "stage", "claim", "stop-tasks", "close", "drain", "swap", "hook"),
        *("check", "open", "healthy", "purge", "release", "post-deploy"),
    ]
    text = rehearsal.run("plan", "rehearsal").out
    assert phases == [line.split()[0] for line in text.splitlines() if not line.startswith(" ")]
    assert not (rehearsal.state / "plan").exists()


def test_what_changed_decides_what_is_purged(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """With rules, the plan names the keys before, and the report has the edge's ids. Without a rule: every page."""
    rules = [{"path": "content/{name}.md", "keys": ["text", "text-{name}"]}, {"path": "server.py", "keys": []}]
    by_rules = {"EDGEGUARD_PURGE__RULES": json.dumps(rules), "EDGEGUARD_PURGE__PACE": "0", **no_release_key(rehearsal)}
    site = repository(tmp_path / "r")
    assert rehearsal.deploy().code == 0  # another site, with files that no rule is about
    first = rehearsal.deploy_of(site, **by_rules)
    assert first.code == 0, first.err
    assert first.report["purged"]["requests"] == 32
    assert any("no rule is about " in reason for reason in first.report["purged"]["reasons"])
    (site / "content").mkdir()
    (site / "content" / "sea.md").write_text("The sea")
    (site / "server.py").write_text(SERVER + "\n")
    commit(site)
    plan = rehearsal.run("plan", "rehearsal", "--purge-key", "own", **come_from(site), **by_rules).out
    second = rehearsal.deploy_of(site, **by_rules)
    assert second.code == 0, second.err
    purged = second.report["purged"]
    assert purged["reasons"] == ["content/sea.md changed: text, text-sea", "server.py changed: no key"]
    assert (purged["keys"], purged["requests"], len(purged["ids"])) == (2, 1, 2)
    assert rehearsal.writes()[-2]["keys"] == ["text", "text-sea"]
    assert "content/sea.md changed: text, text-sea" in plan
    assert "softly: own, text, text-sea" in plan


def no_release_key(rehearsal: Rehearsal) -> dict[str, str]:
    """The environment's file without its release key."""
    config = rehearsal.config.parent / "without-release-key"
    config.mkdir()
    text = (rehearsal.config / "rehearsal.toml").read_text().replace('"release_key" = "release"\n', "")
    (config / "rehearsal.toml").write_text(text)
    return {"EDGEGUARD_CONFIG": str(config)}


def test_status_says_the_same_to_people_and_machines(rehearsal: Rehearsal) -> None:
    text, found = rehearsal.run("status", "rehearsal").out, rehearsal.status()
    for server in found["servers"]:
        assert re.search(rf"{server['name']} +open +release {server['release'][:12]}", text)
    assert re.search("lock +free\n", text)
    assert re.search("grace +1 s in force", text)


def test_status_without_the_edge_still_tells_of_the_servers(rehearsal: Rehearsal) -> None:
    ended = rehearsal.run("status", "rehearsal", "--json", EDGEGUARD_EDGE__API_URL="http://127.0.0.1:1")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert len(found["servers"]) == 3
    assert "no answer" in found["grace"]["error"]


def test_report_says_the_last_deploy_to_people_and_machines(rehearsal: Rehearsal) -> None:
    deployed = rehearsal.deploy()
    assert deployed.code == 0, deployed.err
    assert deployed.err == ""
    found = json.loads(rehearsal.run("report", "rehearsal", "--json").out)
    assert found == {key: value for key, value in deployed.report.items() if key != "event"}
    assert found == json.loads(rehearsal.run("report", "rehearsal", found["deploy"], "--json").out)
    text = rehearsal.run("report", "rehearsal").out
    for part in (found["deploy"], "deployed (exit 0)", found["release"][:12], "anonymous", "closed for"):
        assert part in text
