"""The driver `commands`: how it runs commands, and what it makes of their answers. Here a command is a line of shell;
the contract suite runs over the scripts of config/commands (tests/contracts)."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster import Closure, Generation, Runs
from edgeguard.cluster.commands import CommandsCluster, observed
from edgeguard.cluster.foreground import able
from edgeguard.cluster.host import processes
from edgeguard.cluster.logs import sources
from edgeguard.errors import ClusterError, Fenced, HookRuns, HookStarted, HookUnknown, Unhealthy, UsageError
from edgeguard.settings import ClusterSettings
from edgeguard.testing import images

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = ("web1", "web2")
CLOSURE = Closure("d-42", 1_800_000_000)
NOTHING: dict[str, Any] = {"generation": None, "running": None, "open": False, "staged": {}}


class Fleet:
    """Two servers that are files of a folder: `observe` prints what a test put into `now.json`, and each other command
    writes down its environment, in a file that is named after the step and the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now(**dict.fromkeys(SERVERS, NOTHING))

    def now(self, **servers: object) -> None:
        (self.folder / "now.json").write_text(json.dumps({"servers": servers}), encoding="utf-8")

    def cluster(self, machine: str = "runner", **options: Any) -> CommandsCluster:  # noqa: ANN401 (as in a file)
        """The driver as it is on this machine."""
        note = 'env >"{step}.all"'
        steps: dict[str, Any] = {step: note.format(step=step) for step in ("stage", "close", "swap", "check", "open")}
        settings = ClusterSettings(
            driver="commands",
            servers=SERVERS,
            root=self.folder / machine,
            start_timeout=5,
            options={"observe": "cat now.json", **steps, "folder": self.folder, **options},
        )
        return CommandsCluster("shop", settings, ceiling=600)

    def taken(self, **options: Any) -> CommandsCluster:  # noqa: ANN401 (as in a file)
        """The driver, once it holds the lock under epoch 1."""
        cluster = self.cluster(**options)
        cluster.write_record(1, {"version": 1}, expected=0)
        return cluster

    def told(self, name: str) -> dict[str, str]:
        """The environment that a command wrote down."""
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))

    def generation(self, **hooks: str) -> Generation:
        image = self.folder / "runner" / "releases" / "inputs-one"
        release = images.make(image, "one")
        runs = Runs(image / "app", ("run", "a b"), {hook: ("sh", "-c", said) for hook, said in hooks.items()})
        return Generation("one", release, image, runs)

    def runs(self, generation: Generation) -> None:
        """Every server runs this generation, behind a closed gate."""
        staged = {
            "release": generation.release,
            "image": str(generation.image),
            "cwd": str(generation.runs.folder),
            "start": list(generation.runs.start),
            "hooks": {hook: list(argv) for hook, argv in generation.runs.hooks.items()},
            "folders": [],
            **({"socket": True} if generation.runs.socket else {}),
        }
        now = {**NOTHING, "generation": "one", "running": "one", "staged": {"one": staged}}
        self.now(**dict.fromkeys(SERVERS, now))


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


RECORDS = {
    "record_read": "cat $EDGEGUARD_SERVER.json 2>/dev/null || true",
    "record_write": "cp $EDGEGUARD_RECORD $EDGEGUARD_SERVER.json",
}


# What a command is told


def test_a_step_tells_its_facts(fleet: Fleet) -> None:
    fleet.taken().close(1, CLOSURE)
    told = fleet.told("close.all")
    assert {name: value for name, value in told.items() if name.startswith("EDGEGUARD_")} == {
        "EDGEGUARD_STEP": "close",
        "EDGEGUARD_ENVIRONMENT": "shop",
        "EDGEGUARD_SERVERS": "web1 web2",
        "EDGEGUARD_EPOCH": "1",
        "EDGEGUARD_LIMIT": "60",
        "EDGEGUARD_DEPLOY": "d-42",
        "EDGEGUARD_UNTIL": "2027-01-15T08:00:00Z",
        "EDGEGUARD_CLOSED": "d-42; until=2027-01-15T08:00:00Z",
        "EDGEGUARD_CLOSED_STATUS": "500",
        "EDGEGUARD_RETRY_AFTER": "30",
        "EDGEGUARD_EDGE_CHECK_PATH": "",
    }


