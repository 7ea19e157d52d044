"""The background tasks of a server under systemd: when they may run, how each is started, and how all are ended.

Their units (task_units.py) demand the file `tasks-allowed` in the server's folder: {"generation", "crons", "since"}. It
is there from an opening to the next stop. `tasks/ID.json` tells of one task: {"since", "began", "deaths", "missed",
"quick", "why", "last": {"began", "seconds", "code", "why"}}; `tasks/crons.json` has the moment until which crons were
started, {"looked"}. Moments are Unix times, but for `began`, which is the monotonic clock's.

systemd calls `start_allowed` when the server boots, `start_due` every minute, `become` as the command of a task's unit,
and `ended` after each end.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import ending_tasks, environment, files, generations, processes, schedule, units, web
from edgeguard.cluster.host.control_groups import ControlGroup
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.prepared import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edgeguard.cluster.host.generations import Task

ALLOWED = "tasks-allowed"
_LATE = 120.0
"""A moment that is longer past (the server slept, or its clock was set) is no reason to start a cron."""
_ALLOWED: dict[str, files.Kinds] = {"generation": (str,), "crons": (bool,), "since": files.NUMBER}
_TOLD: dict[str, files.Kinds] = {
    "deaths": (int,),
    "missed": (int,),
    "quick": (int,),
    "since?": files.NUMBER,
    "began?": files.NUMBER,
    "why?": (str,),
    "last?": (dict,),
}
_FRESH: dict[str, Any] = {"deaths": 0, "missed": 0, "quick": 0}


def allow(folder: Path, *, crons: bool) -> None:
    """Let the tasks of the current generation run from now on, crons only where `crons` says so. Those that run go on.

    Raises:
        HostError: the units are missing, or systemd refuses.
    """
    name = str(generations.current(folder))
    tasks = generations.read(folder, name).runs.tasks
    if not tasks:
        return
    wanted = {"generation": name, "crons": crons}
    found = _allowed(folder)
    if found is None or any(found[key] != wanted[key] for key in wanted):
        files.private(folder / "tasks")
        stop(folder)
        _forget(folder, {task.id for task in tasks})
        files.write(folder / ALLOWED, {**wanted, "since": time.time()})
    start_allowed(folder)


def allowed(folder: Path) -> bool:
    """Whether tasks may run: nobody has stopped them since the opening."""
    return (folder / ALLOWED).exists()


def start_allowed(folder: Path) -> None:
    """Start the workers that may run, and what starts crons. Those that run are left alone, and so is a worker whose
    unit somebody has masked. Raises HostError where the units are missing."""
    found = _allowed(folder)
    if found is None:
        return
    prepared, tasks = Prepared.of(folder), generations.read(folder, found["generation"]).runs.tasks
    wanted = [prepared.task_unit(task).name for task in tasks if task.schedule is None]
    if found["crons"] and len(wanted) < len(tasks):
        wanted.append(prepared.crons_timer.name)
    states = units.matching(*wanted) if wanted else {}
    for unit, state in states.items():
        if state["LoadState"] not in ("loaded", "masked"):
            raise HostError(f"systemd has no unit {unit}", "Run `edgeguard cluster prepare`; it writes the units.")
    if loaded := [unit for unit, state in states.items() if state["LoadState"] == "loaded"]:
        units.start_all(*loaded)


def start_due(folder: Path) -> None:
    """Start the crons that are due. One that still runs is not started: that moment is missed. A run that has lasted
    for its limit is ended."""
    found = _allowed(folder)
    if found is None or not found["crons"]:
        return
    prepared, runs, now = Prepared.of(folder), generations.read(folder, found["generation"]).runs, time.time()
    with _changing(folder, "crons") as said:
        looked = min(float(said.get("looked") or 0.0), now)
        said["looked"] = now
    begin, where = max(looked, found["since"], now - _LATE), schedule.zone(runs.timezone)
    for task in runs.tasks:
        if task.schedule is None:
            continue
        unit = prepared.task_unit(task).name
        _end_at_limit(folder, unit, task)
        if any(schedule.between(schedule.read(task.schedule, task.hashed), begin, now, where)):
            if _runs(units.matching(unit)[unit]):
                with _changing(folder, task.id) as said:
                    said["missed"] += 1
            else:
                units.start_all(unit)


def stop(folder: Path) -> int:
    """End every task; none starts before `allow`. Returns how many ran. Nothing of them is left when this returns."""
    if not (folder / "tasks").exists():
        return 0
    (folder / ALLOWED).unlink(missing_ok=True)
    files.sync(folder)
    prepared = Prepared.of(folder)
    every = prepared.template("worker", "*"), prepared.template("cron", "*")
    found = units.matching(*every, prepared.crons_timer.name)
    running = {unit: ControlGroup(state["ControlGroup"]) for unit, state in found.items() if _runs(state)}
    ran = sum(bool(group.members()) for group in running.values())
    tasks = {prepared.task_unit(task).name: task for task in _current(folder) if task.stop is not None}
    ending_tasks.end(folder, running, {unit: tasks[unit] for unit in running if unit in tasks}, whole=True)
    units.forget_failures(*every)  # a task that was killed now would count as failed
    return ran


def become(folder: Path, task_id: str) -> None:
    """Become a task of the generation whose tasks may run. systemd calls this, as its unit's command."""
    time.sleep(web.PAUSES[min(int(_read(folder, task_id)["quick"]), len(web.PAUSES) - 1)])
    try:
        found = _allowed(folder)
        if found is None:
            sys.exit("the cluster is closed, so no task runs")
        name, server = found["generation"], Prepared.of(folder).server
        runs = generations.read(folder, name).runs
        task = next((task for task in runs.tasks if task.id == task_id), None)
        if task is None:
            sys.exit(f"{name} has no {task_id}")
        account = accounts.to_become(runs.user)
        mark = {processes.TASK: processes.task_mark(folder, name, task_id)}
        variables = {**environment.of_task(folder, name, server, task), **mark}
        with _changing(folder, task_id) as said:
            if said.get("since") is not None:  # nobody saw its end
                said["last"] = {"began": said["since"], "seconds": None, "code": None, "why": "its server went down"}
            said.update(since=time.time(), began=time.monotonic(), why=None)
        accounts.run(account, runs.folder, task.start, variables)
    except (HostError, OSError) as exc:
        with _changing(folder, task_id) as said:
            said["last"] = {"began": time.time(), "seconds": 0.0, "code": None, "why": str(exc)}
            said.update(since=None, quick=said["quick"] + 1)
        sys.exit(f"the task can't be started: {exc}")


