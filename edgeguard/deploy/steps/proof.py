"""The step that, when it is taken back, proves that the claim is no longer needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.deploy.steps.after import purge
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import EdgeguardError, OriginsUnhealthy
from edgeguard.site import front_door

if TYPE_CHECKING:
    from edgeguard.deploy.saga import Facts


class Proof(Step):
    """Do nothing. The undo waits for healthy origins, so that no unwinding drops the claim while they are sick."""

    name = "proof"
    restores = True

    def undo(self, before: Facts) -> None:
        deployment, edge = self.deployment, self.environment.settings.edge
        if deployment.first:
            deployment.proved = True  # nothing was ever served
            return
        if not deployment.was_open:  # closed before this deploy, and closed again: nothing to prove
            deployment.sick = True
            return
        if not deployment.closed:  # this deploy did not make the origins sick, and waiting would not help
            try:
                front_door.ask_once(edge, None)
                deployment.proved = True
            except OriginsUnhealthy:
                deployment.sick = True
            return
        front_door.wait_healthy(edge, None, sleep=deployment.stop.sleep)
        deployment.proved = True
        if deployment.opened:  # a failed purge must not keep visitors from the previous release: it only warns
            try:
                purge(deployment)
            except EdgeguardError as exc:
                deployment.say("warning", text=f"pages of the failed release may be cached: {exc.message}")
