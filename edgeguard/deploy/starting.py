"""Start what is meant to serve: hosts, gates or processes may have died beside a deploy, or since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.cluster.record import Phase
from edgeguard.deploy import deploy, steps
from edgeguard.deploy.serves import has_to_start, served
from edgeguard.errors import ClusterError, EdgeError, EdgeguardError, NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.cluster import ServerState
    from edgeguard.deploy.attempt import Log
    from edgeguard.deploy.steps import Deployment


def committed(deployment: Deployment, log: Log) -> None:
    """Let the release that has committed serve again on every server where it doesn't. The hook has run, and does not
    run again.

    Raises:
        EdgeguardError: a server can't serve it. The cluster is closed then, behind a long claim.
    """
    if served(deployment.opening, deployment.environment.cluster.state()):
        return
    text = "not every server serves the release that has committed: it is closed, started and opened once more"
    deployment.say("warning", text=text)
    claim_again(deployment, log)
    for phase in (steps.StopTasks, steps.Close, steps.Drain, steps.Swap, steps.Check, steps.Open):
        deploy.act(phase(deployment), log)


def previous(deployment: Deployment, log: Log) -> None:
    """Before a deploy that had closed nothing is taken back: if something has to be started for the release of before
    to serve, close the cluster. Taking the closure back then starts and opens that release, and proves it healthy.

    Raises:
        EdgeguardError: that release is not on every server, or the grace could not be claimed while a server serves.
    """
    servers, opened = deployment.serving.state(), deployment.record.opened
    if opened is None or served(opened, servers) or not meant_to_serve(deployment):
        return
    generation = deployment.previous_generation()
    if all(server.open and not has_to_start(generation, server) for server in servers):
        return
    text = "not every server serves the previous release: it is closed, started and opened once more"
    deployment.say("warning", text=text)
    claim_again(deployment, log)
    for phase in (steps.StopTasks, steps.Close, steps.Drain):
        deploy.act(phase(deployment), log)


def unserved(deployment: Deployment) -> EdgeguardError | None:
    """After a deploy that had closed nothing was taken back: the error that says that the release of before does not
    serve. None if it does, or is not meant to. A dead process is waited for, since its supervisor starts it."""
    if not meant_to_serve(deployment):
        return None
    try:
        deployment.serving.check(deployment.previous_generation())
    except ClusterError as exc:
        opens = f"edgeguard cluster open {deployment.environment.name} starts what does not run."
        said = f"{deployment.id} is taken back, and had closed nothing; but the previous release does not serve"
        return exc.with_more(message=f"{said}: {exc.message}", remedy=f"{exc.remedy} {opens}")
    return None


def meant_to_serve(deployment: Deployment) -> bool:
    """Whether the release that was opened last is meant to serve: neither this deploy nor one that it supersedes has
    closed anything, and no living gate is closed. Whether a dead gate was open, nobody knows: it is taken as open."""
    left = deployment.record.deploy
    while left:
        if left.phase is not Phase.LOCK:
            return False
        left = left.superseded
    open_or_dead = all(server.open or server.gate is False for server in deployment.serving.state())
    return open_or_dead and not deployment.first


def claim_again(deployment: Deployment, log: Log) -> None:
    """Claim before anything else, since nobody renewed the claim meanwhile.

    If no visitor is served and the claim fails, this only warns: going on ends that sooner than waiting for the edge.
    """
    claim = steps.ClaimGrace(deployment)
    log.append("begin", step=claim.name, before={})
    try:
        log.append("done", step=claim.name, **claim.do())
    except EdgeguardError as exc:
        goes_on = isinstance(exc, (EdgeError, NotConfirmed)) and _dark(deployment)
        log.append("failed", step=claim.name, error=exc.message, goes_on=goes_on)
        if not goes_on:
            raise
        deployment.say("warning", text=f"the grace could not be claimed again: {exc.message}")


def _dark(deployment: Deployment) -> bool:
    """Whether nobody is served: the close has begun and some server is closed, or no server is open at all."""
    try:
        servers: Sequence[ServerState] = deployment.serving.state()
    except ClusterError:
        return deployment.closed
    enough = all if deployment.closed else any
    return not enough(server.open for server in servers)
