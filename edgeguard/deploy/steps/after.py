"""The steps after the opening, and the commit between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.record import Opened, Phase
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import UsageError
from edgeguard.purge import Changes, of_deploy
from edgeguard.purge.run import Run
from edgeguard.release import image
from edgeguard.site import front_door
from edgeguard.times import short

if TYPE_CHECKING:
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.purge import Purge as Purging


class Healthy(Step):
    """Wait for several good answers in a row through the front door, at URLs that no cache can answer."""

    name = "healthy"

    def do(self) -> Facts:
        release = self.deployment.target.release
        front_door.wait_healthy(self.environment.settings.edge, release, sleep=self.deployment.stop.sleep)
        return {}


class Purge(Step):
    """Softly purge the keys that are named, the keys derived from what changed, or every page at the origin's pace."""

    name = "purge"
    left = "Purge by hand: edgeguard purge."

    def do(self) -> Facts:
        return purge(self.deployment)


class Finish(Step):
    """Remove old generations and images from the servers, and the deploy from the record: it is over.

    The deploy stays in the record if a person has to say how its post-deploy hook ended.
    """

    name = "finish"

    def do(self) -> Facts:
        deployment = self.deployment
        before = deployment.record.before
        keep = [deployment.target.name, *([before.generation] if before else [])]
        try:
            self.environment.cluster.prune(deployment.epoch, keep)
        finally:  # files that can't be removed must not block the next deploy
            if not deployment.unsettled:
                deployment.record.note(deploy=None)
        return {}


def commit(deployment: Deployment) -> None:
    """Write into every server's record that the new release serves. From here on, the deploy only goes forward."""
    target, record = deployment.target, deployment.record
    under_way = deployment.under_way.also(phase=Phase.COMMITTED)
    record.note(
        opened=Opened.new(generation=target.name, release=target.release),
        before=record.opened,
        without=deployment.environment.cluster.left_out,
        deploy=under_way,
    )
    deployment.reached = under_way.phase


def wanted(deployment: Deployment) -> Purging:
    """The purge of this deploy, with its reasons: the named keys, the keys that rules derive from changes, or all."""
    settings = deployment.environment.settings.purge
    changes = _changes(deployment) if settings.rules else Changes(None)
    return of_deploy(settings, deployment.purge_keys, changes, grouped=bool(deployment.environment.edge.slices))


def purge(deployment: Deployment) -> Facts:
    """Softly purge the pages that this deploy made old.

    Returns the number of keys and of requests, the edge's ids, and the reasons.
    """
    environment, purging = deployment.environment, wanted(deployment)
    run = Run(
        environment.edge,
        environment.settings.purge,
        environment.settings.edge,
        sleep=deployment.stop.sleep,
        told=lambda text: deployment.say("progress", step=Purge.name, text=text),
    )
    return {**run.purge(purging), "reasons": list(purging.reasons)}


def _changes(deployment: Deployment) -> Changes:
    """The changes in the application since the release that was opened last, whose pages the edge has cached."""
    record = deployment.record.look()
    generation = deployment.target.name
    opened = record.opened
    if opened and opened.generation == generation:  # this deploy has committed
        opened = record.before
    if not opened:
        return Changes(None, "no release was opened here before")
    settings = deployment.environment.settings
    previous = image.find(settings.cluster.root, opened.release)
    if previous is None or deployment.release is None:
        return Changes(None, f"the image of release {short(opened.release)} is not on this machine")
    try:
        return Changes(image.changed(previous, deployment.release))
    except UsageError as exc:
        return Changes(None, exc.message)
