"""The steps from stopping the tasks to opening the gate."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from edgeguard.cluster import Closure
from edgeguard.cluster.host import schedule
from edgeguard.cluster.record import Phase
from edgeguard.cluster.tasks import RunsTasks
from edgeguard.deploy.steps.hook import halt
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import ClusterError, Interrupted
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts


_TOLD = 20
"""Moments of one skipped cron that a report has."""


class StopTasks(Step):
    """Terminate background tasks. They start again when the cluster opens.

    Where nothing was closed, the undo lets those of the release that serves run again. Otherwise the undo of the close
    does so.
    """

    name = "stop-tasks"
    restores = True

    def do(self) -> Facts:
        self.deployment.tasks_stopped = self.deployment.tasks_stopped or self.deployment.claim.now()
        return {"tasks": self.environment.cluster.stop_tasks(self.deployment.epoch)}

    def undo(self, before: Facts) -> str | None:
        deployment = self.deployment
        if deployment.closed or deployment.first:
            return None
        try:
            if all(server.open for server in deployment.serving.state()):
                deployment.serving.open(deployment.epoch, deployment.previous_generation().name)
        except ClusterError as exc:
            again = f"edgeguard cluster open {self.environment.name}"
            return f"the background tasks could not be started again: {exc.message}; {again} starts them"
        return None


class Close(Step):
    """Let the gate refuse requests.

    The undo opens the previous release, which must run on every server and be healthy. If its image was changed
    meanwhile, the undo only warns: the image served before, too.
    """

    name = "close"
    restores = True

    def before(self) -> Facts:
        return {"open": self.deployment.was_open}

    def do(self) -> Facts:
        self.deployment.reach(Phase.CLOSE)
        closed = self.deployment.begin_closure()
        note = self.deployment.note_reached(
            was_open=self.deployment.was_open, pages=self.deployment.pages, time_closed=closed
        )
        self.environment.cluster.close(self.deployment.epoch, _closure(self.deployment), note=note)
        return {"closed_since": rfc3339(closed.since)}

    def undo(self, before: Facts) -> None:
        stay_closed(self.deployment)
        if before["open"] and not self.deployment.first:
            previous = self.deployment.previous_generation()
            self.deployment.serving.check(previous)
            self.deployment.serving.open(self.deployment.epoch, previous.name)
            with suppress(ClusterError):  # only reports need it
                self.deployment.record.note_deploy(time_closed=self.deployment.end_closure())
            self.deployment.tell_differences(previous)


class Drain(Step):
    """Wait until the requests that passed the gate are answered, and cut those that last too long."""

    name = "drain"

    def do(self) -> Facts:
        limit = self.environment.settings.cluster.drain_timeout
        return {"cut": self.environment.cluster.drain(self.deployment.epoch, limit)}


class Swap(Step):
    """On every server, stop the old processes, make the new generation current, and start its processes."""

    name = "swap"
    restores = True

    def before(self) -> Facts:
        return {"generation": self.deployment.previous}

    def do(self) -> Facts:
        self.environment.cluster.swap(self.deployment.epoch, self.deployment.target.name)
        return {}

    def undo(self, before: Facts) -> None:
        deployment = self.deployment
        stay_closed(deployment)
        previous = None if deployment.first else deployment.previous_generation().name
        deployment.serving.swap(deployment.epoch, previous)
        if previous is not None:
            deployment.tell_who_comes_back(previous)
        empty_what_comes_back(deployment)  # these servers have no generation to go back to


class Check(Step):
    """Each server, asked behind the gate, is healthy and runs the new release only."""

    name = "check"

    def do(self) -> Facts:
        check(self.deployment)
        return {}


class Open(Step):
    """Let the gate pass requests, and end the hold."""

    name = "open"
    restores = True

    def do(self) -> Facts:
        if self.deployment.deaths and self.deployment.died():  # between the check and now
            check(self.deployment)
        self.deployment.reach(Phase.OPEN)
        closed = self.deployment.time_closed
        note = self.deployment.note_reached(time_closed=closed and closed.opening(self.deployment.claim.now()))
        self.environment.cluster.open(self.deployment.epoch, self.deployment.target.name, note=note)
        self.deployment.end_closure()
        self.deployment.claim.let_go_of_hold()
        return {"closed_seconds": self.deployment.closed_seconds, **self._skipped()}

    def _skipped(self) -> Facts:
        """The crons that were due while no task could run, each with its moments, the first of them at most."""
        deployment, runs = self.deployment, self.deployment.target.runs
        began = deployment.tasks_stopped
        if began is None and deployment.time_closed is not None:  # an earlier run has stopped them
            began = deployment.time_closed.since
        if began is None or not isinstance(self.environment.cluster, RunsTasks):
            return {}
        where = schedule.zone(runs.timezone)
        skipped: dict[str, list[str]] = {}
        for task in runs.tasks:
            if task.schedule is not None:
                moments = schedule.read(task.schedule, task.hashed)
                due = islice(schedule.between(moments, began, deployment.claim.now(), where), _TOLD)
                skipped[task.name] = [rfc3339(moment) for moment in due]
        return {"skipped": told} if (told := {name: due for name, due in skipped.items() if due}) else {}

    def undo(self, before: Facts) -> None:
        self.deployment.claim.hold_again()
        self.environment.cluster.stop_tasks(self.deployment.epoch)
        self.deployment.record.taken_along({"time_closed": self.deployment.begin_closure()})
        self.environment.cluster.close(self.deployment.epoch, _closure(self.deployment))
        self.environment.cluster.drain(self.deployment.epoch, self.environment.settings.cluster.drain_timeout)


def check(deployment: Deployment) -> None:
    """Wait until every server is healthy on the new release, and note the deaths that came before.

    Raises:
        ClusterError: a server is not healthy in time, or keeps dying.
        Interrupted: a signal came meanwhile.
    """
    stop = deployment.stop
    try:
        healthy = deployment.environment.cluster.check(deployment.target, cancelled=stop.asked)
    except Interrupted:
        stop.check()  # says which signal came
        raise
    deployment.note_deaths(healthy)


def stay_closed(deployment: Deployment) -> None:
    """If the hook has begun and `after_hook_failure` is "stay-closed", keep the cluster closed: a person decides.

    Raises:
        Halt: the cluster stays closed behind one long claim.
    """
    wanted = deployment.environment.settings.cluster.after_hook_failure == "stay-closed"
    if wanted and deployment.hook_begun and not deployment.by_hand:
        raise halt(deployment)


def empty_what_comes_back(deployment: Deployment) -> None:
    """End the processes on the servers that come back. Where a server has a gate of its own, that is closed first: it
    is as open as it was when the server was lost."""
    back = deployment.back_again
    if not back.servers:
        return
    if not back.one_gate:
        back.close(deployment.epoch, _closure(deployment))
    back.swap(deployment.epoch, None)


def _closure(deployment: Deployment) -> Closure:
    return Closure(deployment.id, deployment.claim.now() + deployment.environment.settings.cluster.planned_closure)
