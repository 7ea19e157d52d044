"""The errors with which a run ends. Each says which release serves now, and what a person can do."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edgeguard.cluster.record import Phase
from edgeguard.deploy.steps.hook import ways_on
from edgeguard.errors import (
    CleanupUnfinished,
    ClusterError,
    EdgeguardError,
    Fenced,
    Held,
    Interrupted,
    Locked,
    Refused,
    RolledBack,
    joined,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.deploy import saga
    from edgeguard.deploy.deployment import Deployment


SAYS_HOW_IT_IS = (Locked, RolledBack, Held, CleanupUnfinished)
"""Errors that say how the cluster is, or why it is closed."""


def taken_back(deployment: Deployment, failure: EdgeguardError) -> EdgeguardError:
    """Everything was taken back. If nothing had been closed, the failure itself is enough."""
    if not deployment.closed:
        return failure
    if not deployment.was_open and not deployment.first:
        opens = f"edgeguard cluster open {deployment.environment.name} opens the previous release."
        return Held(joined(failure.message, "the cluster is closed, as before"), f"{failure.remedy} {opens}")
    left = "nothing serves, as before" if deployment.first else "the previous release serves again"
    return RolledBack(joined(failure.message, left), failure.remedy)


def of_closed(deployment: Deployment, failure: EdgeguardError) -> EdgeguardError:
    """The run failed before it had closed anything, or everything that it began was taken back. If the cluster is
    closed all the same, since an earlier run or a person has closed it, the error says so.

    Interrupted says that nothing was closed. So it is another error then, and also if an earlier run has opened a
    release that is not committed.
    """
    name, record = deployment.environment.name, deployment.record.look()
    left = record.deploy
    ours = left is not None and left.id == deployment.id
    remedy = f"edgeguard status {name} shows why." if left is None else ways_on(name, left.id)
    interrupted = isinstance(failure, Interrupted)
    if interrupted and left is not None and ours and left.phase is Phase.COMMITTED:
        text = f"{left.id} has committed and serves, and its clean-up is left to do"
        return CleanupUnfinished(joined(failure.message, text), f"edgeguard resume {name}")
    servers = deployment.environment.cluster.without(record.left_out).state()
    told = left is None and isinstance(failure, Refused)  # preflight has told it
    if record.opened is not None and not told and not all(server.open for server in servers):
        text = f"the cluster is closed, as {left.id} left it" if left else "the cluster is closed, as before"
        if any(server.gate is False for server in servers):
            text = "a gate is dead, so not every visitor is answered"
            remedy = remedy if left else f"edgeguard cluster open {name} starts it."
        if interrupted:
            return Held(joined(failure.message, text), remedy)
        return failure.with_more(text, remedy=f"{failure.remedy}\n  {remedy}")
    if interrupted and left is not None and ours and left.phase > Phase.LOCK:
        return Held(joined(failure.message, f"the cluster is open, and {left.id} is not committed"), remedy)
    return failure


def held(deployment: Deployment, halt: saga.Halt, *, wait: bool) -> Held:
    """The cluster stays closed, and a person has to decide.

    With `wait`, this process stays after the report is written, and renews the claim until another process takes over
    or a signal comes.
    """

    def stay() -> None:
        deployment.stop.unshield()
        waiting = "waiting, and renewing the claim" if deployment.claims else "waiting, without a claim to renew"
        deployment.say("warning", text=f"{halt.message}; {waiting}. {halt.remedy}")
        with suppress(Interrupted):
            lease = deployment.environment.settings.cluster.lease
            deployment.claim.keep(until=lambda: deployment.record.lost, every=lease)

    if wait:
        deployment.afterwards.append(stay)
    return Held(joined(_said(halt.__cause__), halt.message), halt.remedy)


def behind_long_claim(deployment: Deployment, failure: EdgeguardError | None) -> EdgeguardError | None:
    """A cluster that stays closed until a person decides stays so behind one long claim, whatever led to that. The
    error says until when. Without the lock, nothing can be claimed."""
    record = deployment.record
    if not isinstance(failure, Held) or not record.held or deployment.claim.long:
        return failure
    try:
        if all(server.open for server in deployment.serving.state()):
            return failure
        until = deployment.claim.lengthen()
        if record.deploy is not None and record.deploy.id == deployment.id:
            record.note_deploy(held=True)
    except Fenced:
        return replaced(deployment)
    except ClusterError as exc:
        deployment.say("warning", text=f"that a person has to decide can't be written down: {exc.message}")
        return failure
    return failure.with_more(_served_until(until))


def stuck(deployment: Deployment, stopped: saga.UndoFailed) -> EdgeguardError:
    """The unwinding stopped half-way. If the cluster may be closed, make one long claim; a person has to go on."""
    if isinstance(stopped.__cause__, Fenced):
        return replaced(deployment)
    if not deployment.closed and isinstance(stopped.failure, EdgeguardError):  # no visitor notices
        return stopped.failure.with_more(f"and {stopped.message}")
    name = deployment.environment.name
    until = None
    if deployment.closed and not deployment.proved:
        try:
            until = deployment.claim.lengthen()
        except Fenced:
            return replaced(deployment)
    return Held(
        joined(
            _said(stopped.failure),
            f"and {stopped.message}",
            _served_until(until),
        ),
        f"{stopped.remedy} Mend what is named; then edgeguard rollback {name} or edgeguard resume {name} (with "
        "--without SERVER, if one is lost).",
    )


def uncommitted(deployment: Deployment, failure: EdgeguardError) -> EdgeguardError:
    """The new release is open and healthy, but not every server's record says so. Nothing is taken back."""
    if isinstance(failure, Fenced):
        return replaced(deployment)
    return CleanupUnfinished(
        f"the new release serves, but that could not be written down: {failure.message}",
        f"{failure.remedy} Then: edgeguard resume {deployment.environment.name}",
    )


def left_to_do(undone: Sequence[str], remedies: Sequence[str]) -> CleanupUnfinished:
    """The deploy has committed, and some of the steps after the commit failed."""
    left = f"deployed, but left to do: {joined(*undone)}"
    return CleanupUnfinished(left, " ".join(dict.fromkeys(filter(None, remedies))))


def replaced(deployment: Deployment) -> Locked:
    """Another process took the lock meanwhile, and finishes or undoes the deploy."""
    name = deployment.environment.name
    return Locked(
        f"somebody else took over {deployment.id} while this process did not show that it lived",
        f"Leave it to them; edgeguard status {name} shows how it is.",
    )


def _served_until(until: str | None) -> str:
    return f"the edge serves the copies it has until {until}" if until else ""


def _said(failure: BaseException | None) -> str:
    return failure.message if isinstance(failure, EdgeguardError) else str(failure)
