"""Closing and opening a cluster by hand, with the same checks as a deploy: for work on the servers or the databases."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import Closure
from edgeguard.cluster.record import ClosedByHand
from edgeguard.deploy import steps
from edgeguard.deploy.attempt import new_id
from edgeguard.errors import EdgeguardError, Held, Interrupted, Locked, OriginsUnhealthy
from edgeguard.grace import claims
from edgeguard.machine.signals import Stop
from edgeguard.machine.who import this_holder
from edgeguard.site import front_door
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.environment import Environment


def close(environment: Environment, *, lasting: int, reason: str, say: Callable[..., None]) -> dict[str, Any]:
    """Claim the grace, wait until the edge confirms it, close, and drain. Nobody can deploy until it is opened again.

    The closed gate answers that the closure is planned for `lasting` seconds. The claim lasts at least `claim.held`.

    Raises:
        UsageError: no claim can last for so long.
        Locked: somebody else holds the lock, or the cluster is closed already.
        EdgeError, NotConfirmed: the grace could not be claimed; nothing was closed.
    """
    if environment.edge.claims:
        edge = environment.settings.edge
        claims.within_limits(environment, lasting, min(edge.ceiling, edge.base_grace + lasting))
    until = time.time() + lasting
    with _locked(environment, say) as deployment:
        record, cluster = deployment.record, environment.cluster
        if not all(server.open for server in cluster.state()):
            raise Locked("the cluster is closed already", f"See `edgeguard status {environment.name}`.")
        try:
            claimed = deployment.claim.take(lasting=max(lasting, environment.settings.claim.held))
        except EdgeguardError:
            deployment.claim.undo(proved=False)
            raise
        closure = ClosedByHand.new(id=deployment.id, who=this_holder(), why=reason, until=rfc3339(until))
        record.note(closure=closure)  # before the act: others learn why the cluster is closed, and `open` can undo it
        cluster.close(deployment.epoch, Closure(deployment.id, until))
        cut = cluster.drain(deployment.epoch, environment.settings.cluster.drain_timeout)
    ends = {"until": rfc3339(claimed["until"])} if "until" in claimed else {}
    return {"closure": closure.json, "cut": cut, "grace": claimed | ends}


def open_again(environment: Environment, *, say: Callable[..., None]) -> dict[str, Any]:
    """Open the release that was open last, wait until the front door answers well, and give the claim back.

    If the release's image was changed meanwhile, this only warns: the image served before the closure, too, and there
    is no other release to open.

    Raises:
        Locked: somebody else holds the lock, or a deploy is unfinished and has to be resumed or rolled back.
        ClusterError: a server does not run that release, or is not healthy; the cluster stays closed.
        OriginsUnhealthy: the cluster is open, but the front door does not answer well; the grace stays long.
        Held: a signal came. The cluster is still closed, or is open, and the grace stays long.
    """
    with _held_if_interrupted(environment), _locked(environment, say, closed=True) as deployment:
        record, cluster = deployment.record, environment.cluster
        generation = deployment.previous_generation()
        cluster.check(generation, cancelled=deployment.stop.asked)
        record.note(without=deployment.without)
        cluster.open(deployment.epoch, generation.name)
        record.note(closure=None)
        deployment.tell_differences(generation)
        edge = environment.settings.edge
        try:
            front_door.wait_healthy(edge, generation.release, sleep=deployment.stop.sleep)
        except OriginsUnhealthy as exc:
            raise OriginsUnhealthy(
                f"the cluster is open, but {exc.message}; the grace stays long",
                f"{exc.remedy} When it answers well: edgeguard cluster open {environment.name} gives the grace back.",
            ) from exc
        deployment.claim.drop()
        without = {"without": list(cluster.left_out)}
        return {"opened": generation.release, "servers": [server.name for server in cluster.state()], **without}


@contextmanager
def _held_if_interrupted(environment: Environment) -> Iterator[None]:
    """Turn an interruption of the opening into Held: Interrupted would say that nothing was closed."""
    try:
        yield
    except Interrupted as exc:
        now = "open, and the grace stays long" if all(s.open for s in environment.cluster.state()) else "still closed"
        again = f"edgeguard cluster open {environment.name}"
        raise Held(f"{exc.message}; the cluster is {now}", f"To go on: {again}") from exc


@contextmanager
def _locked(environment: Environment, say: Callable[..., None], *, closed: bool = False) -> Iterator[steps.Deployment]:
    """Hold the environment's lock for one act by hand."""
    stop = Stop(last=True)
    deployment = steps.Deployment(id=new_id(), environment=environment, stop=stop, say=say)
    with stop.listening():
        record = deployment.record
        lock = record.look().lock
        if closed and lock and lock.by_hand:  # an earlier process died while it closed or opened the cluster
            record.take_over(wait=stop.sleep, say=lambda text: say("warning", text=text))
        else:
            record.take(None, by_hand=deployment.id, closed_by_hand=closed)
        deployment.renew("lock", record.renewal, record.renew)
        try:
            yield deployment
        finally:
            deployment.let_go()
