"""The plan of a deploy: its phases and the acts in each, as the driver and the edge describe them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.deploy import deploy, report, steps
from edgeguard.doctor import readiness
from edgeguard.edge.claim import DEPLOY_SLOTS
from edgeguard.grace.confirm import ANSWERS
from edgeguard.machine.signals import Stop
from edgeguard.purge import listed
from edgeguard.times import duration, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import Environment
    from edgeguard.settings import ClaimSettings, EdgeSettings


def plan(
    environment: Environment, ref: str | None, *, purge_keys: tuple[str, ...] = (), listen: Callable[[Entry], None]
) -> list[dict[str, Any]]:
    """Each phase's name, with a line for each of its acts. This builds the image, or finds it, and does nothing else.

    An image that is found is not compared with the day it was built: the deploy does that.

    Raises:
        UsageError, BuildFailed, Interrupted: as a deploy would.
    """
    stop = Stop()
    deployment = steps.Deployment(
        id="plan",
        environment=environment,
        stop=stop,
        say=lambda event, **facts: listen({"event": event, "at": time.time(), **facts}),
        ref=ref,
        purge_keys=purge_keys,
    )
    with stop.listening():
        steps.Build(deployment).find(verify=False)
    phases = (*deploy.UNTIL_COMMITTED, *deploy.COMMITTED)
    names = [phase.name for phase in phases if phase.name not in report.INTERNAL]
    epoch = deployment.record.look().epoch + 1
    return [{"name": name, "acts": _acts(name, deployment, DEPLOY_SLOTS[epoch % 2])} for name in names]


def _acts(phase: str, deployment: steps.Deployment, slot: str) -> list[str]:
    environment, settings = deployment.environment, deployment.environment.settings
    edge, claim = settings.edge, settings.claim
    said = environment.edge.explain(phase, slot=slot, claim=claim)
    if phase == "purge":
        return [*_purge(deployment, said)]
    own: dict[str, list[str]] = {
        "build": [f"release {short(deployment.target.release)} of {deployment.ref or settings.application.branch}"],
        "lock": [
            f"write the record on {', '.join(environment.cluster.servers)}",
            f"renew it every {duration(deployment.record.renewal)}",
        ],
        "preflight": [
            "read the servers' state",
            "compare the image that serves with the day it was built",
            *said,
            f"GET {edge.health_url}",
            *(f"GET {url}, for its runway" for url in readiness.spread(readiness.urls(settings), readiness.QUICK)),
        ],
        "claim": [*said, *(_confirmed(edge, claim) if environment.edge.claims else ())],
        "healthy": [f"GET {edge.health_url}?edgeguard=<random>, {edge.healthy_rounds} good answers in a row"],
        "release": [*said],
    }
    return own[phase] if phase in own else [*environment.cluster.explain(phase, deployment.target), *said]


def _confirmed(edge: EdgeSettings, claim: ClaimSettings) -> Iterator[str]:
    """The acts that follow the write of a claim, a line each."""
    shows = edge.address(f"/{edge.status_name}")
    yield f"wait {duration(edge.propagation)}, and for {ANSWERS} answers of {shows} that show it"
    yield f"renew it every {duration(claim.hold / 3)} until the cluster is open"


def _purge(deployment: steps.Deployment, calls: Sequence[str]) -> Iterator[str]:
    """The reasons for the purge, and then the purges. `calls` are the edge's words for its calls."""
    edge, wanted = deployment.environment.edge, steps.wanted(deployment)
    yield from wanted.reasons
    for call in calls:
        yield from (f"{call}: {listed(keys)}" for keys in edge.batches(wanted.keys))
        if wanted.groups:
            groups, pace = len(edge.slices[0]), deployment.environment.settings.purge.pace
            often = f"{len(edge.slices)} times, {duration(pace)} apart"
            yield f"{call}: {groups} groups, {often}; slower while the origin is"
