"""The environment of the processes that a server starts: the web process, tasks, hooks and people's commands.

Each of them adds a variable that tells whose it is (processes.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgeguard.cluster.host import generations, homes, sockets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeguard.cluster.host.generations import Task


def own(folder: Path, name: str, server: str, port: int | None = None) -> dict[str, str]:
    """The variables that are the server's own, none of them a secret: HOME and its like, EDGEGUARD_SERVER, and with a
    `port` PORT or SOCKET. Raises HostError where the generation isn't there."""
    listens = {} if port is None else sockets.variables(folder, name, port)
    return {**homes.variables(folder, name), **listens, "EDGEGUARD_SERVER": server}


def of_web(folder: Path, name: str, server: str, port: int) -> dict[str, str]:
    """All variables of a generation's web process, and of a command beside it. Secret. Raises HostError as `own`."""
    return {**generations.variables(folder, name), **own(folder, name, server, port)}


def of_task(folder: Path, name: str, server: str, task: Task) -> Mapping[str, str]:
    """All variables of a generation's task. Secret. Raises HostError as `own`."""
    return {**generations.variables(folder, name), **task.variables, **own(folder, name, server)}


def sizes(folder: Path, server: str, port: int) -> dict[str, dict[str, int]]:
    """The names of the variables of each process of the current generation (`web`, `worker NAME`, `cron NAME`, `hook
    NAME`), each with the bytes of its value; nothing before the first deploy. Raises HostError as `own`."""
    name = generations.current(folder)
    if name is None:
        return {}
    runs, web = generations.read(folder, name).runs, of_web(folder, name, server, port)
    found = {
        "web": web,
        **{f"{task.kind} {task.name}": of_task(folder, name, server, task) for task in runs.tasks},
        **{f"hook {hook}": web for hook in runs.hooks},
    }
    return {
        who: {each: len(os.fsencode(value)) for each, value in sorted(variables.items())}
        for who, variables in found.items()
    }
