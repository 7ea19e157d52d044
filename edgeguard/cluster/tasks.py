"""Background tasks: what a driver that runs them tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgeguard.errors import UsageError
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.cluster import Cluster, Generation, Task
    from edgeguard.settings import ClusterSettings


@dataclass(frozen=True)
class TaskState:
    """A background task of the current generation on one server, as it is now.

    `since` is the start of what runs, in Unix time (None: it does not run). `deaths` counts the ends of a worker since
    the cluster was opened, and `missed` the moments of a cron at which its last run still ran. `next` is the next
    moment of a cron; None where it is not going to be started here: the cluster is closed, or another server runs it.
    `last` is the run before, if there was one: its start, its length in seconds, its exit code (None: it was ended, or
    could not be started), and why it was ended. `kept` says whether what keeps the tasks running is alive.
    """

    server: str
    task: Task
    kept: bool
    since: float | None = None
    deaths: int = 0
    missed: int = 0
    next: float | None = None
    last: TaskRun | None = None


@dataclass(frozen=True)
class TaskRun:
    """A run of a background task that is over. `seconds` is None where nobody saw its end."""

    began: float
    seconds: float | None
    code: int | None
    why: str | None


@runtime_checkable
class RunsTasks(Protocol):
    """A driver that runs the background tasks of a generation: from `open` on, until `stop_tasks`."""

    def tasks(self) -> Sequence[TaskState]:
        """The background tasks of the current generation, in the order of `servers`."""


def of(cluster: Cluster, environment: str) -> Sequence[TaskState]:
    """The tasks of the current generation on every server.

    Raises:
        UsageError: the driver runs none.
        ClusterError: a server can't be asked.
    """
    if not isinstance(cluster, RunsTasks):
        raise UsageError(
            f"the driver of {environment} runs no background tasks", "The application's own start and stop scripts do."
        )
    return cluster.tasks()


def find(cluster: Cluster, said: str) -> str:
    """The id of the background task of the current generation that a person means by its name, or by its id.

    Raises:
        UsageError: there is none, or a worker and a cron have this name.
    """
    ids = dict.fromkeys(state.task.id for state in cluster.tasks()) if isinstance(cluster, RunsTasks) else {}
    meant = [found for found in ids if said in (found, found.partition("-")[2])]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(f"a worker and a cron are named {said}", f"Say {' or '.join(meant)}.")
    known = f"There are {', '.join(ids)}." if ids else "The release that is current names neither workers nor crons."
    raise UsageError(f"there is no background task {said}", known)


def starts(generation: Generation, settings: ClusterSettings, servers: Sequence[str]) -> list[str]:
    """Which background tasks an opening of these servers starts, and where, a sentence each."""
    found = []
    for kind, where in (("worker", ", ".join(servers)), ("cron", settings.crons_on(servers))):
        names = [task.name for task in generation.runs.tasks if task.kind == kind]
        found += [f"{where}: {kind}s {', '.join(names)}"] if names else []
    return found


def told(state: TaskState) -> dict[str, Any]:
    """A task as JSON has it: moments in the form of RFC 3339, lengths in seconds."""
    last = state.last
    return {
        "server": state.server,
        "kind": state.task.kind,
        "name": state.task.name,
        "schedule": state.task.schedule,
        "running_since": _moment(state.since),
        "deaths": state.deaths,
        "missed": state.missed,
        "next": _moment(state.next),
        "kept": state.kept,
        "last": last and {"began": rfc3339(last.began), "seconds": last.seconds, "code": last.code, "why": last.why},
    }


def _moment(at: float | None) -> str | None:
    return None if at is None else rfc3339(at)
