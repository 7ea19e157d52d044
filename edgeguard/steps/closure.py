"""From the last task that is stopped to the gate that opens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.cluster import Closure
from edgeguard.steps.deployment import Step
from edgeguard.steps.hook import halt

if TYPE_CHECKING:
    from edgeguard.saga import Facts
    from edgeguard.steps.deployment import Deployment
    from edgeguard.steps.guard import ClaimGrace


class StopTasks(Step):
    """Terminate background tasks. They start again when the cluster opens."""

    name = "stop-tasks"

    def do(self) -> Facts:
        return {"tasks": self.environment.cluster.stop_tasks(self.deployment.epoch)}


class Close(Step):
    """The gate refuses. To take it back, the previous release must be whole on every server."""

    name = "close"

    def before(self) -> Facts:
        return {"open": self.deployment.was_open}

    def do(self) -> Facts:
        self.deployment.closed = True
        record, was_open = self.deployment.record, self.deployment.was_open
        record.note(without=self.deployment.without, deploy={**record.deploy, "phase": self.name, "was_open": was_open})
        self.environment.cluster.close(self.deployment.epoch, _closure(self.deployment))
        return {}

    def undo(self, before: Facts) -> None:
        if before["open"] and not self.deployment.first:
            previous = self.deployment.previous_generation()
            self.deployment.serving.check(previous)
            self.deployment.serving.open(self.deployment.epoch, previous.name)


class Drain(Step):
    """Wait until the requests that were let through are answered, then cut the rest."""

    name = "drain"

    def do(self) -> Facts:
        limit = self.environment.settings.cluster.drain_timeout
        return {"cut": self.environment.cluster.drain(self.deployment.epoch, limit)}


class Swap(Step):
    """Stop the old processes, make the new generation current, start the new ones; on every server."""

    name = "swap"

    def before(self) -> Facts:
        return {"generation": self.deployment.previous}

    def do(self) -> Facts:
        self.environment.cluster.swap(self.deployment.epoch, self.deployment.target.name)
        return {}

    def undo(self, before: Facts) -> None:
        deployment = self.deployment
        previous = None if deployment.first else deployment.previous_generation().name
        deployment.serving.swap(deployment.epoch, previous)
        if deployment.back_again.servers:  # they have nothing that they could go back to
            deployment.back_again.swap(deployment.epoch, None)


class StayClosed(Step):
    """Does nothing. Taking it back, once the hook has begun, is where a cluster stays closed on purpose: one long
    claim, and a person decides. An environment that prefers to be rolled back passes through."""

    name = "stay-closed"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def undo(self, before: Facts) -> None:
        deployment = self.deployment
        if deployment.hook_begun and not deployment.by_hand and self._stays():
            raise halt(deployment, self._claim)

    def _stays(self) -> bool:
        return self.environment.settings.cluster.after_hook_failure == "stay-closed"


class Check(Step):
    """Each server, asked behind the gate, is healthy and runs the new release only."""

    name = "check"

    def do(self) -> Facts:
        self.environment.cluster.check(self.deployment.target)
        return {}


class Open(Step):
    """The gate lets requests through; hold is given back."""

    name = "open"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def do(self) -> Facts:
        self.deployment.opened = True
        self.deployment.record.note_deploy(phase=self.name)
        self.environment.cluster.open(self.deployment.epoch, self.deployment.target.name)
        self._claim.let_go_of_hold()
        return {}

    def undo(self, before: Facts) -> None:
        self._claim.hold_again()
        self.environment.cluster.close(self.deployment.epoch, _closure(self.deployment))
        self.environment.cluster.drain(self.deployment.epoch, self.environment.settings.cluster.drain_timeout)


def _closure(deployment: Deployment) -> Closure:
    return Closure(deployment.id, time.time() + deployment.environment.settings.cluster.planned_closure)
