"""Bad input and bad days, with real `edgeguard` processes in one rehearsal's rehearsal, which each of them leaves whole."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import signal
import socket
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.local import LocalCluster, processes
from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, Claim, new_nonce
from edgeguard.environment import EdgeSide
from edgeguard.settings import load
from tests.deploy.rehearsal import (
    DATABASE,
    SERVER,
    Rehearsal,
    come_from,
    commit,
    eventually,
    repository,
    said,
    untouched,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Bad input


def test_an_unknown_environment(rehearsal: Rehearsal) -> None:
    for command in ("deploy", "plan", "status", "report"):
        said(rehearsal.run(command, "nowhere"), 2, "nowhere", "rehearsal")


def test_an_unknown_key_is_named_with_its_path(rehearsal: Rehearsal, tmp_path: Path) -> None:
    text = (rehearsal.config / "rehearsal.toml").read_text().replace("start_timeout", "strat_timeout")
    (tmp_path / "rehearsal.toml").write_text(text)
    said(rehearsal.deploy("--config", str(tmp_path)), 2, "rehearsal.toml", "cluster.strat_timeout: unknown key")


def test_a_wrong_token(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.deploy(FASTLY_API_TOKEN="of-somebody-else"))
    said(ended, 5, "FASTLY_API_TOKEN")
    assert "of-somebody-else" not in ended.out + ended.err
    assert ended.report["outcome"] == "refused"
    said(rehearsal.run("grace", "show", "rehearsal", FASTLY_API_TOKEN="of-somebody-else"), 5, "FASTLY_API_TOKEN")


def test_a_missing_token(rehearsal: Rehearsal, tmp_path: Path) -> None:
    text = re.sub(r"token_file = .*\n", "", (rehearsal.config / "rehearsal.toml").read_text())
    (tmp_path / "rehearsal.toml").write_text(text)
    said(rehearsal.deploy("--config", str(tmp_path)), 2, "FASTLY_API_TOKEN")


def test_a_service_that_does_not_exist(rehearsal: Rehearsal) -> None:
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_EDGE__SERVICE="NoSuchService"))
    said(ended, 5, "NoSuchService")


def test_an_unknown_acceptance_is_refused_and_the_known_ones_named(rehearsal: Rehearsal) -> None:
    said(rehearsal.deploy("--accept", "everything"), 2, "everything", "mixed-releases")


def test_pages_that_would_not_last_stop_a_deploy_each_by_its_name(rehearsal: Rehearsal) -> None:
    pages = {"EDGEGUARD_VISITORS__ANONYMOUS": '["/", "/health", "/nothing"]'}
    ended = untouched(rehearsal, lambda: rehearsal.deploy(**pages))
    said(
        ended, 4, "/health", "Cache-Control: no-store", "--accept no-store", "/nothing answers 404", "--accept not-kept"
    )
    ended = untouched(rehearsal, lambda: rehearsal.deploy(EDGEGUARD_CLUSTER__PLANNED_CLOSURE="1h"))
    said(ended, 4, "3600 s", "the claim's grace is too short", "--accept short-runway")
    accepted = ("--accept", "no-store", "--accept", "not-kept")
    said(rehearsal.deploy(*accepted, **pages, EDGEGUARD_EDGE__CONFIRM_TIMEOUT="0"), 9, "not confirmed")


@pytest.mark.parametrize(
    "arguments",
    [
        *(("deploy",), ("deploy", "rehearsal", "--faster"), ("deplyo", "rehearsal"), ("report", "rehearsal", "x")),
        *((verb, "rehearsal", "--purge-key", "two words") for verb in ("deploy", "plan")),
    ],
)
def test_usage(rehearsal: Rehearsal, arguments: tuple[str, ...]) -> None:
    ended = rehearsal.run(*arguments)
    assert ended.code == 2
    assert ended.err
    assert "Traceback" not in ended.err


def test_a_ref_that_does_not_exist(rehearsal: Rehearsal) -> None:
    said(untouched(rehearsal, lambda: rehearsal.deploy("--ref", "v9.9.9")), 2, "v9.9.9", "branches")


def test_a_repository_that_does_not_exist(rehearsal: Rehearsal, tmp_path: Path) -> None:
    said(rehearsal.deploy_of(tmp_path / "none"), 2, str(tmp_path / "none"))


def test_a_repository_without_an_application_file(rehearsal: Rehearsal, tmp_path: Path) -> None:
    said(rehearsal.deploy_of(repository(tmp_path / "r", application="")), 2, ".platform.app.yaml")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("name: [", "YAML"),
        ("name: site\n", "type"),
        ("name: site\ntype: python\nweb: {commands: {start: [a]}}\n", "web.commands.start"),
    ],
)
def test_a_broken_application_file(rehearsal: Rehearsal, tmp_path: Path, content: str, part: str) -> None:
    said(rehearsal.deploy_of(repository(tmp_path / "r", application=content)), 2, part)


# Releases that can't be


def test_a_build_hook_that_fails_touches_nothing_and_its_output_is_shown(rehearsal: Rehearsal, tmp_path: Path) -> None:
    site = repository(tmp_path / "r", build="echo the compiler is on strike; exit 3")
    ended = untouched(rehearsal, lambda: rehearsal.deploy_of(site))
    said(ended, 8, "the compiler is on strike", "3")
    assert ended.report["exit_code"] == 8
    assert ended.report["grace"]["base"] == 1  # known before anything is claimed


def test_a_start_command_that_exits_at_once(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = rehearsal.status()["servers"][0]["release"]
    ended = rehearsal.deploy_of(repository(tmp_path / "r", start="echo no licence; exit 4"))
    trouble = "web1, web2, web3: the start command ended with code 4, 3 times; the previous release serves again"
    said(ended, 10, f"edgeguard: {trouble}\n  web1 wrote:\n  | no licence\n  The application's output is in ")
    assert f"  {trouble}.\n  web1 wrote:\n  | no licence\n  The app" in rehearsal.run("report", "rehearsal").out
    assert rehearsal.run("history", "rehearsal").out.splitlines()[-1].strip() == trouble
    assert {before} == {server["release"] for server in rehearsal.status()["servers"]}
    assert ended.report["outcome"] == "rolled-back"


def test_a_start_command_that_never_answers(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = rehearsal.status()["servers"][0]["release"]
    ended = rehearsal.deploy_of(
        repository(tmp_path / "r", start="exec sleep 1000"), EDGEGUARD_CLUSTER__START_TIMEOUT="0.5"
    )
    said(ended, 10, "the previous release serves again")
    assert {before} == {server["release"] for server in rehearsal.status()["servers"]}


def test_a_hook_that_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
    ended = rehearsal.deploy_of(repository(tmp_path / "r", deploy="echo no such table; exit 5"))
    said(ended, 10, "no such table", "5", "the previous release serves again")


def test_a_hook_that_hangs_is_ended_with_all_that_it_started(rehearsal: Rehearsal, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    site = repository(tmp_path / "r", deploy=f"sleep 1000 & echo $$ $! > {pids}; wait")
    ended = rehearsal.deploy_of(site, EDGEGUARD_CLUSTER__HOOK_TIMEOUT="0.5")
    said(ended, 10, "limit", "the previous release serves again")
    eventually(lambda: not [pid for pid in pids.read_text().split() if lives(int(pid))])


def lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_a_gate_port_that_a_stranger_holds(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Another environment, on other servers, that was given a port on which something else already listens."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        text = (rehearsal.config / "rehearsal.toml").read_text()
        text = re.sub(r'"gate_port" = .*', f'"gate_port" = {port}', text)
        text = re.sub(r"\nroot = .*", f'\nroot = "{tmp_path}/other"', text)
        (tmp_path / "second.toml").write_text(text)
        try:
            ended = rehearsal.run(
                *("deploy", "second", "--json", "--config", str(tmp_path)),
                *("--accept", "no-previous-release", "--accept", "unguarded"),
                **come_from(repository(tmp_path / "r")),
            )
            said(ended, 6, str(port), "gate_port")
        finally:  # servers outlive every command
            LocalCluster("second", load("second", tmp_path).cluster).dismantle()
    eventually(lambda: not processes_of(str(tmp_path / "other")))


def processes_of(root: str) -> list[str]:
    """Command lines and environments are where a process of a cluster names its root."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            if root.encode() in line + (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                found.append(line.replace(b"\0", b" ").decode())
    return found


