"""The steps of the application's two hooks, and the errors for a hook whose end only a person can know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.host.files import quoted
from edgeguard.cluster.host.hooks import SHOWN_LINES
from edgeguard.cluster.record import Damaged, Phase, Record, StartedHook
from edgeguard.deploy.saga import Halt
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import Held, HookFailed, HookRuns, HookUnknown
from edgeguard.times import duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from edgeguard.cluster import Cluster, HookResult
    from edgeguard.cluster.parts import JSON
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts


class PostDeploy(Step):
    """Run the post-deploy hook on one server, while the cluster is open. It starts once for each deploy."""

    name = "post-deploy"
    hook = "post_deploy"

    def do(self) -> Facts:
        if not self.deployment.target.has_hook(self.hook):
            return {"server": None}
        choice, unknown_end = self.deployment.hook, None
        result = None
        try:
            result = self._result(self.deployment.stop.asked)
        except HookUnknown as exc:
            unknown_end = exc
        if unknown_end is not None and choice is None:
            raise self._unsettled(unknown_end) from unknown_end
        failed = result is not None and result.code != 0
        if choice == "skip" and (unknown_end or failed):
            self.deployment.say("warning", text=f"the {self.hook} hook is taken as done (--hook=skip)")
            return {"server": None, "skipped": True}
        if result is None or (failed and choice == "again"):
            result = self._start(again=choice == "again")
        if result.strays:
            pids = ", ".join(map(str, result.strays))
            text = f"the {self.hook} hook left processes behind on {result.server}, which go on by themselves: {pids}"
            self.deployment.say("warning", text=text)
        if result.code != 0:
            raise self._failed(result)
        return {"server": result.server}

    def _result(self, cancelled: Callable[[], bool]) -> HookResult | None:
        """How the hook ended, if it was started before. Raises HookRuns, HookUnknown."""
        with self.deployment.output() as output:
            return self.environment.cluster.hook_result(
                self.deployment.target.name, self.hook, cancelled=cancelled, output=output
            )

    def _unsettled(self, exc: HookUnknown) -> Held:
        self.deployment.unsettled = True
        return unknown(self.environment.name, exc)

    def _start(self, *, again: bool) -> HookResult:
        settings = self.environment.settings.cluster
        server = settings.hook_on(self.environment.cluster.servers)
        note = self._claimed(server)
        with self.deployment.output() as output:
            return self.environment.cluster.run_hook(
                self.deployment.epoch,
                self.hook,
                server,
                limit=settings.hook_timeout,
                cancelled=self.deployment.stop.asked,
                output=output,
                again=again,
                note=note,
            )

    def _claimed(self, server: str) -> JSON | None:
        """The record that must be on every server before the hook starts."""
        return None

    def _failed(self, result: HookResult) -> HookFailed:
        ended, remedy = f"exited {result.code}", "Mend the hook, commit it, and deploy again."
        if result.code is None:
            limit = self.environment.settings.cluster.hook_timeout
            ended = f"was ended at its limit of {duration(limit)}"
            remedy = "Find out what it waited for, or raise cluster.hook_timeout, and deploy again."
        if result.log:
            remedy = f"All that it wrote is in {result.log} on {result.server}. {remedy}"
        said = quoted("it wrote at its end", result.output, SHOWN_LINES) or "; it wrote nothing"
        return HookFailed(f"the {self.hook} hook {ended} on {result.server}{said}", remedy)


class Hook(PostDeploy):
    """Run the deploy hook on one server, while the cluster is closed. It starts once, unless a person says "again"."""

    name = "hook"
    hook = "deploy"

    def undo(self, before: Facts) -> None:
        try:
            self._result(lambda: True)
        except HookRuns as exc:
            raise halt(self.deployment) from exc
        except HookUnknown:
            return  # the undo of `swap` decides whether the cluster stays closed

    def _result(self, cancelled: Callable[[], bool]) -> HookResult | None:
        deployment, cluster = self.deployment, self.environment.cluster
        with runs_on(deployment), deployment.output() as output:
            return end_of(cluster, deployment.target.name, deployment.hook_server, cancelled, output=output)

    def _start(self, *, again: bool) -> HookResult:
        with runs_on(self.deployment):
            return super()._start(again=again)

    def _claimed(self, server: str) -> JSON:
        self.deployment.stop.check()
        self.deployment.reach(Phase.HOOK)
        return self.deployment.note_reached(hook=StartedHook.new(server=server))


def runs_on(deployment: Deployment) -> AbstractContextManager[None]:
    """While the deploy hook runs, on a terminal: the first Ctrl-C changes nothing, and says what a second one does."""
    return deployment.stop.saying_first(
        "the deploy hook runs on, and this process waits for it. A second Ctrl-C leaves: the hook still runs on by "
        "itself, and the cluster stays closed behind the claim; then, from any machine: edgeguard resume or rollback "
        f"{deployment.environment.name}"
    )


def end_of(
    cluster: Cluster,
    generation: str,
    claimed_on: str | None,
    cancelled: Callable[[], bool],
    *,
    output: Callable[[str], None] = lambda _line: None,
) -> HookResult | None:
    """How the deploy hook of a generation ended. None: it was never started.

    `claimed_on` is the server on which an earlier run was going to start it.

    Raises:
        HookRuns, HookUnknown: as in Cluster.hook_result. HookUnknown also if `claimed_on` can't tell any more.
    """
    result = cluster.hook_result(generation, "deploy", cancelled=cancelled, output=output)
    if result is None and claimed_on is not None and not _start_is_written(cluster, claimed_on):
        raise HookUnknown(f"{claimed_on} does not know any more whether the hook ran there")
    return result


def _start_is_written(cluster: Cluster, server: str) -> bool:
    """Whether a server's own record has the start of the deploy hook, which is written before the hook starts.

    False for a server that is left out, or whose disk was replaced since.
    """
    if server in cluster.left_out:
        return False
    try:
        own = Record.of(cluster.read_record().get(server) or {})
    except Damaged:
        return False
    return own.deploy is not None and own.deploy.hook is not None


def halt(deployment: Deployment) -> Halt:
    """Keep the cluster closed behind one long claim, and write that down. Returns the error with the ways on."""
    until = deployment.claim.lengthen()
    deployment.record.note_deploy(held=True)
    return Halt(
        "the cluster stays closed" + (f"; the edge serves the copies it has until {until}" if until else ""),
        ways_on(deployment.environment.name, deployment.id),
    )


def ways_on(environment: str, deploy: str, *, back: str = "") -> str:
    """The three commands with which a person goes on from a deploy that needs one, a line each. `back` has the options
    of its rollback."""
    return (
        f"To go on: edgeguard resume {environment} (with --hook=again or --hook=skip, if the hook failed)\n"
        f"  To go back: edgeguard rollback {environment}{back}\n"
        f"  To bring a fix: edgeguard deploy {environment} --supersede {deploy}"
    )


def unknown(environment: str, exc: HookUnknown) -> Held:
    """The error that asks a person how the hook ended, since nobody else can know."""
    return Held(
        exc.message,
        f"{exc.remedy} See what it did, then say: edgeguard resume {environment} --hook=again, or --hook=skip; or "
        f"edgeguard rollback {environment}.",
    )
