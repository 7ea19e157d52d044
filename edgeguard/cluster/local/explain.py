"""The sentences for `plan`: the acts of each phase of a deploy, as this driver does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster import tasks
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeguard.cluster import Generation
    from edgeguard.settings import ClusterSettings


def explain(
    phase: str, generation: Generation, settings: ClusterSettings, servers: Sequence[str], *, root: Path, gate_port: int
) -> Sequence[str]:
    """The acts of a phase, a line each; empty for a phase in which this driver does nothing."""
    listed, gate = ", ".join(servers), f"the gate on 127.0.0.1:{gate_port}"
    user = generation.runs.user
    lines = {
        "stage": [
            f"{listed}: write {root}/servers/*/generations/{generation.name}, beside what runs",
            *([f"try as {user} whether it can read the image and write in HOME and the mounts"] if user else []),
        ],
        "stop-tasks": [f"{listed}: SIGTERM to background tasks, SIGKILL 2 s later"],
        "close": [f"{gate} answers {settings.closed_status} at once"],
        "drain": [f"wait for the answers of requests let through before, at most {duration(settings.drain_timeout)}"],
        "swap": [
            f"{server}: SIGTERM, SIGKILL 2 s later; rename current → generations/{generation.name}; start"
            + (f" as {user}" if user else "")
            for server in servers
        ],
        "hook": [f"{settings.hook_on(tuple(servers))}: the deploy hook, at most {duration(settings.hook_timeout)}"],
        "check": [
            f"{server}: GET {settings.health_path} is 200 within {duration(settings.start_timeout)}, from this release"
            for server in servers
        ],
        "open": [f"{gate} lets requests through to {listed}", *tasks.starts(generation, settings, servers)],
    }
    return lines.get(phase, [])