def test_a_command_that_says_its_server_runs_once_for_each_at_the_same_time(fleet: Fleet) -> None:
    """Each of the two waits for the other one."""
    meet = "touch met.$EDGEGUARD_SERVER; until [ -e met.web1 ] && [ -e met.web2 ]; do sleep 0.02; done"
    fleet.taken(close=f'{meet}; env >"close.$EDGEGUARD_SERVER"').close(1, CLOSURE)
    assert [fleet.told(f"close.{server}")["EDGEGUARD_SERVER"] for server in SERVERS] == list(SERVERS)


def test_a_server_that_is_left_out_is_not_told_of(fleet: Fleet) -> None:
    cluster = fleet.taken(close='env >"close.$EDGEGUARD_SERVER"').without(["web1"])
    cluster.close(1, CLOSURE)
    assert not (fleet.folder / "close.web1").exists()
    assert fleet.told("close.web2")["EDGEGUARD_SERVERS"] == "web2"


def test_commands_see_nothing_of_the_caller_s_environment_but_what_is_named(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FASTLY_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "EDGEGUARD_CONFIG"):
        monkeypatch.setenv(name, "canary")
    fleet.taken(environment=("SSH_AUTH_SOCK",)).close(1, CLOSURE)
    told = fleet.told("close.all")
    assert [name for name, value in told.items() if value == "canary"] == ["SSH_AUTH_SOCK"]
    assert told["PATH"] == os.environ["PATH"]