# Bad days


def test_of_two_deploys_at_once_one_is_told_at_once_who_is_at_work(rehearsal: Rehearsal, tmp_path: Path) -> None:
    go = tmp_path / "go"
    site = repository(tmp_path / "r", deploy=f"until [ -e {go} ]; do sleep 0.02; done")
    first = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    name = first.seen(lambda event: event["event"] == "deploy")["deploy"]
    first.begins("hook")
    second = rehearsal.deploy_of(site)
    text = rehearsal.run("status", "rehearsal").out
    purge = rehearsal.run("purge", "rehearsal", "--all", "--hard")
    purged = [call for call in rehearsal.writes() if "purge" in call["path"]]
    go.touch()
    assert first.end().code == 0
    said(second, 3, name, f"pid {first.process.pid}")
    assert second.report["outcome"] == "refused"
    said(purge, 3, "web1, web2, web3: closed", "status")
    assert [call for call in purged if call["path"].endswith("purge_all")] == []
    assert f"lock       {name}" in text
    assert "closed" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_close_takes_everything_back(rehearsal: Rehearsal, number: signal.Signals) -> None:
    before = rehearsal.status()["servers"]
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_EDGE__PROPAGATION="20")
    deploy.begins("claim")
    deploy.process.send_signal(number)
    ended = deploy.end()
    said(ended, 130, number.name)
    assert ended.report["outcome"] == "refused"
    assert ended.report["closed_seconds"] is None
    assert before == rehearsal.status()["servers"]


