"""What a deploy does before anything visible changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard import application, front_door, image
from edgeguard.cluster import Generation
from edgeguard.errors import OriginsUnhealthy, Refused
from edgeguard.record import RENEWAL
from edgeguard.steps.deployment import Step, agreed, short

if TYPE_CHECKING:
    from edgeguard.cluster import ServerState
    from edgeguard.saga import Facts

ACCEPTABLE = ("no-previous-release", "mixed-releases", "origins-sick", "closed", "unguarded")
"""Refusals of preflight that a person may accept by name."""


class Build(Step):
    """Build the image, or find the one that these inputs gave before."""

    name = "build"

    def do(self) -> Facts:
        deployment, settings = self.deployment, self.environment.settings
        release = image.build(
            settings.application,
            ref=deployment.ref,
            root=settings.cluster.root,
            cancelled=deployment.stop.asked,
            output=lambda line: deployment.say("output", text=self.environment.redact(line)),
        )
        for warning in application.warnings(release.application, settings.application):
            deployment.say("warning", text=warning)
        variables = application.runtime_variables(
            release.application,
            settings=settings.application,
            environment=self.environment.name,
            branch=settings.application.branch,
            tree=release.tree,
            image=release.folder,
        )
        deployment.release = release
        deployment.generation = Generation(deployment.id, release.digest, release.folder, variables)
        return {"release": release.digest, "ref": release.ref, "commit": release.commit, "reused": release.reused}


class Lock(Step):
    """Take the environment's lock on its servers, and show from then on that its holder lives."""

    name = "lock"

    def do(self) -> Facts:
        record = self.deployment.record
        record.take(self.deployment.id)
        self.deployment.renew("lock", RENEWAL, record.renew)
        return {"epoch": record.epoch}

    def undo(self, before: Facts) -> None:  # noqa: ARG002 (there is nothing to restore but "nobody's")
        if self.deployment.renewals:  # only where the lock was really taken
            self.deployment.renewals[0].stop()
            self.deployment.record.release()


class Preflight(Step):
    """Look at everything that could make this deploy visible, before anything is touched."""

    name = "preflight"

    def do(self) -> Facts:
        servers = self.environment.cluster.state()
        self.deployment.generations = {server.generation for server in servers}
        reasons = [*self._cluster(servers), *self._edge()]
        if not reasons and self.deployment.previous is not None and "origins-sick" not in self.deployment.accept:
            try:
                front_door.ask_once(self.environment.settings.edge, None)
            except OriginsUnhealthy as exc:
                reasons.append(("origins-sick", exc.message))
        refused = [(name, text) for name, text in reasons if name not in self.deployment.accept]
        if refused:
            raise Refused(
                "; ".join(text for _, text in refused),
                "To go on all the same: " + " ".join(f"--accept {name}" for name, _ in refused),
            )
        previous = agreed(server.release for server in servers)
        return {"previous": previous, "servers": [server.name for server in servers]}

    def _cluster(self, servers: tuple[ServerState, ...]) -> list[tuple[str, str]]:
        if self.deployment.first:
            return [("no-previous-release", "nothing was ever deployed here, so there is nothing to go back to")]
        if self.deployment.previous is None or agreed(server.running for server in servers) is None:
            said = ", ".join(
                f"{server.name} {short(server.release)} runs {short(server.running)}" for server in servers
            )
            return [("mixed-releases", f"the servers don't run one release: {said}")]
        if not all(server.open for server in servers):
            return [("closed", "the cluster is closed already")]
        return []

    def _edge(self) -> list[tuple[str, str]]:
        if not self.deployment.guarded:
            return []
        policy = self.environment.edge.policy()
        if policy.revision is None:
            return [("unguarded", "the policy is not installed in the service, so visitors would see the closure")]
        if policy.differences:
            return [("unguarded", f"the policy in the service is not ours: {', '.join(policy.differences)}")]
        return []


class Stage(Step):
    """Put the image and the variables beside what runs."""

    name = "stage"

    def do(self) -> Facts:
        self.environment.cluster.stage(self.deployment.epoch, self.deployment.target)
        return {}
