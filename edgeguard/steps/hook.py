"""The two hooks, and what follows where only a person can know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.errors import Held, HookFailed, HookRuns, HookUnknown
from edgeguard.saga import Halt
from edgeguard.steps.deployment import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import HookResult
    from edgeguard.saga import Facts
    from edgeguard.steps.deployment import Deployment
    from edgeguard.steps.guard import ClaimGrace


class PostDeploy(Step):
    """The post-deploy hook, on one server, while the cluster is open. It starts once for each deploy."""

    name = "post-deploy"
    hook = "post_deploy"

    def do(self) -> Facts:
        choice = self.deployment.hook
        result = self._ended(choice)
        if choice == "skip" and (result is None or result.code != 0):
            self.deployment.say("warning", text=f"the {self.hook} hook is taken as done, as was said")
            return {"server": None, "skipped": True}
        if result is None or (choice == "again" and result.code != 0):
            result = self._start(again=choice == "again")
        output = self.environment.redact(result.output)
        for line in output.splitlines():
            self.deployment.say("output", text=line)
        if result.code != 0:
            raise self._failed(result, output)
        return {"server": result.server}

    def _ended(self, choice: str | None) -> HookResult | None:
        """How it ended, if it was started before; None too where a person has decided over a hook of unknown end."""
        try:
            return self._result(self.deployment.stop.asked)
        except HookUnknown as exc:
            if choice is None:
                raise unknown(self.environment.name, exc) from exc
            return None

    def _result(self, cancelled: Callable[[], bool]) -> HookResult | None:
        return self.environment.cluster.hook_result(self.deployment.target.name, self.hook, cancelled=cancelled)

    def _start(self, *, again: bool) -> HookResult:
        settings = self.environment.settings.cluster
        server = settings.hook_on(self.environment.cluster.servers)
        self._claimed(server)
        return self.environment.cluster.run_hook(
            self.deployment.epoch,
            self.hook,
            server,
            limit=settings.hook_timeout,
            cancelled=self.deployment.stop.asked,
            again=again,
        )

    def _claimed(self, server: str) -> None:
        """Whatever must be known everywhere before it starts."""

    def _failed(self, result: HookResult, output: str) -> HookFailed:
        ended, remedy = f"exited {result.code}", "Mend the hook, commit it, and deploy again."
        if result.code is None:
            limit = self.environment.settings.cluster.hook_timeout
            ended = f"was ended at its limit of {limit:g} s"
            remedy = "Find out what it waited for, or raise cluster.hook_timeout, and deploy again."
        last = output.strip().splitlines()[-1:] or ["no output"]
        return HookFailed(f"the {self.hook} hook {ended} on {result.server}: {last[0]}", remedy)


class Hook(PostDeploy):
    """The deploy hook, on one server, while the cluster is closed. It starts once, unless a person says again."""

    name = "hook"
    hook = "deploy"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def undo(self, before: Facts) -> None:
        try:
            self._result(lambda: True)
        except HookRuns as exc:
            raise halt(self.deployment, self._claim) from exc

    def _claimed(self, server: str) -> None:
        self.deployment.stop.check()
        self.deployment.record.note_deploy(phase=self.name, hook={"server": server})
        self.deployment.hook_begun = True


def halt(deployment: Deployment, claim: ClaimGrace) -> Halt:
    """Let the cluster stay closed behind one long claim, write that down, and say what a person can do."""
    until = claim.lengthen()
    deployment.record.note_deploy(held=True)
    return Halt(
        "the cluster stays closed" + (f"; the edge serves the copies it has until {until}" if until else ""),
        ways_on(deployment.environment.name, deployment.id),
    )


def ways_on(environment: str, deploy: str) -> str:
    """The three commands that go on from a cluster that stays closed, a line each."""
    return (
        f"To go on: edgeguard resume {environment} (with --hook=again or --hook=skip, if the hook failed)\n"
        f"  To go back: edgeguard rollback {environment}\n"
        f"  To bring a fix: edgeguard deploy {environment} --supersede {deploy}"
    )


def unknown(environment: str, exc: HookUnknown) -> Held:
    """The answer where only a person can know."""
    return Held(
        exc.message,
        f"{exc.remedy} See what it did, then say: edgeguard resume {environment} --hook=again, or --hook=skip; or "
        f"edgeguard rollback {environment}.",
    )
