"""People's commands with the application's environment, where a driver runs them (edgeguard.cluster.foreground)."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.foreground import Ended, Ends, Runs
from edgeguard.errors import ClusterError, NotStaged
from edgeguard.testing.acts import closed_on, deploy, lock, opened
from edgeguard.testing.world import until

if TYPE_CHECKING:
    from edgeguard.testing.world import World

SIGTERM_CODE, SIGKILL_CODE, NOT_FOUND = 143, 137, 127


class Command:
    """A command that a driver runs on web2, in a thread."""

    def __init__(self, world: World, *command: str, given: bytes = b"") -> None:
        assert isinstance(world.cluster, Runs)
        self.output, self.errors = bytearray(), bytearray()
        self.ends = Ends(self.output.extend, self.errors.extend, _file(given))
        self.ended: Ended | None = None
        self.failed: ClusterError | None = None
        runs: Runs = world.cluster

        def work() -> None:
            try:
                self.ended = runs.run("web2", command, self.ends)
            except ClusterError as exc:
                self.failed = exc

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def end(self) -> Ended:
        """Wait for its end."""
        self.thread.join(60)
        if self.failed is not None:
            raise self.failed
        assert self.ended is not None
        return self.ended


def _file(content: bytes) -> int:
    """A descriptor from which this can be read."""
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return reader


def script(world: World, text: str, *, given: bytes = b"") -> Command:
    return Command(world, "/bin/sh", "-c", text, given=given)


def test_a_command_has_what_the_application_has_and_its_own_streams(world: World) -> None:
    if not isinstance(world.cluster, Runs):
        return
    lock(world)
    with pytest.raises(NotStaged):
        script(world, "true").end()
    one = world.generation("one", variables={"GREETING": "a b\nc'\"$x"})
    deploy(world, 1, one)
    said = script(world, 'printf "%s|" "$GREETING" "$EDGEGUARD_SERVER" "$PWD"; cd && pwd')
    assert said.end() == Ended(0)
    *words, home = said.output.decode().split("|")
    assert words == ["a b\nc'\"$x", "web2", str(one.runs.folder)]
    assert home.strip().endswith("/generations/one/home")

    much = os.urandom(3_000_000)
    back = script(world, "echo aside >&2; cat; exit 7", given=much)
    assert (back.end(), bytes(back.errors)) == (Ended(7), b"aside\n")
    assert back.output == much
    assert Command(world, "no-such-command").end() == Ended(NOT_FOUND)
    deaf = script(world, "exec <&-; echo deaf", given=much)  # it reads nothing
    assert (deaf.end(), bytes(deaf.output)) == (Ended(0), b"deaf\n")


def test_a_command_s_group_gets_signals_and_nothing_of_it_stays(world: World) -> None:
    if not isinstance(world.cluster, Runs):
        return
    opened(world)
    left = script(world, f"(setsid sleep 600 & echo $! > {world.scratch}/left.web2) > /dev/null 2>&1; sleep 0.2")
    assert left.end() == Ended(0)
    assert world.shell("web2", f"grep '^State:.[^Z]' /proc/$(cat {world.scratch}/left.web2)/status") == ""

    note = f"{world.scratch}/heard.web2"
    group = script(
        world, f"(trap 'echo inner >> {note}' INT; echo ready; sleep 600 & wait; true); echo outer >> {note}"
    )
    until(lambda: bytes(group.output) == b"ready\n", "it runs")
    group.ends.signals.append(signal.SIGINT)
    assert group.end().code in (0, 128 + signal.SIGINT)
    assert world.noted("heard").startswith("inner\n")

    gone = script(world, f"echo $$ > {world.scratch}/gone.web2; sleep 600 & wait")
    until(lambda: world.noted("gone") != "", "it runs")
    gone.ends.signals.append(signal.SIGTERM)
    assert gone.end() == Ended(SIGTERM_CODE)


def test_a_command_of_the_old_release_is_ended_by_the_swap(world: World) -> None:
    if not isinstance(world.cluster, Runs):
        return
    opened(world)
    old = script(world, "trap '' TERM; echo ready; while :; do sleep 1; done")
    until(lambda: bytes(old.output) == b"ready\n", "it runs")
    two = world.generation("two")
    world.cluster.stage(1, two)
    closed_on(world, two)
    assert old.end() == Ended(SIGKILL_CODE, swapped=True)
    new = script(world, "cat release")  # while it is closed
    assert (new.end(), bytes(new.output)) == (Ended(0), b"two")
