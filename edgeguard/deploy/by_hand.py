"""Closing and opening a cluster by hand, with the same checks as a deploy: for work on the servers or the databases."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeguard.cluster import Closure
from edgeguard.cluster.record import ClosedByHand
from edgeguard.deploy import steps
from edgeguard.deploy.attempt import new_id
from edgeguard.deploy.serves import has_to_start
from edgeguard.errors import (
    ClusterError,
    EdgeError,
    EdgeguardError,
    Held,
    Interrupted,
    Locked,
    NotConfirmed,
    OriginsUnhealthy,
    UsageError,
)
from edgeguard.grace import claims
from edgeguard.grace.pipeline import TO_TAKE_BACK
from edgeguard.machine.signals import Stop
from edgeguard.machine.who import this_holder
from edgeguard.site import front_door
from edgeguard.times import rfc3339, unix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.cluster import Generation
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
    with _locked(environment, say) as deployment:
        record, cluster = deployment.record, environment.cluster
        if not all(server.open for server in cluster.state()):
            raise Locked("the cluster is closed already", f"See `edgeguard status {environment.name}`.")
        try:
            claimed = deployment.claim.take(lasting=max(lasting, environment.settings.claim.held))
        except EdgeguardError:
            deployment.stop.respite(TO_TAKE_BACK)
            deployment.claim.undo(proved=False)
            raise
        now = deployment.claim.now()
        until = now + lasting
        closure = ClosedByHand.new(
            id=deployment.id, who=this_holder(), why=reason, since=rfc3339(now), until=rfc3339(until)
        )
        record.note(closure=closure)  # before the act: others learn why the cluster is closed, and `open` can undo it
        cluster.stop_tasks(deployment.epoch)
        cluster.close(deployment.epoch, Closure(deployment.id, until))
        cut = cluster.drain(deployment.epoch, environment.settings.cluster.drain_timeout)
    ends = {"until": rfc3339(claimed["until"])} if "until" in claimed else {}
    return {"closure": closure.json, "cut": cut, "grace": claimed | ends}


def open_again(environment: Environment, *, say: Callable[..., None]) -> dict[str, Any]:
    """Start what does not run, open the release that was open last, wait until the front door answers well, and give
    the claim back. No hook runs.

    This ends a closure by hand, and it is the one command after a restart of hosts. If the release's image was changed
    meanwhile, this only warns: the image served before, too, and there is no other release to open.

    Raises:
        UsageError: nothing was ever opened here.
        Locked: somebody else holds the lock, or a deploy is unfinished and has to be resumed or rolled back.
        ClusterError: a server does not run that release, or is not healthy; the message says whether it is closed.
        OriginsUnhealthy: the cluster is open, but the front door does not answer well; the grace stays long.
        EdgeError, NotConfirmed: servers that serve had to be closed, and the grace could not be claimed for that.
        Held: a signal came. The cluster is still closed, or is open, and the grace stays long.
    """
    locked = _locked(environment, say, closed=True)
    with _held_if_interrupted(environment), locked as deployment, _long_if_interrupted(deployment):
        record, cluster = deployment.record, environment.cluster
        if record.opened is None:
            raise UsageError(
                f"nothing was ever opened on {environment.name}, so there is no release to open",
                f"The first deploy opens it: edgeguard deploy {environment.name}",
            )
        generation = deployment.previous_generation()
        _start(deployment, generation)
        record.note(without=deployment.without)
        cluster.open(deployment.epoch, generation.name)
        closed = _closed_seconds(deployment, record.closure)
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
        servers = [server.name for server in cluster.state()]
        return {"opened": generation.release, "servers": servers, "closed_seconds": closed, **without}


def _closed_seconds(deployment: steps.Deployment, closure: ClosedByHand | None) -> float | None:
    """How long a closure by hand has lasted, by the edge's clock; None where nobody wrote down when it began."""
    if closure is None or closure.since is None:
        return None
    try:
        return round(max(0.0, deployment.claim.now() - unix(closure.since)), 3)
    except ValueError:
        return None


def _start(deployment: steps.Deployment, generation: Generation) -> None:
    """Let every server run this generation, healthy. What runs already is left alone.

    A claim comes first where visitors could notice: a gate is dead, or servers have to be closed while one of them
    is swapped to the generation. A dead process of an open server, whose supervisor lives, is waited for.

    Raises:
        ClusterError: a server can't be started, or is not healthy. The claim stays, for as long as a person may need.
        EdgeError, NotConfirmed: the grace could not be claimed, and a server that serves would have to be closed.
    """
    cluster, epoch = deployment.environment.cluster, deployment.epoch
    servers = cluster.state()
    stopped = [server.name for server in servers if has_to_start(generation, server)]
    dead_gate = any(server.gate is False for server in servers)
    if not stopped and not dead_gate:
        _check(deployment, generation)
        return
    parts = ["the gate is started"] * dead_gate + [f"{', '.join(stopped)}: the application is started"] * bool(stopped)
    deployment.say("warning", text=f"not everything runs: {'; '.join(parts)}")
    _claim_for_start(deployment, serving=any(server.open and server.running for server in servers))
    try:
        if stopped:
            planned = deployment.claim.now() + deployment.environment.settings.cluster.planned_closure
            cluster.close(epoch, Closure(deployment.id, planned))
            cluster.drain(epoch, deployment.environment.settings.cluster.drain_timeout)
            cluster.swap(epoch, generation.name)
        _check(deployment, generation)
    except ClusterError as exc:
        until = deployment.claim.lengthen()
        closed = "the cluster is closed" if stopped or not any(server.open for server in servers) else ""
        covered = f"the edge serves the copies it has until {until}" if until else ""
        remedy = (
            f"{exc.remedy} When that is mended: edgeguard cluster open {deployment.environment.name} (with --without "
            "SERVER, if one is lost)."
        )
        raise exc.with_more(*filter(None, (closed, covered)), remedy=remedy) from exc


def _check(deployment: steps.Deployment, generation: Generation) -> None:
    """Wait until every server is healthy. Raises ClusterError; Interrupted, which says which signal came."""
    try:
        deployment.environment.cluster.check(generation, cancelled=deployment.stop.asked)
    except Interrupted:
        deployment.stop.check()
        raise


def _claim_for_start(deployment: steps.Deployment, *, serving: bool) -> None:
    """Claim the grace. If no server serves, a failure is a warning: a start ends the closure sooner than waiting."""
    try:
        deployment.claim.take()
    except (EdgeError, NotConfirmed) as exc:
        if serving:
            deployment.claim.undo(proved=False)
            raise
        deployment.say("warning", text=f"the grace could not be claimed: {exc.message}")


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
def _long_if_interrupted(deployment: steps.Deployment) -> Iterator[None]:
    """If the opening is interrupted, make one long claim for a cluster that stays closed."""
    try:
        yield
    except Interrupted as exc:
        deployment.stop.shield()
        if all(server.open for server in deployment.environment.cluster.state()):
            raise
        if (until := deployment.claim.lengthen()) is None:
            raise
        raise exc.with_more(f"the edge serves the copies it has until {until}") from exc


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
