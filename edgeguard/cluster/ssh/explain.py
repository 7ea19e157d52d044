"""The sentences for `plan`: the acts of each phase of a deploy, as this driver does them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster import tasks
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeguard.cluster import Generation
    from edgeguard.cluster.ssh.options import Options
    from edgeguard.settings import ClusterSettings


def explain(
    phase: str,
    generation: Generation,
    settings: ClusterSettings,
    servers: Sequence[str],
    *,
    root: Path,
    options: Options,
) -> Sequence[str]:
    """The acts of a phase, a line each; empty for a phase in which this driver does nothing."""
    lines = {
        "stage": [
            f"{server}: copy what {root}/releases lacks of the image, verify it, and write generation {generation.name}"
            for server in servers
        ],
        "stop-tasks": [f"{', '.join(servers)}: SIGTERM to background tasks, SIGKILL 2 s later"],
        "close": [
            f"{server}: the gate on {options.listen} answers {settings.closed_status} at once" for server in servers
        ],
        "drain": [f"wait for the answers of requests let through before, at most {duration(settings.drain_timeout)}"],
        "swap": [
            f"{server}: stop the web unit; rename current → generations/{generation.name}; start the web unit"
            for server in servers
        ],
        "hook": [f"{settings.hook_on(tuple(servers))}: the deploy hook, at most {duration(settings.hook_timeout)}"],
        "check": [
            f"{server}: GET {settings.health_path} is 200 within {duration(settings.start_timeout)}, from this release"
            for server in servers
        ],
        "open": [
            *(f"{server}: the gate lets requests through" for server in servers),
            *tasks.starts(generation, settings, servers),
        ],
    }
    return lines.get(phase, [])
