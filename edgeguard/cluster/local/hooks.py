"""A hook on one server, as the driver sees it: its ledger, its process, its end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import HookResult
from edgeguard.cluster.local import generations, host
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SHOWN = 4000  # characters of a hook's output
_POLL = 0.01


def ledger(server: Path, generation: str, hook: str) -> Path:
    """Where it is written that a hook of a generation was started on a server, and how it ended."""
    return server / "generations" / generation / f"hook-{hook}.json"


@contextmanager
def started(server: Path, generation: str, hook: str, *, port: int, limit: float) -> Iterator[subprocess.Popen[bytes]]:
    """Write *started*, durably, and start the hook. The caller holds the lock of the host.

    Raises:
        ClusterError: it runs already.
    """
    path = ledger(server, generation, hook)
    runs = generations.read(path.parent)
    with path.with_suffix(".lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ClusterError(
                f"{server.name}: the {hook} hook runs at this moment", "Wait until it has ended."
            ) from exc
        began: dict[str, Any] = {
            "done": False,
            "server": server.name,
            "argv": runs["hooks"][hook],
            "cwd": runs["cwd"],
            "environment": {"PORT": str(port), "EDGEGUARD_SERVER": server.name},
            "limit": limit,
            "log": str(path.with_suffix(".log")),
            "started": time.time(),
        }
        host.write(path, began)
        with subprocess.Popen(
            [sys.executable, "-m", "edgeguard.cluster.local.hook", str(path)],
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock.fileno(),),  # held until that process is gone, whatever becomes of this one
        ) as process:
            yield process


def running(server: Path) -> str | None:
    """The generation whose deploy hook still runs on a server, perhaps started by a command that is long gone."""
    for lock in server.glob("generations/*/hook-deploy.lock"):
        with lock.open("a", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.parent.name
    return None


def ended(process: subprocess.Popen[bytes], path: Path, cancelled: Callable[[], bool]) -> HookResult:
    """Wait for a hook's end; `cancelled()` brings it about.

    Raises:
        ClusterError: the process that ran it was killed, so nobody knows how it ended.
    """
    told = False
    while process.poll() is None:
        if not told and cancelled():
            process.terminate()
            told = True
        time.sleep(_POLL)
    said = host.read(path) or {}
    if not said.get("done"):
        raise ClusterError(
            f"{path.parent.parent.parent.name}: it is not known how the hook ended; what ran it was killed",
            f"Its output is in {path.with_suffix('.log')}; see what it did before you go on.",
        )
    output = host.tail(path.with_suffix(".log"), _SHOWN)
    return HookResult(said["server"], said["code"], output, said["seconds"])
