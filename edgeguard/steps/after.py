"""What a deploy does once the cluster is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard import front_door
from edgeguard.steps.deployment import Step

if TYPE_CHECKING:
    from edgeguard.saga import Facts
    from edgeguard.steps.deployment import Deployment
    from edgeguard.steps.guard import ClaimGrace


class Healthy(Step):
    """Good rounds through the front door, at a URL that no cache can answer."""

    name = "healthy"

    def do(self) -> Facts:
        release = self.deployment.target.release
        front_door.wait_healthy(self.environment.settings.edge, release, sleep=self.deployment.stop.sleep)
        return {}


class Purge(Step):
    """Soft-purge the keys that were given and the application's release key."""

    name = "purge"

    def do(self) -> Facts:
        return purge(self.deployment)


class ReleaseClaim(Step):
    """Drop this deploy's claim, and no other."""

    name = "release"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def do(self) -> Facts:
        self._claim.drop()
        return {}


class Finish(Step):
    """Remove what nothing uses, let go of the lock."""

    name = "finish"

    def do(self) -> Facts:
        deployment = self.deployment
        before = deployment.record.before
        keep = [deployment.target.name, *([before["generation"]] if before else [])]
        try:
            self.environment.cluster.prune(deployment.epoch, keep)
        finally:  # what can't be removed must not keep the lock
            for renewal in deployment.renewals:
                renewal.stop()
            deployment.record.note(deploy=None, lock=None)
        return {}


def commit(deployment: Deployment) -> None:
    """From here on only forward: the new release is the one that serves, on every server's record."""
    target, record = deployment.target, deployment.record
    opened = {"generation": target.name, "release": target.release}
    record.note(opened=opened, before=record.opened, deploy={**record.deploy, "phase": "committed"})


def purge(deployment: Deployment) -> Facts:
    """Softly purge this deploy's keys; says how many keys in how many requests, and the edge's ids."""
    release_key = deployment.environment.settings.purge.release_key
    keys = list(dict.fromkeys([*deployment.purge_keys, *([release_key] if release_key else [])]))
    purged = deployment.environment.edge.purge(keys) if keys else ()
    ids = [name for call in purged for name in call.ids]
    return {"keys": sum(call.keys for call in purged), "requests": len(purged), "ids": ids}