def test_a_signal_while_closed_puts_the_previous_release_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    slow = f"sleep 600; exec {sys.executable} -S server.py"  # `check` would wait for it
    site = come_from(repository(tmp_path / "r", start=slow))
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_CLUSTER__START_TIMEOUT="600", **site)
    deploy.begins("check")
    deploy.process.send_signal(signal.SIGTERM)
    ended = deploy.end()
    said(ended, 10, "SIGTERM", "the previous release serves again")
    assert before == {server["release"] for server in rehearsal.status()["servers"]}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_hook_runs_leaves_it_running_and_a_rollback_waits_for_it(
    rehearsal: Rehearsal, tmp_path: Path, number: signal.Signals
) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    go, started = tmp_path / "go", tmp_path / "started"
    site = repository(tmp_path / "r", deploy=f"echo $$ > {started}; until [ -e {go} ]; do sleep 0.02; done")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    deploy.begins("hook")
    eventually(lambda: started.exists() and started.read_text().strip())
    deploy.process.send_signal(number)
    ended = deploy.end()
    said(ended, 11, "still runs", "edgeguard rollback rehearsal")
    assert ended.report["outcome"] == "held"
    assert lives(int(started.read_text()))
    back = rehearsal.start("rollback", "rehearsal", "--json")
    back.seen(lambda event: event["event"] == "found")
    go.touch()
    undone = back.end()
    assert undone.code == 0, undone.err
    assert undone.report["outcome"] == "rolled-back"
    assert before == {server["release"] for server in rehearsal.status()["servers"]}


def test_an_api_that_fails_while_closed_rolls_nothing_back(rehearsal: Rehearsal) -> None:
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("close")
    faults, fault = f"{rehearsal.ready['control_url']}/faults", {"api": {"status": 503, "match": {"method": "PATCH"}}}
    for method, until in (("POST", "healthy"), ("DELETE", None)):
        body = json.dumps(fault).encode() if method == "POST" else None
        urllib.request.urlopen(urllib.request.Request(faults, data=body, method=method), timeout=10).close()
        if until is not None:
            deploy.begins(until)
    ended = deploy.end()
    assert ended.code == 0, ended.err
    assert ended.report["outcome"] == "deployed"