def test_variables_are_a_private_file_that_a_shell_can_source_and_that_is_gone_afterwards(fleet: Fleet) -> None:
    generation = fleet.generation()
    values = {"PLAIN": "a", "ODD": 'it\'s $HOME `id` "x" \\ \n second line', "EMPTY": ""}
    fleet.runs(generation)
    stage = (
        'env >stage.all; ls -l "$EDGEGUARD_VARIABLES" | cut -c1-10 >mode; . "$EDGEGUARD_VARIABLES"; '
        'printf "%s|%s|%s" "$PLAIN" "$ODD" "$EMPTY" >sourced; cp "$EDGEGUARD_DESCRIPTION" description'
    )
    fleet.taken(stage=stage).stage(1, replace(generation, variables=values))
    assert (fleet.folder / "sourced").read_text(encoding="utf-8") == "|".join(values.values())
    assert (fleet.folder / "mode").read_text(encoding="utf-8") == "-rw-------\n"
    told = fleet.told("stage.all")
    assert "second line" not in str(told)
    assert not os.path.exists(told["EDGEGUARD_VARIABLES"])  # noqa: PTH110 (a name, as it was told)
    assert "second line" not in (fleet.folder / "description").read_text(encoding="utf-8")
    words = subprocess.run(
        ["/bin/sh", "-c", 'eval "set -- $EDGEGUARD_START"; printf "%s;" "$@"'],
        env=told,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert words.stdout == b"run;a b;"


def test_an_application_that_listens_on_a_socket_is_refused_unless_the_commands_serve_one(fleet: Fleet) -> None:
    there = fleet.generation()
    generation = replace(there, runs=replace(there.runs, socket=True))
    with pytest.raises(ClusterError, match="unix socket") as raised:
        fleet.taken(stage="touch staged").stage(1, generation)
    assert "cluster.options.unix_sockets" in raised.value.remedy
    assert not (fleet.folder / "staged").exists()
    fleet.runs(generation)
    fleet.cluster(stage="env >stage.all", unix_sockets=True).stage(1, generation)
    assert fleet.told("stage.all")["EDGEGUARD_LISTENS_ON"] == "SOCKET"


def test_a_variable_that_no_shell_can_set_is_refused_by_its_name(fleet: Fleet) -> None:
    generation = replace(fleet.generation(), variables={"a-b": "sesame"})
    with pytest.raises(ClusterError, match="'a-b'") as raised:
        fleet.taken().stage(1, generation)
    assert "sesame" not in str(raised.value)


# What is made of its answer


def test_an_error_names_server_step_and_command_and_ends_with_the_last_lines(fleet: Fleet) -> None:
    close = "[ $EDGEGUARD_SERVER = web1 ] || { seq 100; echo no route >&2; exit 3; }"
    with pytest.raises(ClusterError) as raised:
        fleet.taken(close=close).close(1, CLOSURE)
    first, *rest = raised.value.message.splitlines()
    assert raised.value.server == "web2"
    assert first.startswith("web2: close: the command '[ $EDGEGUARD_SERVER")
    assert first.endswith("exited 3")
    assert len(rest) == 11
    assert {"  | no route", "  | 100"} <= set(rest)
    assert raised.value.remedy


def test_exit_75_means_that_another_epoch_is_in_force(fleet: Fleet) -> None:
    with pytest.raises(Fenced) as raised:
        fleet.taken(close="[ $EDGEGUARD_SERVER = web1 ] || exit 75").close(1, CLOSURE)
    assert raised.value.server == "web2"


def test_a_command_that_hangs_is_ended_at_its_limit_with_what_it_started(fleet: Fleet) -> None:
    close = "echo $$ >pid; sleep 300 & echo $! >child; wait"
    with pytest.raises(ClusterError, match=r"0\.5 s") as raised:
        fleet.taken(close=close, limits={"close": 0.5}).close(1, CLOSURE)
    assert "cluster.options.limits.close" in raised.value.remedy
    pids = {int((fleet.folder / name).read_text(encoding="ascii")) for name in ("pid", "child")}
    assert len(pids) == 2
    assert not pids & {process.pid for process in processes.living()}


def test_a_command_that_prints_without_end_is_ended(fleet: Fleet) -> None:
    with pytest.raises(ClusterError, match="more than 4000000 characters"):
        fleet.taken(close="yes").close(1, CLOSURE)


def test_a_command_that_does_not_do_what_it_says_is_found_out(fleet: Fleet) -> None:
    fleet.runs(fleet.generation())
    with pytest.raises(ClusterError, match=r"web1: `open` ended well, but `observe` says that the gate refuses"):
        fleet.taken().open(1, "one")
    fleet.now(**dict.fromkeys(SERVERS, NOTHING))
    with pytest.raises(ClusterError, match="web1: `stage` ended well, but `observe` does not show one"):
        fleet.cluster().stage(1, fleet.generation())


def test_a_missing_folder_is_named(fleet: Fleet) -> None:
    with pytest.raises(ClusterError, match=r"can't be run in .*nowhere"):
        fleet.cluster(folder=fleet.folder / "nowhere").state()


# What `observe` prints

STAGED = {"release": "r", "image": "/i", "cwd": "/i/app", "start": ["x"], "hooks": {}, "folders": []}
RUNS = {"generation": "one", "running": "one", "open": True, "staged": {"one": STAGED}}


def document(**change: object) -> str:
    return json.dumps({"servers": {"web1": {**RUNS, **change}, "web2": NOTHING, "another": NOTHING}})


BAD = {
    "nothing": "",
    "no JSON": "web1 is well",
    "an array": "[]",
    "JSON with more behind": document() + "}",
    "a missing server": json.dumps({"servers": {"web1": RUNS}}),
    "a string for a truth": document(open="yes"),
    "a number for a truth": document(open=1),
    "a text for a number": document(deaths="3"),
    "less than no death": document(deaths=-1),
    "an unknown key": document(opened=True),
    "a current generation that is not staged": document(staged={}),
    "a relative image": document(staged={"one": {**STAGED, "image": "i"}}),
    "a description that lacks its hooks": document(staged={"one": {**STAGED, "hooks": None}}),
    "very deep": "[" * 100_000,
}


def test_what_observe_prints_is_the_state(fleet: Fleet) -> None:
    (fleet.folder / "now.json").write_text(document(deaths=2, gate=True), encoding="utf-8")
    web1, web2 = fleet.cluster().state()
    assert (web1.name, web1.generation, web1.release, web1.running, web1.open) == ("web1", "one", "r", "r", True)
    assert (web1.deaths, web1.gate, web1.supervisor) == (2, True, None)
    assert (web2.name, web2.generation, web2.running, web2.open) == ("web2", None, None, False)


@pytest.mark.parametrize("bad", BAD)
def test_what_can_t_be_used_is_refused_with_a_way_on(fleet: Fleet, bad: str) -> None:
    (fleet.folder / "now.json").write_text(BAD[bad], encoding="utf-8")
    with pytest.raises(ClusterError, match="observe") as raised:
        fleet.cluster().state()
    assert "docs/scripts.md" in raised.value.remedy


def test_what_observe_says_beside_its_json_does_no_harm(fleet: Fleet) -> None:
    """ssh greets on standard error."""
    assert fleet.cluster(observe="echo Welcome to web1! >&2; cat now.json").state()[0].name == "web1"


def test_each_server_may_be_observed_by_itself(fleet: Fleet) -> None:
    said = """echo "{\\"servers\\": {\\"$EDGEGUARD_SERVER\\": """ + json.dumps(NOTHING).replace('"', '\\"') + '}}"'
    assert [state.name for state in fleet.cluster(observe=said).state()] == list(SERVERS)


def test_the_schema_in_the_package_is_that_of_the_driver() -> None:
    written = json.loads(observed.SCHEMA.read_text(encoding="utf-8"))
    assert written == observed.schema(), observed.__doc__


# The record


def test_without_record_commands_plan_says_that_only_this_machine_can_go_on(fleet: Fleet) -> None:
    one = fleet.generation()
    assert "only this machine can finish this deploy" in fleet.cluster().explain("stage", one)[-1]
    assert not [line for line in fleet.cluster(**RECORDS).explain("stage", one) if "only this machine" in line]


def test_a_record_by_commands_is_seen_from_every_machine(fleet: Fleet) -> None:
    fleet.cluster("one", **RECORDS).write_record(1, {"said": "hello"}, expected=0)
    expected = {"epoch": 1, "said": "hello"}
    assert fleet.cluster("two", **RECORDS).read_record() == {"web1": expected, "web2": expected}


def test_one_record_for_all_servers_is_written_once(fleet: Fleet) -> None:
    shared = {
        "record_read": "cat shared.json || true",
        "record_write": "cp $EDGEGUARD_RECORD shared.json; echo x >>writes",
    }
    cluster = fleet.cluster(**shared)
    cluster.write_record(1, {"said": "hello"}, expected=0)
    assert list(cluster.read_record().values()) == [{"epoch": 1, "said": "hello"}] * 2
    assert (fleet.folder / "writes").read_text(encoding="utf-8") == "x\n"


@pytest.mark.parametrize(("epoch", "expected", "told"), [(3, None, "3"), (4, 3, "3"), (9, 8, "8")])
def test_record_write_is_told_the_greatest_epoch_that_it_may_replace(
    fleet: Fleet, epoch: int, expected: int | None, told: str
) -> None:
    write = "echo $EDGEGUARD_EXPECTED >expected; cp $EDGEGUARD_RECORD $EDGEGUARD_SERVER.json"
    cluster = fleet.cluster(**{**RECORDS, "record_write": write})
    cluster.write_record(3, {"version": 1}, expected=0)
    cluster.write_record(epoch, {"version": 2}, expected=expected)
    assert (fleet.folder / "expected").read_text(encoding="utf-8").strip() == told
    assert (fleet.folder / "web1.json").read_text(encoding="utf-8").startswith(f'{{"epoch": {epoch}, ')


@pytest.mark.parametrize(("epoch", "expected"), [(1, None), (3, None), (3, 1)])
def test_a_record_of_another_epoch_is_refused_also_where_record_write_would_take_it(
    fleet: Fleet, epoch: int, expected: int | None
) -> None:
    """The command compares one number. The driver knows that the lock is taken with `expected` alone."""
    cluster = fleet.cluster(**RECORDS)
    cluster.write_record(2, {"version": 1}, expected=0)
    with pytest.raises(Fenced) as raised:
        cluster.write_record(epoch, {"version": 1}, expected=expected)
    assert raised.value.server == "web1"
    assert {2} == {(record or {})["epoch"] for record in cluster.read_record().values()}


def test_an_unhealthy_server_is_told_with_what_its_check_said(fleet: Fleet) -> None:
    generation = fleet.generation()
    fleet.runs(generation)
    cluster = fleet.taken(check='[ $EDGEGUARD_SERVER = web1 ] || { echo "it answers 404"; exit 1; }')
    with pytest.raises(Unhealthy, match="it answers 404") as raised:
        cluster.check(generation)
    assert raised.value.server == "web2"


def test_another_holder_who_writes_in_between_is_seen_by_record_write_alone(fleet: Fleet) -> None:
    """The driver has read epoch 0 by then."""
    write = "[ $EDGEGUARD_SERVER = web1 ] || exit 75; cp $EDGEGUARD_RECORD $EDGEGUARD_SERVER.json"
    with pytest.raises(Fenced) as raised:
        fleet.cluster(**{**RECORDS, "record_write": write}).write_record(1, {}, expected=0)
    assert raised.value.server == "web2"


@pytest.mark.parametrize("said", ["no record", "[]", "{}", '{"epoch": "1"}', '{"epoch": true}', "null"])
def test_what_is_no_record_is_refused(fleet: Fleet, said: str) -> None:
    with pytest.raises(ClusterError, match="record_read printed what is no record"):
        fleet.cluster(record_read=f"echo '{said}'", record_write="true").read_record()


def test_an_old_holder_is_refused_before_its_command_starts(fleet: Fleet) -> None:
    cluster = fleet.taken(**RECORDS)
    fleet.cluster("elsewhere", **RECORDS).write_record(2, {}, expected=1)
    with pytest.raises(Fenced):
        cluster.close(1, CLOSURE)
    assert not (fleet.folder / "close.all").exists()


# Hooks


def test_a_hook_without_a_command_is_refused_before_anything_is_staged(fleet: Fleet) -> None:
    with pytest.raises(ClusterError, match="deploy") as raised:
        fleet.taken().stage(1, fleet.generation(deploy="migrate"))
    assert "cluster.options.hook" in raised.value.remedy
    assert not (fleet.folder / "stage.all").exists()


def test_the_hook_s_command_is_told_what_to_run_and_where(fleet: Fleet) -> None:
    fleet.runs(fleet.generation(deploy="echo 'a  b' $EDGEGUARD_SERVER"))
    cluster = fleet.taken(hook='echo "$EDGEGUARD_HOOK_NAME"; eval "$EDGEGUARD_COMMAND"')
    result = cluster.run_hook(1, "deploy", "web2", limit=20, cancelled=lambda: False)
    assert (result.server, result.code, result.output) == ("web2", 0, "deploy\na  b web2")
    with pytest.raises(HookStarted):
        cluster.run_hook(1, "deploy", "web1", limit=20, cancelled=lambda: False)


def test_a_hook_that_another_machine_was_to_run_is_unknown_here(fleet: Fleet) -> None:
    """Its ledger is there. Here nobody knows whether it runs still, how it ended, or whether it began."""
    fleet.runs(fleet.generation(deploy="exit 4"))
    cluster = fleet.taken(hook='eval "$EDGEGUARD_COMMAND"', **RECORDS)
    elsewhere = fleet.cluster("elsewhere", hook="true", **RECORDS)
    assert elsewhere.hook_result("one", "deploy", cancelled=lambda: False) is None
    claimed = {"deploy": {"id": "one", "hook": {"server": "web1"}}}
    assert cluster.run_hook(1, "deploy", "web1", limit=20, cancelled=lambda: False, note=claimed).code == 4
    with pytest.raises(HookUnknown) as raised:
        elsewhere.hook_result("one", "deploy", cancelled=lambda: False)
    assert raised.value.server == "web1"
    there = cluster.hook_result("one", "deploy", cancelled=lambda: False)
    assert there is not None
    assert there.code == 4


def test_nothing_is_staged_on_this_machine_while_its_hook_runs(fleet: Fleet) -> None:
    fleet.runs(fleet.generation(deploy="until [ -e go-on ]; do sleep 0.02; done"))
    cluster = fleet.taken(hook='touch begun; eval "$EDGEGUARD_COMMAND"')
    try:
        with pytest.raises(HookRuns):
            cluster.run_hook(1, "deploy", "web1", limit=60, cancelled=(fleet.folder / "begun").exists)
        with pytest.raises(HookRuns):
            cluster.stage(1, fleet.generation())
    finally:
        (fleet.folder / "go-on").touch()
    result = cluster.hook_result("one", "deploy", cancelled=lambda: False)
    assert result is not None
    assert result.code == 0


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"close": None}, "cluster.options.close"),
        ({"clsoe": "./close"}, "cluster.options.clsoe: unknown key"),
        ({"record_read": "cat record"}, "both record_read and record_write"),
        ({"limits": {"clsoe": "5s"}}, "cluster.options.limits.clsoe"),
        ({"limits": {"hook": "5s"}}, "cluster.hook_timeout"),
        ({"limits": {"close": 0}}, "more than 0 s"),
        ({"environment": ["EDGEGUARD_EPOCH"]}, "EDGEGUARD_EPOCH"),
    ],
)
def test_options_that_can_t_be_used_are_named(fleet: Fleet, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        fleet.cluster(**options)


def test_it_says_that_it_tells_no_output_and_runs_no_commands(tmp_path: Path) -> None:
    cluster = Fleet(tmp_path).cluster()
    with pytest.raises(UsageError, match="can't tell what the application writes"):
        sources(cluster, (), lines=10, ago=None)
    with pytest.raises(UsageError, match="runs no commands of yours"):
        able(cluster, "web1")
