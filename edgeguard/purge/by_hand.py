"""A purge that a person or a pipeline asks for, outside of any deploy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import Record, left_out
from edgeguard.errors import EdgeUnauthorized, Refused
from edgeguard.purge.closed import Gate
from edgeguard.purge.given import strangers
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
    """Purge it, unless the cluster is closed. Returns what Run.purge does, and "soft", "seconds" and "warnings".

    Raises:
        Locked, Refused: the cluster is closed, or may be, or will be soon (for a hard purge); or no page has a group
            to be purged by.
        Interrupted: somebody asked it to stop.
        Whatever Run.purge raises; each says how far it came.
    """
    began = time.monotonic()
    edge, settings = environment.edge, environment.settings
    if cluster is not None:
        cluster = cluster.without(left_out(Record(cluster, environment.name).look()))

    def under_way() -> bool:
        found = {} if wanted.soft or cluster is None else Record(cluster, environment.name).look()
        return bool(found.get("deploy") or found.get("lock"))

    gate = Gate(edge, settings.edge, cluster, under_way=under_way, accept=accept)

    def may() -> None:
        stop.check()
        gate.check()

    may()
    warnings = [
        f"{url} is of another host than edge.url: it is purged if that is a domain of the service too"
        for url in strangers(wanted.urls, settings.edge)
    ]
    warnings += _without_groups(environment) if wanted.groups else []
    done = Run(edge, settings.purge, settings.edge, sleep=stop.sleep, told=told, may=may).purge(wanted)
    return {**done, "soft": wanted.soft, "seconds": round(time.monotonic() - began, 3), "warnings": warnings}


def _without_groups(environment: EdgeSide) -> list[str]:
    """Reasons why pages may have no group, as warnings. Raises Refused where no page can have one."""
    remedy = "Name keys or URLs; or --all --hard, which takes every page away at once."
    if not environment.edge.slices:
        raise Refused("without the policy (edge.mechanism is settings) no page has a group to be purged by", remedy)
    try:
        policy = environment.edge.policy()
    except EdgeUnauthorized:  # a token for purges alone
        return ["the token may not see whether the policy is installed; pages have groups only under it"]
    if policy.revision is None:
        raise Refused("the policy is not in the service, so no page has a group to be purged by", remedy)
    return ["the policy in the service is not ours: pages may have no group yet"] if policy.differences else []