def test_a_token_that_ends_while_closed_costs_no_visitor_anything(rehearsal: Rehearsal) -> None:
    """The cluster opens with the new release. The claim that is left ends by itself, or with the next deploy."""
    plants, token = f"{rehearsal.ready['control_url']}/plants", rehearsal.ready["token"]
    ended = json.dumps({"tokens": {token: {"expires_at": "2020-01-01T00:00:00Z"}}}).encode()
    deploy = rehearsal.start("deploy", "rehearsal", "--json", EDGEGUARD_VISITORS__RATE="20")
    deploy.begins("close")
    try:
        urllib.request.urlopen(urllib.request.Request(plants, data=ended, method="POST"), timeout=10).close()
        after = deploy.end()
    finally:
        urllib.request.urlopen(urllib.request.Request(plants, method="DELETE"), timeout=10).close()
    said(after, 12, "401", "FASTLY_API_TOKEN")
    assert (after.report["outcome"], after.report["visitors"]["anonymous"]["errors"]) == ("deployed", 0)
    status = rehearsal.status()
    assert [server["open"] for server in status["servers"]] == [True] * 3
    assert status["grace"]["in_force"] > status["grace"]["base"]
    assert rehearsal.deploy().code == 0


def test_a_pipeline_s_claims_outlive_a_deploy(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """In the slot that this deploy uses, and in the other one."""
    edge, until = EdgeSide.open("rehearsal", config=rehearsal.config, state=tmp_path).edge, int(time.time()) + 600
    theirs = {slot: Claim(slot, until, 5000, new_nonce(HOOK)) for slot in DEPLOY_SLOTS}
    edge.write({slot: claim.value() for slot, claim in theirs.items()})
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("close")
    meanwhile = rehearsal.status()["grace"]
    ended, left = deploy.end(), edge.items()
    edge.write(dict.fromkeys(DEPLOY_SLOTS, FREE))
    assert ended.code == 0, ended.err
    assert (meanwhile["in_force"], meanwhile["hold"]) == (5000, True)
    assert {slot: left[slot] for slot in theirs} == {slot: claim.value() for slot, claim in theirs.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a limit be set on a process that runs")
def test_a_journal_that_cannot_grow_while_closed_does_not_stop_the_unwinding(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    go_on = tmp_path / "go-on"
    site = repository(tmp_path / "r", deploy=f"while [ ! -e {go_on} ]; do sleep 0.1; done")
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(site))
    deploy.begins("hook")
    journal = max(rehearsal.state.glob("rehearsal/*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    with journal.open("a") as file:
        file.write("\n" * 100_000)  # so that no other file reaches the limit before it
    resource.prlimit(deploy.process.pid, resource.RLIMIT_FSIZE, (journal.stat().st_size,) * 2)
    go_on.touch()
    ended = deploy.end()
    said(ended, 10, "can't be written", "the previous release serves again")
    assert before == {server["release"] for server in rehearsal.status()["servers"]}


def test_a_state_folder_that_cannot_be_written(rehearsal: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "rehearsal").write_text("no folder")
    ended = untouched(rehearsal, lambda: rehearsal.deploy("--state", str(tmp_path)))
    said(ended, 2, "journal", "--state")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text[: len(text) // 2], "torn"),
        (lambda text: json.dumps({**json.loads(text), "version": 99}), "version 99"),
        (lambda text: json.dumps({**json.loads(text), "environment": "staging"}), "'staging'"),
    ],
)
def test_a_record_that_is_not_what_it_should_be_on_one_server(
    rehearsal: Rehearsal, change: Callable[[str], str], part: str
) -> None:
    """Nothing is written anywhere, that one included."""
    root = rehearsal.root
    paths = [root / "servers" / server / "record.json" for server in ("web1", "web2", "web3")]
    whole = paths[1].read_text()
    paths[1].write_text(change(whole))
    before = [path.read_text() for path in paths]
    try:
        ended = rehearsal.deploy()
        after = [path.read_text() for path in paths]
    finally:
        paths[1].write_text(whole)
    said(ended, 6, "web2", part)
    assert ended.report["outcome"] == "refused"
    assert before == after


def test_a_report_of_a_newer_edgeguard_s_journal(rehearsal: Rehearsal, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal" / "20990101-000000-aaaa"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text('{"event":"deploy","at":1,"version":2,"deploy":"d"}\n')
    said(rehearsal.run("report", "rehearsal", "--state", str(tmp_path)), 2, "version 2", "newer", "edgeguard history")


# What is asked, and changes nothing


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
    """By rules: seen before in the plan, and in the report with the edge's ids. By no rule: every page."""
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
    text = (rehearsal.config / "rehearsal.toml").read_text().replace('release_key = "release"\n', "")
    (config / "rehearsal.toml").write_text(text)
    return {"EDGEGUARD_CONFIG": str(config)}


def test_status_says_the_same_to_people_and_machines(rehearsal: Rehearsal) -> None:
    text, found = rehearsal.run("status", "rehearsal").out, rehearsal.status()
    for server in found["servers"]:
        assert re.search(rf"{server['name']} +open +release {server['release'][:12]}", text)
    assert re.search("lock +free", text)
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


def test_no_secret_is_said_whoever_prints_it(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Neither on a terminal nor in an event, the journal, or the record's history; in no form."""
    key = "-----BEGIN KEY-----\nkey-of-many-lines\n-----END KEY-----"
    variables = json.dumps({"env:KEY": key, "env:CACHE": "redis://:sesame%2Fcache@127.0.0.1:1"})
    prints = (
        'echo "$KEY"; echo "$CACHE" sesame/cache sesame%2Fcache; echo "$PLATFORM_VARIABLES $PLATFORM_RELATIONSHIPS"; '
    )
    prints += (
        f'echo "$PLATFORM_VARIABLES" | base64 -d; echo the password is {DATABASE}, the cookie visitor-4711; exit 4'
    )
    given = {"EDGEGUARD_APPLICATION__VARIABLES": variables, "EDGEGUARD_VISITORS__COOKIE": "login=visitor-4711"}
    silent = replace(
        rehearsal, secrets=(*rehearsal.secrets, *key.splitlines(), "sesame/cache", "sesame%2Fcache", "r-4711")
    )
    for number, (where, code) in enumerate((("start", 10), ("deploy", 10), ("build", 8))):
        site = repository(tmp_path / str(number), **{where: f"KEY='{key}'; {prints}" if where == "build" else prints})
        encoded: set[str] = set()
        for arguments in (("--json",), ("--verbose",)):
            ended = silent.run("deploy", "rehearsal", *arguments, **come_from(site), **given)
            assert ended.code == code, ended.err
            assert "the password is •••, the cookie •••" in ended.out + ended.err
            encoded.update(re.findall(r"[A-Za-z0-9+/]{32,}", ended.out + ended.err))
        assert not [word for word in encoded if b"sesame" in base64.b64decode(word[: len(word) // 4 * 4])]
    kept = [*rehearsal.state.rglob("journal.jsonl"), *(rehearsal.root / "servers").glob("*/record.json")]
    text = "".join(path.read_text() for path in kept) + silent.run("history", "rehearsal").out
    assert "the password is •••" in text
    assert not [secret for secret in silent.secrets if secret in text]


def test_what_a_command_by_hand_prints_of_a_server_has_no_secret_in_it(rehearsal: Rehearsal, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    start = f"echo the password is {DATABASE}; if [ -e {sick} ]; then exit 4; fi; exec {sys.executable} -S server.py"
    assert rehearsal.deploy_of(repository(tmp_path / "r", start=start)).code == 0
    assert rehearsal.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "a test").code == 0
    sick.touch()
    for server in (rehearsal.root / "servers").glob("*"):
        for pid in processes.running(server):
            os.kill(pid, signal.SIGKILL)
    ended = rehearsal.run("cluster", "open", "rehearsal")
    sick.unlink()
    eventually(lambda: rehearsal.run("cluster", "open", "rehearsal").code == 0)
    said(ended, 6, "the password is •••")


def test_no_process_shows_a_secret_to_others(rehearsal: Rehearsal) -> None:
    """Neither do the servers' own processes, nor a deploy's while it runs."""
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("hook")
    hidden = [*rehearsal.secrets, *(base64.b64encode(secret.encode()).decode()[:-4] for secret in rehearsal.secrets)]
    lines = [line for line in command_lines() if any(secret.encode() in line for secret in hidden)]
    assert lines == []
    assert deploy.end().code == 0


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found
