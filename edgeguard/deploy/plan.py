"""A deploy's phases and the acts in each, in the words of the driver and of the edge's API. Nothing is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.deploy import deploy, report, steps
from edgeguard.doctor import readiness
from edgeguard.edge.claim import DEPLOY_SLOTS
from edgeguard.edge.fastly.policy import GROUPS
from edgeguard.edge.fastly.purges import batches
from edgeguard.grace.confirm import ANSWERS
from edgeguard.machine.signals import Stop
from edgeguard.purge import listed
from edgeguard.purge.run import SLICE
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import Environment


def plan(
    environment: Environment, ref: str | None, *, purge_keys: tuple[str, ...] = (), listen: Callable[[Entry], None]
) -> list[dict[str, Any]]:
    """Each phase with what it would do, a line each. Builds the image (or finds it); touches nothing else.

    Raises:
        UsageError, BuildFailed: as a deploy would.
    """
    deployment = steps.Deployment(
        id="plan",
        environment=environment,
        stop=Stop(),
        say=lambda event, **facts: listen({"event": event, "at": time.time(), **facts}),
        ref=ref,
        purge_keys=purge_keys,
    )
    steps.Build(deployment).do()
    phases = (*deploy.UNTIL_COMMITTED, *deploy.COMMITTED)
    names = [phase.name for phase in phases if phase.name not in report.INTERNAL]
    epoch = deployment.record.look().epoch + 1
    return [{"name": name, "acts": _acts(name, deployment, DEPLOY_SLOTS[epoch % 2])} for name in names]


def _acts(phase: str, deployment: steps.Deployment, slot: str) -> list[str]:
    environment, settings = deployment.environment, deployment.environment.settings
    edge, claim = settings.edge, settings.claim
    items = f"PATCH {edge.api_url}/service/{edge.service}/dictionary/<{edge.dictionary}>/items"
    grace = min(edge.ceiling, edge.base_grace + claim.duration)
    own: dict[str, list[str]] = {
        "build": [f"release {short(deployment.target.release)} of {deployment.ref or settings.application.branch}"],
        "lock": [
            f"write the record on {', '.join(environment.cluster.servers)}",
            f"renew it every {deployment.record.renewal:g} s",
        ],
        "preflight": [
            "read the servers' state",
            "compare the image that serves with the day it was built",
            f"GET the active version of {edge.service}, and the token's scopes",
            f"GET {edge.health_url}",
            *(f"GET {url}, for its runway" for url in readiness.spread(readiness.urls(settings), readiness.QUICK)),
        ],
        "claim": [
            f"{items}: {slot} = now+{claim.duration}:{grace}:now+{claim.hold}",
            f"wait {edge.propagation:.0f} s, and for {ANSWERS} answers of {edge.url}/{edge.status_name} that show it",
            f"renew it every {claim.hold / 3:.0f} s until the cluster is open",
        ],
        "healthy": [f"GET {edge.health_url}?edgeguard=<random>, {edge.healthy_rounds} good answers in a row"],
        "purge": _purge(deployment),
        "release": [f"{items}: {' and '.join(DEPLOY_SLOTS)} = free, but for a pipeline's claim"],
    }
    if edge.mechanism == "settings" and phase in ("claim", "release"):
        covers = f"the service's own stale-if-error covers {edge.ceiling} s; no claim is written, nothing is confirmed"
        return [covers] if phase == "claim" else []
    if phase == "open" and edge.mechanism == "vcl":
        return [*environment.cluster.explain(phase, deployment.target), f"{items}: {slot} without its hold"]
    return own[phase] if phase in own else list(environment.cluster.explain(phase, deployment.target))


def _purge(deployment: steps.Deployment) -> list[str]:
    """Why, and by which calls."""
    settings, wanted = deployment.environment.settings, steps.wanted(deployment)
    call = f"POST {settings.edge.api_url}/service/{settings.edge.service}/purge, softly:"
    acts = [f"{call} {listed(keys)}" for keys in batches(wanted.keys)]
    if wanted.groups:
        calls, pace = len(GROUPS) // SLICE, settings.purge.pace
        acts.append(f"{call} {SLICE} groups, {calls} times, {pace:g} s apart; slower while the origin is")
    return [*wanted.reasons, *acts]
