"""The two steps that take the deploy's claim on the grace and give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.deploy.deployment import UNGUARDED
from edgeguard.deploy.steps.after import ask_again
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from edgeguard.deploy.saga import Facts


class ClaimGrace(Step):
    """Raise the grace and set hold in one write. The deploy goes on only when the edge shows both."""

    name = "claim"
    restores = True

    def do(self) -> Facts:
        deployment = self.deployment
        if not deployment.guarded:
            text = "no grace is claimed (--accept unguarded): visitors will see the closure"
            deployment.say("warning", name=UNGUARDED, text=text)
            return {}
        claimed = deployment.claim.take()
        if deployment.claims and self._moved():
            raise ClusterError("the servers changed while the claim was confirmed", "See `edgeguard status`.")
        return claimed

    def _moved(self) -> bool:
        """Whether the servers' generations differ from those that preflight saw. A resume has no preflight: False."""
        seen = self.deployment.generations
        return bool(seen) and {server.generation for server in self.deployment.serving.state()} != seen

    def undo(self, before: Facts) -> str | None:
        if self.deployment.sick:
            return self.deployment.claim.leave("the origins are not healthy")
        return self.deployment.claim.undo(proved=self.deployment.proved)


class ReleaseClaim(Step):
    """Give this deploy's claim back. Other claims stay as they are."""

    name = "release"
    left = "The claim ends by itself."

    def do(self) -> Facts:
        ask_again(self.deployment)
        self.deployment.claim.drop()
        return {}
