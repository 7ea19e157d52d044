"""Run edgeguard as a user does, as processes with arguments, in rehearsals that leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.observer import Visitor, bundled_pages
from tests.staying_rehearsal import PATIENCE, StayingRehearsal, staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PAGES = bundled_pages(23)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, its lines of JSON, and its text for people."""

    code: int
    events: list[dict[str, Any]]
    said: str

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]


def environment(folder: Path) -> dict[str, str]:
    """This process's environment with a folder for temporary files, so that anything that a command leaves is found."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTLY_")} | {
        "TMPDIR": str(folder)
    }


def edgeguard(*arguments: str | Path, folder: Path, **variables: str) -> Ended:
    """Run a command to its end, with these variables more."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", *map(str, arguments)],
        capture_output=True,
        check=False,
        env=environment(folder) | variables,
        text=True,
        timeout=PATIENCE,
    )
    return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


@dataclass
class Rehearsal(StayingRehearsal):
    """A rehearsal whose temporary files are all below one folder."""

    folder: Path

    @property
    def hook_notes(self) -> list[str]:
        """The lines that the bundled application's deploy hook wrote: a time, what, where and for which release."""
        [path] = self.folder.glob("*/cluster/mounts/var/hooks.log")
        return path.read_text(encoding="utf-8").splitlines()

    def edgeguard(self, *arguments: str | Path) -> Ended:
        """Run a command on this rehearsal's environment."""
        return edgeguard(*arguments, "--config", self.ready["config"], "--json", folder=self.folder)


@contextmanager
def rehearsing(folder: Path, *arguments: str) -> Iterator[Rehearsal]:
    """Start a rehearsal, and end it in any case."""
    log = folder.parent / f"{folder.name}.log"
    with staying_rehearsal(log, *arguments, environment=environment(folder)) as found:
        yield Rehearsal(found.process, found.ready, folder)


def visitor(url: str, **headers: str) -> Visitor:
    """A visitor who asks for every page. An answer that takes longer than 5 s counts as none."""
    return Visitor(url, PAGES, patience=5.0, **headers)


def processes(folder: Path) -> set[int]:
    """The processes that run in this folder, or have their temporary files there. Linux only."""
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
    """Wait until a condition is true."""
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)
