"""`edgeguard logs` and `edgeguard run` as people and programs use them, on the driver `local`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import processes
from edgeguard.testing.acts import CLOSURE, deploy, lock
from edgeguard.testing.local import World
from edgeguard.testing.world import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2-hunter2"
WRITES = f"printf 'begins {SECRET} \\033]0;x\\a\\n';"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World("local", tmp_path / "servers") as made:
        settings = made.settings()
        (tmp_path / "test.toml").write_text(
            f"""
            [application]
            repository = "/srv/repository"
            branch = "main"
            variables = {{ "env:PASSWORD" = "{SECRET}" }}
            [cluster]
            driver = "local"
            root = "{settings["root"]}"
            options = {{ gate_port = {settings["options"]["gate_port"]}, first_port = {made.first_port} }}
            [edge]
            service = "s"
            url = "http://127.0.0.1:9"
            health_url = "http://127.0.0.1:9/health"
            """,
            encoding="utf-8",
        )
        yield made


def argv(world: World, *words: str, verb: str = "logs") -> list[str]:
    return [sys.executable, "-P", "-m", "edgeguard", verb, "test", "--config", str(world.folder.parent), *words]


def said(world: World, *words: str, verb: str = "logs") -> tuple[int, list[str], str]:
    command = argv(world, *words, verb=verb)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr


def test_every_server_s_output_is_shown_without_secrets_and_what_a_terminal_obeys(world: World) -> None:
    assert said(world) == (0, [], "edgeguard: test: the application has written nothing\n")
    lock(world)
    deploy(world, 1, world.generation("one", start=WRITES + world.serve))
    until(lambda: len(said(world)[1]) == 6, "all of it is told")
    assert said(world, "--lines", "2")[1][0] == r"web1  begins ••• \x1b]0;x\x07"
    assert [line.split()[0] for line in said(world)[1]] == ["web1", "web1", "web2", "web2", "web3", "web3"]
    code, [line], _ = said(world, "--json", "--server", "web2", "-n", "1")
    assert (code, json.loads(line)) == (0, {"server": "web2", "at": None, "text": "listening"})


def test_what_can_t_be_told_is_refused_before_anything_is_shown(world: World) -> None:
    assert said(world, "--server", "web9")[0] == 2
    assert said(world, "--since", "1h")[0] == 2
    assert said(world, "--since", "yesterday")[0] == 2


def test_a_server_that_can_t_be_read_is_named_and_the_others_are_shown(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one", start=WRITES + world.serve))
    log = world.root / "servers" / "web2" / "app.log"
    log.rename(log.with_name("away"))
    log.mkdir()
    code, lines, errors = said(world)
    assert (code, {line.split()[0] for line in lines}) == (6, {"web1", "web3"})
    assert errors.startswith("edgeguard: web2: ")
    log.rmdir()
    log.with_name("away").rename(log)


@pytest.mark.parametrize("leaves", ["by a signal", "with its reader"])
def test_following_goes_on_until_its_reader_leaves(world: World, leaves: str) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    until(lambda: len(said(world)[1]) == 3, "the application has begun")
    with subprocess.Popen(argv(world, "-f", "--server", "web3"), stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        try:
            assert follower.stdout.readline() == "web3  listening\n"
            with (world.root / "servers" / "web3" / "app.log").open("a", encoding="utf-8") as log:
                log.write("later\n")
            assert follower.stdout.readline() == "web3  later\n"
            if leaves == "by a signal":
                follower.send_signal(signal.SIGINT)
            else:
                follower.stdout.close()
            assert follower.wait(20) == (130 if leaves == "by a signal" else 0)
        finally:
            follower.kill()


def test_a_command_s_output_and_code_come_back_as_they_are(world: World) -> None:
    assert said(world, "--", "true", verb="run")[::2] == (
        6,
        "edgeguard: web1: nothing was deployed there yet\n  Deploy first.\n",
    )
    assert said(world, "--server", "web9", "--", "true", verb="run")[0] == 2
    lock(world)
    deploy(world, 1, world.generation("one", variables={"PASSWORD": SECRET}))
    script = "echo $PASSWORD; echo $EDGEGUARD_SERVER >&2; exit 3"
    assert said(world, "--server", "web2", "--", "sh", "-c", script, verb="run") == (3, [SECRET], "web2\n")
    assert said(world, "--json", "--", "sh", "-c", "exit 4", verb="run") == (
        4,
        ['{"server": "web1", "command_exit_code": 4}'],
        "",
    )
    code, _, errors = said(world, "--", "no-such-command", verb="run")
    assert (code, errors) == (127, "no-such-command: No such file or directory\n")
    world.cluster.close(1, CLOSURE)
    code, lines, errors = said(world, "--", "cat", "release", verb="run")
    assert (code, lines, errors) == (0, ["one"], "  ! test is closed on web1; the command runs all the same\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 5), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_command_is_told_of_ctrl_c_and_ends_with_edgeguard(world: World, number: signal.Signals, code: int) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    script = "trap 'exit 5' INT; echo $$; while :; do sleep 0.1; done"
    with subprocess.Popen(argv(world, "--", "sh", "-c", script, verb="run"), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(number)
        assert run.wait(20) == code
    until(lambda: pid not in [process.pid for process in processes.living()], "the command has ended")
