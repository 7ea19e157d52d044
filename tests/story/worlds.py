"""edgeguard as a user has it: processes with arguments, in worlds of their own that leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = 400  # seconds; a first build fetches from the registries


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit code, its lines of JSON, and what it said to people."""

    code: int
    events: list[dict[str, Any]]
    said: str

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def environment(folder: Path) -> dict[str, str]:
    """This process's, with a place for temporary files, by which everything that a command leaves can be found."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTLY_")} | {
        "TMPDIR": str(folder)
    }


def edgeguard(*arguments: str | Path, folder: Path) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=environment(folder),
        text=True,
        timeout=LONG,
    )
    return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


@dataclass(frozen=True)
class World:
    """A rehearsal that stays."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    folder: Path

    @property
    def gate_url(self) -> str:
        """Where the gate listens, read as a person would: from the environment's file."""
        settings = tomllib.loads((Path(self.ready["config"]) / "rehearsal.toml").read_text(encoding="utf-8"))
        return f"http://127.0.0.1:{settings['cluster']['options']['gate_port']}"

    @property
    def ledger(self) -> list[str]:
        """What the bundled application's deploy hook noted: a time, what, where and for which release."""
        [path] = self.folder.glob("*/cluster/mounts/var/hooks.log")
        return path.read_text(encoding="utf-8").splitlines()

    def edgeguard(self, *arguments: str | Path) -> Ended:
        """Run a command on this world."""
        return edgeguard(*arguments, "--config", self.ready["config"], "--json", folder=self.folder)

    def end(self) -> None:
        """Tell it to stop. Harmless twice."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LONG)


@contextmanager
def world(folder: Path, *arguments: str) -> Iterator[World]:
    """Set a world up, and end it whatever happens."""
    with (
        (folder.parent / f"{folder.name}.log").open("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "edgeguard", "rehearse", "--stay", "--json", *arguments],
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, Path(log.name).read_text(encoding="utf-8")
        found = World(process, json.loads(line), folder)
        try:
            yield found
        finally:
            found.end()


def processes(folder: Path) -> set[int]:
    """The processes that live in this folder, or have it for their temporary files. Linux only."""
    found = set()
    for place in Path("/proc").iterdir():
        if place.name.isdecimal():
            try:
                told = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
                here = str((place / "cwd").readlink())
            except OSError:  # it ended, or is somebody else's
                continue
            if str(folder) in here or str(folder).encode() in told:
                found.add(int(place.name))
    return found


def until(what: Callable[[], bool], limit: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
