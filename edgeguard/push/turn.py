"""The process that deploys pushes. It has a session of its own: whoever pushed may hang up.

It waits for its turn, deploys the newest push, and goes on with the one that came meanwhile. Every push starts one, so
that the death of the one that deploys leaves the next one to the process that waits. Only if all of them die, such as
by a restart of the machine, a push is left, which the next push, or `git receive --retry`, finds.
"""

from __future__ import annotations

import collections
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files
from edgeguard.machine import process, signals
from edgeguard.push.pushes import Pushes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.push.pushes import Push

_POLL = 0.2  # seconds
_FIRST = 4 * 2**20  # bytes of a deploy's output that are kept
_LAST = 2**16  # bytes of its end that are kept beyond that
_PYTHON = (sys.executable, "-P", "-m")  # -P: what lies in the current folder is not what is meant


def start(pushes: Pushes, serial: int, turn: int | None) -> None:
    """Start the process for a push, and give it the turn if the caller holds it."""
    argv = [*_PYTHON, "edgeguard.push.turn", str(pushes.folder), str(serial), *([] if turn is None else [str(turn)])]
    try:
        process.apart(argv, cwd=pushes.folder, env=process.outside_of_git(), inherit=[] if turn is None else [turn])
    finally:
        if turn is not None:
            os.close(turn)


def run(pushes: Pushes, serial: int, turn: int | None) -> None:
    """Wait for the turn, unless it is held already, and deploy what waits. Ends when another process has taken the push
    for which this one was started."""
    while turn is None:
        waiting = pushes.read().waiting
        if waiting is None or waiting.serial != serial:
            return
        turn = pushes.turn()
        if turn is None:
            time.sleep(_POLL)
    while push := pushes.take():
        pushes.end(push, deploy(push, pushes.output(push.serial), turn))


def deploy(push: Push, output: Path, turn: int) -> int:
    """Run `edgeguard deploy`, with its output in this file. Returns its exit code."""
    argv = [*_PYTHON, "edgeguard", "deploy", push.environment, "--ref", push.commit]
    argv += ["--config", push.config, "--state", push.state, *(["--if-changed"] if push.again else [])]
    kept = Kept(output)
    try:
        return process.run(
            argv,
            cwd=Path(push.config).parent,
            env={**process.outside_of_git(), **_source(push)},
            limit=math.inf,
            cancelled=lambda: False,
            output=kept.line,
            inherit=(turn,),
        )
    finally:
        kept.close()


def _source(push: Push) -> Mapping[str, str]:
    """What is pushed is what is deployed, whatever the environment's file has for people."""
    return {
        "EDGEGUARD_APPLICATION__REPOSITORY": push.repository,
        "EDGEGUARD_APPLICATION__BRANCH": push.branch,
    }


class Kept:
    """Writes the beginning and the end of a deploy's output to a private file. A full disk stops no deploy."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._dropped = 0
        self._end: collections.deque[bytes] = collections.deque()

    def line(self, text: str) -> None:
        """Take a line."""
        line = text.encode(errors="backslashreplace") + b"\n"
        self._size += len(line)
        if self._size <= _FIRST:
            self._write(line)
            return
        self._end.append(line)
        while sum(map(len, self._end)) > _LAST:
            self._dropped += len(self._end.popleft())

    def close(self) -> None:
        """Write the end, and how much is left out before it."""
        if self._dropped:
            self._write(f"({self._dropped} bytes of the output are left out here)\n".encode())
        self._write(b"".join(self._end))

    def _write(self, content: bytes) -> None:
        with suppress(OSError), open(self._path, "ab", opener=files.only_ours) as file:
            file.write(content)


if __name__ == "__main__":
    signals.hear_nothing()  # the deploy itself hears a signal that is sent to it
    run(Pushes(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
