"""Processes that outlive the command that started them."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TREE = Path(__file__).parents[2]
_START = '"$@" </dev/null >>"$LOG" 2>&1 & echo $!'


def start(argv: Sequence[str | Path], log: Path, *, descriptors: Sequence[int] = ()) -> int:
    """Start a process in a session of its own, with these descriptors; its output goes to a file. Returns its process
    id."""
    environment = {**os.environ, "LOG": str(log), "PYTHONPATH": str(_TREE)}
    shell = ["setsid", "--wait", "sh", "-c", _START, "sh", *argv]
    return int(subprocess.run(shell, env=environment, stdout=subprocess.PIPE, check=True, pass_fds=descriptors).stdout)


def began(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: with its id, that names it for ever. None where there is none, or
    only what is left of one."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