def ask_to_end(folder: Path, task_id: str) -> None:
    """Become the command that asks a task of the current generation to end, in a unit of its own."""
    name = str(generations.current(folder))
    task = next(task for task in _current(folder) if task.id == task_id)
    runs = generations.read(folder, name).runs
    account = accounts.to_become(runs.user)
    variables = environment.of_task(folder, name, Prepared.of(folder).server, task)
    accounts.run(account, runs.folder, task.stop or (), variables)


def ended(folder: Path, task_id: str, told: Mapping[str, str]) -> None:
    """Note how a run of a task ended, of which nothing is left. systemd calls this after each end, and has `told` how
    it ended in the environment."""
    down = units.stopping()
    with _changing(folder, task_id) as said:
        if said.get("since") is None:
            return  # it could not be started, which is noted
        lived = time.monotonic() - float(said["began"])
        why = said.get("why") or ("its server went down" if down else None if allowed(folder) else "stopped")
        code = None if why else web.exit_code(told)
        said["last"] = {"began": said["since"], "seconds": lived, "code": code, "why": why}
        said.update(since=None, why=None)
        if why is None and task_id.startswith("worker-"):
            said["deaths"] += 1
            said["quick"] = said["quick"] + 1 if lived < web.STEADY_SECONDS else 1


def tell(folder: Path) -> list[dict[str, Any]]:
    """The tasks of the generation that is current, as they are now: the fields of TaskState but for the server's name,
    and `task` and `last` as JSON has them."""
    name = generations.current(folder)
    if name is None or not (runs := generations.read(folder, name).runs).tasks:
        return []
    prepared, found = Prepared.of(folder), _allowed(folder)
    wanted = [prepared.task_unit(task).name for task in runs.tasks]
    states = units.matching(*wanted, prepared.crons_timer.name)
    where = schedule.zone(runs.timezone)

    def state(task: Task) -> dict[str, Any]:
        said = _read(folder, task.id)
        runs_now = _runs(states[prepared.task_unit(task).name])
        crons = found is not None and found["crons"] and task.schedule is not None
        kept, due = True, None
        if task.schedule is None:
            kept = found is None or runs_now
        elif crons:
            kept = _runs(states[prepared.crons_timer.name])
            due = schedule.after(schedule.read(task.schedule, task.hashed), time.time(), where)
        return {
            "task": asdict(task),
            "kept": kept,
            "since": said.get("since") if runs_now else None,
            "deaths": said["deaths"],
            "missed": said["missed"],
            "next": due,
            "last": said.get("last"),
        }

    return [state(task) for task in runs.tasks]


def main(word: str, folder: Path, *task: str) -> None:
    """Do what systemd calls for: `tasks`, `crons`, or `task`, `task-stop` and `task-ended` with a task's id."""
    if word == "tasks":
        start_allowed(folder)
    elif word == "crons":
        start_due(folder)
    elif word == "task":
        become(folder, task[0])
    elif word == "task-stop":
        ask_to_end(folder, task[0])
    else:
        ended(folder, task[0], os.environ)


def _end_at_limit(folder: Path, unit: str, task: Task) -> None:
    since = _read(folder, task.id).get("since")
    if since is None or task.limit is None or time.time() < since + task.limit:
        return
    with _changing(folder, task.id) as said:
        said["why"] = "at its limit"
    running = {unit: ControlGroup(units.matching(unit)[unit]["ControlGroup"])}
    ending_tasks.end(folder, running, {}, whole=False)


def _current(folder: Path) -> tuple[Task, ...]:
    """The tasks of the generation that is current."""
    name = generations.current(folder)
    return () if name is None else generations.read(folder, name).runs.tasks


def _runs(state: Mapping[str, str]) -> bool:
    """Whether anything of a unit is there, or comes soon."""
    return state["ActiveState"] not in ("inactive", "failed")


def _allowed(folder: Path) -> dict[str, Any] | None:
    return files.read(folder / ALLOWED, _ALLOWED)


def _forget(folder: Path, kept: set[str]) -> None:
    """Begin to count anew. The last run of each task of these ids is remembered."""
    for path in (folder / "tasks").glob("*-*.json"):
        if path.stem not in kept:
            path.unlink()
            continue
        with _changing(folder, path.stem) as said:
            last = said.get("last")
            said.clear()
            said.update(_FRESH, last=last)


def _read(folder: Path, task_id: str) -> dict[str, Any]:
    return {**_FRESH, **(files.read(folder / "tasks" / f"{task_id}.json", _TOLD) or {})}


@contextmanager
def _changing(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The content of a file in `tasks`, which is written afterwards. The files have a lock of their own: a stop holds
    the server's lock while systemd runs `ended`."""
    with open(folder / "tasks" / "lock", "a", encoding="ascii", opener=files.only_ours) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = _read(folder, name)
        yield said
        files.write(folder / "tasks" / f"{name}.json", said, durable=False)
