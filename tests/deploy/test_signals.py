"""However often somebody interrupts a deploy, its exit code is true: 130 only if nothing was closed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.deploy.rehearsal import (
    EDGEGUARD,
    QUICK,
    Command,
    Rehearsal,
    come_from,
    commit,
    eventually,
    lives,
    repository,
)
from tests.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

BEFORE_THE_CLOSE = ("deploy", "build", "lock", "preflight", "stage", "claim")
CLOSED = ("stop-tasks", "close", "drain", "swap", "hook", "check", "open", "healthy")
COMMITTED = ("committed", "purge", "release", "post-deploy", "finish", "end", "report")
SIGNALS = {"I": signal.SIGINT, "T": signal.SIGTERM, "H": signal.SIGHUP}
ALL = list(product((*BEFORE_THE_CLOSE, *CLOSED, *COMMITTED), ("I", "T", "H", "II", "TT", "HH", "III", "ITH", "HTI")))
"""Each phase, and the signals that come as soon as it begins, one after the other."""
CHOSEN = ALL if os.environ.get("EVERY_SIGNAL") else ALL[3::31]


def send(command: Command, signals: str) -> None:
    for letter in signals:
        command.process.send_signal(SIGNALS[letter])
        time.sleep(0.02)


@pytest.mark.parametrize(("phase", "signals"), CHOSEN)
def test_signals_end_a_deploy_with_a_true_exit_code(
    rehearsal: Rehearsal, tmp_path: Path, phase: str, signals: str
) -> None:
    before = {server["release"] for server in rehearsal.status()["servers"]}
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(repository(tmp_path / "r")))
    deploy.seen(lambda event: phase == event["event"] or (event["event"], event.get("phase")) == ("begin", phase))
    send(deploy, signals)
    ended = deploy.end()
    status = rehearsal.status()
    found = {server["open"] for server in status["servers"]}, {server["release"] for server in status["servers"]}
    if ended.code == 11:  # a hook that runs, or whose end nobody has seen
        assert rehearsal.run("rollback", "rehearsal", "--json").code == 0

    assert "Traceback" not in ended.err
    if phase in COMMITTED:
        assert ended.code == 0
        assert found == ({True}, {status["servers"][0]["release"]})
    elif ended.code == 130:
        assert phase not in CLOSED[1:]
        assert "interrupted" in ended.err
        assert (ended.report["closed_seconds"], *found) == (None, {True}, before)
    else:
        assert phase not in BEFORE_THE_CLOSE
        assert (ended.code, found) in ((10, ({True}, before)), (11, ({False}, found[1])))
        assert ended.report["closed_seconds"] is not None


def test_whoever_interrupts_the_mending_of_a_closed_cluster_is_told_that_it_is_closed(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(repository(tmp_path / "r")))
    name = deploy.seen(lambda event: event["event"] == "deploy")["deploy"]
    deploy.begins("check")
    deploy.process.kill()
    deploy.end()
    ended = []
    for arguments in (("resume",), ("rollback",), ("deploy", "--supersede", name)):
        if arguments[0] == "deploy":  # which takes no lock over
            rehearsal.run("unlock", "rehearsal", name, EDGEGUARD_CLUSTER__LEASE="1")
        command = rehearsal.start(arguments[0], "rehearsal", "--json", *arguments[1:])
        command.seen(lambda event: event["event"] == "deploy")
        send(command, "TIH")
        ended.append(command.end())
    mended = rehearsal.run("resume", "rehearsal", "--json", "--hook=skip", EDGEGUARD_CLUSTER__LEASE="1")

    for each in ended:
        assert (each.code, each.report["exit_code"]) == (11, 11), each.err
        assert f"interrupted by SIGTERM; the cluster is closed, as {name} left it\n  To go on: " in each.err
    assert mended.code == 0, mended.err


def test_the_clean_up_that_is_interrupted_is_not_called_a_deploy_that_never_began(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    deploy = rehearsal.start("deploy", "rehearsal", "--json", **come_from(repository(tmp_path / "r")))
    deploy.begins("purge")
    deploy.process.kill()
    deploy.end()
    resume = rehearsal.start("resume", "rehearsal", "--json")
    resume.seen(lambda event: event["event"] == "deploy")
    send(resume, "TT")  # while it waits for the dead process's lease
    ended = resume.end()
    mended = rehearsal.run("resume", "rehearsal", "--json", EDGEGUARD_CLUSTER__LEASE="1")

    assert ended.code == 12, ended.err
    assert "has committed and serves, and its clean-up is left to do\n  edgeguard resume rehearsal" in ended.err
    assert mended.code == 0, mended.err


def test_a_claim_of_support_that_is_written_is_not_as_before(rehearsal: Rehearsal) -> None:
    written = len(rehearsal.writes())
    extend = rehearsal.start(
        *("grace", "extend", "rehearsal", "--for", "10m", "--reason", "a test"), EDGEGUARD_EDGE__PROPAGATION="60"
    )
    eventually(lambda: len(rehearsal.writes()) > written)
    send(extend, "THI")
    ended = extend.end()
    released = rehearsal.run("grace", "release", "rehearsal", "support1")

    assert ended.code == 9, ended.err
    assert "support1 is written, but not confirmed: interrupted by SIGTERM" in ended.err
    assert "edgeguard grace release rehearsal support1" in ended.err
    assert released.code == 0, released.err


def on_terminal(rehearsal: Rehearsal, *arguments: str, **variables: str) -> Terminal:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FASTLY_", "EDGEGUARD_"))}
    places = {"EDGEGUARD_CONFIG": str(rehearsal.config), "EDGEGUARD_STATE": str(rehearsal.state)}
    return Terminal(*EDGEGUARD, *arguments, environment={**clean, **places, **QUICK, **variables})


def test_on_a_terminal_the_first_ctrl_c_in_the_hook_says_what_a_second_one_does(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    go, started = tmp_path / "go", tmp_path / "started"
    site = repository(tmp_path / "r", deploy=f"echo $$ > {started}; until [ -e {go} ]; do sleep 0.02; done")
    left = on_terminal(rehearsal, "deploy", "rehearsal", "--json", **come_from(site))
    left.until(lambda: started.exists() and started.read_text().strip())
    left.press_ctrl_c()
    left.shows("A second Ctrl-C leaves")
    assert left.process.poll() is None
    left.press_ctrl_c()
    code, _ = left.end()
    assert (code, lives(int(started.read_text()))) == (11, True)
    assert "To go on: edgeguard resume rehearsal" in left.screen

    back = on_terminal(rehearsal, "rollback", "rehearsal", "--json")
    assert back.process.stdout is not None
    while '"event": "done"' not in back.process.stdout.readline():  # the claim is renewed; then it waits
        assert back.process.poll() is None, back.screen
    time.sleep(0.3)
    back.press_ctrl_c()
    back.shows("A second Ctrl-C leaves")
    go.touch()
    assert back.end()[0] == 0


@pytest.mark.parametrize("tool", ["hooks.build", "cat-file", "clone", "pip"])
def test_ctrl_c_in_a_build_is_an_interruption_whatever_program_runs(
    rehearsal: Rehearsal, tmp_path: Path, tool: str
) -> None:
    """The keyboard sends its signal to all processes of the terminal's group."""
    began, programs = tmp_path / "began", tmp_path / "programs"
    if tool == "hooks.build":
        began = rehearsal.root / "cache" / tmp_path.name  # a build writes there, and to its own folder
    wait = f"touch {began}; sleep 60"
    programs.mkdir()
    git = programs / "git"
    git.write_text(f'#!/bin/sh\ncase " $* " in *" {tool} "*) {wait};; esac\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    site = repository(tmp_path / "r", build=wait if tool == "hooks.build" else f": {tool}, a tree of its own")
    if tool == "pip":
        file = site / ".platform.app.yaml"
        file.write_text(file.read_text() + "dependencies:\n    python3:\n        six: '*'\n")
        commit(site)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        variables = come_from(site) | {"PATH": f"{programs}:{os.environ['PATH']}"}
        variables["PIP_INDEX_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        if tool == "clone":
            variables["EDGEGUARD_APPLICATION__REPOSITORY"] = f"http://127.0.0.1:{silent.getsockname()[1]}/site.git"
        deploy = on_terminal(rehearsal, "deploy", "rehearsal", "--json", **variables)
        with ExitStack() as asked:
            if tool == "pip":
                asked.enter_context(silent.accept()[0])  # it waits for an answer
            else:
                deploy.until(began.exists)
            deploy.press_ctrl_c()
            code, out = deploy.end()

    assert code == 130, deploy.screen
    assert "edgeguard: interrupted during the build, in " in deploy.screen
    assert "Traceback" not in deploy.screen
    assert json.loads(out.splitlines()[-1])["outcome"] == "interrupted"


def test_a_program_of_the_build_that_the_signal_kills_has_not_failed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """As where all processes of a cancelled job are signalled, whatever their session is."""
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nkill -TERM $PPID\nkill -TERM $$\n")
    git.chmod(0o755)
    ended = rehearsal.deploy(PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert (ended.code, ended.report["outcome"]) == (130, "interrupted"), ended.err
    assert "not a Git repository" not in ended.err
