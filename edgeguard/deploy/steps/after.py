"""The steps after the opening, and the commit between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.record import Phase
from edgeguard.deploy.steps.step import Step
from edgeguard.errors import Held, OriginsUnhealthy, Unhealthy, UsageError
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
    """Wait for several good answers in a row through the front door, at URLs that no cache can answer. Meanwhile no
    process may die, and no page that answered before the close may be broken."""

    name = "healthy"

    def do(self) -> Facts:
        deployment, edge = self.deployment, self.environment.settings.edge
        try:
            front_door.wait_healthy(edge, deployment.target.release, sleep=deployment.stop.sleep)
        except OriginsUnhealthy:
            self._refuse_deaths()  # they say more than the gate's answer for a dead process
            raise
        self._refuse_deaths()
        now = front_door.statuses(edge, deployment.pages, sleep=deployment.stop.sleep)
        front_door.refuse_broken(deployment.pages, now)
        return {}

    def _refuse_deaths(self) -> None:
        if died := self.deployment.died():
            raise Unhealthy(
                f"the application's process died since the cluster was opened: {', '.join(died)}",
                "The application's output says why it ended.",
            )


class OriginsSick(Held):
    """After the commit, the front door does not answer as the new release would: no claim may go."""


def ask_again(deployment: Deployment) -> None:
    """See a good answer of the new release through the front door. After the commit, too, nothing is believed unseen:
    pages that are purged over a sick origin are gone, and so is a claim that is given back.

    Raises:
        OriginsSick: there was none. The claim is made long.
    """
    edge, name = deployment.environment.settings.edge, deployment.environment.name
    try:
        front_door.wait_good(edge, deployment.target.release, sleep=deployment.stop.sleep)
    except OriginsUnhealthy as exc:
        until = deployment.claim.lengthen()
        raise OriginsSick(
            f"{deployment.target.name} has committed, but {exc.message}; nothing is purged or given back any more"
            + (f", and the edge serves the copies it has until {until}" if until else ""),
            f"{exc.remedy} Then: edgeguard resume {name}, which starts what does not run, opens it, and finishes the "
            f"clean-up; or go back: edgeguard rollback {name} --deploy {deployment.id}; or bring a fix: edgeguard "
            f"deploy {name} --supersede {deployment.id}",
        ) from exc


class Purge(Step):
    """Softly purge the keys that are named, the keys derived from what changed, or every page at the origin's pace."""

    name = "purge"
    left = "Purge by hand: edgeguard purge."

    def do(self) -> Facts:
        ask_again(self.deployment)
        return purge(self.deployment)


class Finish(Step):
    """Remove old generations and images from the servers, and the deploy from the record: it is over.

    The deploy stays in the record if a person has to say how its post-deploy hook ended.
    """

    name = "finish"

    def do(self) -> Facts:
        deployment = self.deployment
        keep = [release.generation for release in deployment.record.releases]
        try:
            self.environment.cluster.prune(deployment.epoch, keep)
        finally:  # files that can't be removed must not block the next deploy
            if not deployment.unsettled:
                deployment.record.note(deploy=None)
        return {}


def commit(deployment: Deployment) -> None:
    """Write into every server's record that the new release serves. From here on, the deploy only goes forward."""
    record = deployment.record
    under_way = deployment.under_way.also(phase=Phase.COMMITTED, replaced=record.opened)
    record.note_opened(
        deployment.opening,
        keep=deployment.environment.settings.cluster.keep_releases,
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
        opened = (record.deploy.replaced if record.deploy else None) or record.before
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
