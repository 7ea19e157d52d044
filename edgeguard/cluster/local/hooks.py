"""A hook on one server, as the driver sees it: its ledger, and the lock that its processes hold while they run."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import HookResult
from edgeguard.cluster.local import generations, host
from edgeguard.errors import ClusterError, HookRuns, HookUnknown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SHOWN = 4000  # characters of a hook's output
_POLL = 0.01
_START_SECONDS = 20.0


def ledger(server: Path, generation: str, hook: str) -> Path:
    """The file that says that a generation's hook was started on a server, and how it ended."""
    return server / "generations" / generation / f"hook-{hook}.json"


def start(server: Path, generation: str, hook: str, *, port: int, limit: float) -> None:
    """Write *started*, durably, and start the hook in a session of its own. The caller holds the lock of the host.

    Raises:
        ClusterError: the hook runs already, or can't be started.
    """
    path = ledger(server, generation, hook)
    runs = generations.read(path.parent)
    with _lock(path).open("a+", encoding="ascii") as lock:
        if not _take(lock.fileno()):
            raise ClusterError(f"{server.name}: the {hook} hook runs at this moment", "Wait until it has ended.")
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
        try:
            subprocess.run(
                [sys.executable, "-m", "edgeguard.cluster.local.hook", str(path), str(lock.fileno())],
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock.fileno(),),  # held until the hook and its runner have ended, even if this process dies
                timeout=_START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise ClusterError(f"{server.name}: the {hook} hook does not start", "Is that machine overloaded?") from exc


def result(server: Path, generation: str, hook: str, *, cancelled: Callable[[], bool]) -> HookResult | None:
    """The end of a hook on this server; None if it was never started there. This waits while the hook runs.

    Raises:
        HookRuns: the hook runs, and `cancelled()` turned true. It is left running.
        HookUnknown: the hook was started and runs no more, and its end was not written down.
    """
    path = ledger(server, generation, hook)
    if not path.exists():
        return None
    while _held(path):
        if cancelled():
            raise HookRuns(f"{server.name}: the {hook} hook of {generation} still runs")
        time.sleep(_POLL)
    said = host.read(path) or {}
    if not said.get("done"):
        raise HookUnknown(
            f"{server.name}: it is not known how the {hook} hook of {generation} ended; its runner was killed",
            f"Its output is in {path.with_suffix('.log')}.",
        )
    output = host.tail(path.with_suffix(".log"), _SHOWN)
    return HookResult(said["server"], said["code"], output, said["seconds"])


def running(server: Path) -> str | None:
    """The generation whose deploy hook still runs on a server. The command that started it may have ended."""
    for path in server.glob("generations/*/hook-deploy.json"):
        if _held(path):
            return path.parent.name
    return None


def end(server: Path) -> None:
    """End every hook that runs on a server, by the process id in its lock's file."""
    for path in server.glob("generations/*/hook-*.json"):
        while _held(path):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(_lock(path).read_text(encoding="ascii")), signal.SIGTERM)
            time.sleep(_POLL)


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _take(lock: int) -> bool:
    """Try several times: a process that only looks whether the lock is held has it for a moment."""
    for _ in range(100):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.005)
    return False


def _held(path: Path) -> bool:
    try:
        with _lock(path).open(encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
