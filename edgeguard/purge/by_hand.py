"""A purge outside of any deploy: a person or a pipeline asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.lock import SharedRecord
from edgeguard.errors import EdgeUnauthorized, Refused
from edgeguard.purge.closed import OpenCheck
from edgeguard.purge.given import of_other_hosts
from edgeguard.purge.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.cluster import Cluster
    from edgeguard.environment import EdgeSide
    from edgeguard.machine.signals import Stop
    from edgeguard.purge import Purge


def by_hand(
    environment: EdgeSide,
    cluster: Cluster | None,
    wanted: Purge,
    *,
    accept: Collection[str],
    told: Callable[[str], None],
    stop: Stop,
) -> dict[str, Any]:
    """Purge, unless the cluster is closed. Returns Run.purge's result with "soft", "seconds" and "warnings" added.

    Raises:
        Locked, Refused: the cluster is closed, or may be, or will be soon (for a hard purge); or pages have no groups.
        Interrupted: somebody asked this process to stop.
        Run.purge raises others; each says how far the purge came.
    """
    began = time.monotonic()
    edge, settings = environment.edge, environment.settings
    if cluster is not None:
        cluster = cluster.without(SharedRecord(cluster, environment.name).look().left_out)

    def under_way() -> bool:
        if wanted.soft or cluster is None:
            return False
        found = SharedRecord(cluster, environment.name).look()
        return found.deploy is not None or found.lock is not None

    open_check = OpenCheck(edge, settings.edge, cluster, under_way=under_way, accept=accept)

    def check() -> None:
        stop.check()
        open_check.check()

    check()
    warnings = [
        f"{url} is of another host than edge.url: it is purged if that is a domain of the service too"
        for url in of_other_hosts(wanted.urls, settings.edge)
    ]
    warnings += _without_groups(environment) if wanted.groups else []
    done = Run(edge, settings.purge, settings.edge, sleep=stop.sleep, told=told, check=check).purge(wanted)
    return {**done, "soft": wanted.soft, "seconds": round(time.monotonic() - began, 3), "warnings": warnings}


def _without_groups(environment: EdgeSide) -> list[str]:
    """Warnings why pages may have no group. Raises Refused where no page can have one."""
    remedy = "Name keys or URLs; or --all --hard, which takes every page away at once."
    if not environment.edge.slices:
        raise Refused("without the policy (edge.mechanism is settings) no page has a group to be purged by", remedy)
    try:
        policy = environment.edge.policy()
    except EdgeUnauthorized:  # the token is for purges alone
        return ["the token may not see whether the policy is installed; pages have groups only under it"]
    if policy.revision is None:
        raise Refused("the policy is not in the service, so no page has a group to be purged by", remedy)
    return ["the policy in the service is not ours: pages may have no group yet"] if policy.differences else []
