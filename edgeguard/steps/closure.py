"""From the last task that is stopped to the gate that opens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.cluster import Closure, Generation
from edgeguard.errors import ClusterError, HookFailed, OriginsUnhealthy
from edgeguard.steps.deployment import Step, agreed

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
        return {"open": all(server.open for server in self.environment.cluster.state())}

    def do(self) -> Facts:
        until = time.time() + self.environment.settings.cluster.planned_closure
        self.deployment.closed = True
        self.deployment.record.note(deploy={"id": self.deployment.id})
        self.environment.cluster.close(self.deployment.epoch, Closure(self.deployment.id, until))
        return {}

    def undo(self, before: Facts) -> None:
        previous = self.deployment.previous
        if before["open"] and previous is not None:
            self.environment.cluster.check(previous_generation(self.deployment))
            self.environment.cluster.open(self.deployment.epoch, previous)
        self.deployment.record.note(deploy=None)


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
        if before["generation"] is None and not self.deployment.first:
            raise ClusterError(
                "the servers ran different releases before, so there is none to go back to",
                "The cluster stays closed; free the lock with `edgeguard unlock` and deploy a release that works.",
            )
        self.environment.cluster.swap(self.deployment.epoch, before["generation"])


class Hook(Step):
    """The deploy hook, on one server."""

    name = "hook"
    hook = "deploy"

    def do(self) -> Facts:
        settings = self.environment.settings.cluster
        result = self.environment.cluster.run_hook(
            self.deployment.epoch,
            self.hook,
            settings.hook_server or settings.servers[0],
            limit=settings.hook_timeout,
            cancelled=self.deployment.stop.asked,
        )
        output = self.environment.redact(result.output)
        for line in output.splitlines():
            self.deployment.say("output", text=line)
        if result.code != 0:
            self.deployment.stop.check()
            ended, remedy = f"exited {result.code}", "Mend the hook, commit it, and deploy again."
            if result.code is None:
                ended = f"was ended at its limit of {settings.hook_timeout:g} s"
                remedy = "Find out what it waited for, or raise cluster.hook_timeout, and deploy again."
            last = output.strip().splitlines()[-1:] or ["no output"]
            raise HookFailed(f"the {self.hook} hook {ended} on {result.server}: {last[0]}", remedy)
        return {"server": result.server}


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
        self.environment.cluster.open(self.deployment.epoch, self.deployment.target.name)
        self._claim.let_go_of_hold()
        return {}

    def undo(self, before: Facts) -> None:  # noqa: ARG002
        until = time.time() + self.environment.settings.cluster.planned_closure
        self._claim.hold_again()
        self.environment.cluster.close(self.deployment.epoch, Closure(self.deployment.id, until))
        self.environment.cluster.drain(self.deployment.epoch, self.environment.settings.cluster.drain_timeout)


def previous_generation(deployment: Deployment) -> Generation:
    """What was current before, as the servers hold it."""
    previous = deployment.previous or ""
    state = deployment.environment.cluster.state()
    release = agreed(server.release for server in state)
    if release is None:
        raise OriginsUnhealthy("the servers don't agree on one release")
    root = deployment.environment.settings.cluster.root
    return Generation(previous, release, root / "servers" / state[0].name / "generations" / previous / "image")
