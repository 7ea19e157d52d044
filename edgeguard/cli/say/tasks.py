"""Background tasks, for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.times import duration, rfc3339
from edgeguard.width import padded, width, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.cluster.tasks import TaskRun, TaskState


def told(environment: str, tasks: Sequence[TaskState]) -> str:
    """A line for each task on each server, and under it what came of its last run. Crons are shown where they run."""
    if not tasks:
        return f"{environment} has no background tasks: the release that is current names neither workers nor crons"
    shown = [task for task in tasks if task.task.schedule is None or task.next is not None or task.last is not None]
    shown += [task for task in tasks if not any(_same(task, other) for other in shown) and task.task.schedule]
    names = [f"{task.server}  {task.task.kind} {task.task.name}" for task in shown]
    columns = max(map(width, names))
    lines = [wrapped(f"{padded(name, columns)}  {_now(task)}", 4) for name, task in zip(names, shown, strict=True)]
    stopped = [] if any(task.since or task.next for task in tasks) else ["No task runs before the cluster opens."]
    dead = sorted({task.server for task in tasks if not task.kept and not stopped})
    again = f"edgeguard cluster open {environment} starts it"
    return "\n".join(
        [*lines, *stopped, *(f"{server}: what keeps the tasks running is dead; {again}" for server in dead)]
    )


def _same(one: TaskState, other: TaskState) -> bool:
    return one.task.id == other.task.id


def _now(task: TaskState) -> str:
    said = (
        [f"runs since {rfc3339(task.since)}, for {duration(max(0.0, time.time() - task.since))}"] if task.since else []
    )
    if task.task.schedule is None:
        said += [] if said else ["does not run"]
        said += [f"was started again {_times(task.deaths)}"] if task.deaths else []
    else:
        said += [f"next at {rfc3339(task.next)}" if task.next else "is not planned"] if not task.since else []
        said += [f"missed {_times(task.missed)}, since it still ran"] if task.missed else []
    said += [f"last run {_run(task.last)}"] if task.last else []
    return "; ".join(said)


def _run(run: TaskRun) -> str:
    how = f"exit {run.code}" if run.why is None else run.why
    lasted = [] if run.seconds is None else [duration(run.seconds)]
    return ", ".join([rfc3339(run.began), *lasted, how])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
