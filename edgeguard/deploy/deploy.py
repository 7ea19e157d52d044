"""The story of a deploy, in its order: the phases, the commit, the finish.

The steps are in steps/; how they are unwound is in saga.py; what surrounds a run of them is in attempt.py; how what was
left unfinished is finished or undone is in recovery.py.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgeguard.deploy import saga, steps
from edgeguard.deploy.attempt import attempt
from edgeguard.errors import CleanupUnfinished, EdgeguardError, Fenced, Held, Interrupted, Locked, RolledBack, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeguard.deploy.attempt import Log, Wish
    from edgeguard.deploy.journal import Entry
    from edgeguard.deploy.steps import Deployment
    from edgeguard.environment import Environment


def phases(deployment: Deployment, *, earlier: bool = False) -> tuple[list[saga.Step], list[steps.Step]]:
    """All steps: those that are taken back when one fails, and those that come after the commit."""
    claim = steps.ClaimGrace(deployment)
    until_committed: list[saga.Step] = [
        steps.Earlier(deployment) if earlier else steps.Build(deployment),
        steps.Lock(deployment),
        steps.Preflight(deployment),
        steps.Stage(deployment),
        claim,
        steps.Proof(deployment),
        steps.StopTasks(deployment),
        steps.Close(deployment, claim),  # from here on visitors depend on the edge
        steps.Drain(deployment),
        steps.Swap(deployment, claim),
        steps.Hook(deployment, claim),
        steps.Check(deployment),
        steps.Open(deployment, claim),  # until here
        steps.Healthy(deployment),
    ]
    committed: list[steps.Step] = [
        steps.Purge(deployment),
        steps.ReleaseClaim(deployment, claim),
        steps.PostDeploy(deployment),
        steps.Finish(deployment),
    ]
    return until_committed, committed


def deploy(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None] = lambda _: None) -> dict[str, Any]:
    """Deploy, guarded. Returns the report, as attempt does."""

    def story(deployment: Deployment, log: Log) -> EdgeguardError | None:
        return run(deployment, log, *phases(deployment), wait=wish.wait)

    return attempt(environment, wish, story, command="deploy", of=None, listen=listen)


def run(
    deployment: Deployment,
    log: Log,
    until_committed: list[saga.Step],
    committed: list[steps.Step],
    *,
    adopted: tuple[str, ...] = (),
    wait: bool = False,
) -> EdgeguardError | None:
    """The story forward: everything is done and committed, or taken back as far as it goes."""
    try:
        saga.run(until_committed, log, interrupt=deployment.stop.check, adopted=adopted)
    except saga.Halt as exc:
        return _held(deployment, exc, claim_of(until_committed), wait=wait)
    except saga.UndoFailed as exc:
        return stuck(deployment, exc, claim_of(until_committed))
    except EdgeguardError as exc:
        if not deployment.closed:
            return exc
        left = "nothing serves, as before" if deployment.first else "the previous release serves again"
        return RolledBack(joined(exc.message, left), exc.remedy)
    try:
        steps.commit(deployment)
    except EdgeguardError as exc:
        log.append("failed", step="commit", error=exc.message)
        return _uncommitted(deployment, exc)
    log.append("committed")
    return finish(deployment, committed, log)


def claim_of(until_committed: Sequence[saga.Step]) -> steps.ClaimGrace:
    """The step that claims the grace, of those that `phases` gives."""
    return next(step for step in until_committed if isinstance(step, steps.ClaimGrace))


def finish(deployment: Deployment, committed: list[steps.Step], journal: Log) -> EdgeguardError | None:
    """Forward only: each step is tried, and what failed is left to do."""
    undone, remedies = [], []
    for step in committed:
        journal.append("begin", step=step.name, before={})
        try:
            journal.append("done", step=step.name, **step.do())
        except Fenced:
            return _replaced(deployment)
        except EdgeguardError as exc:
            journal.append("failed", step=step.name, error=exc.message)
            undone.append(f"{step.name}: {exc.message}")
            remedies += [exc.remedy, step.left]
    if undone:
        left = f"deployed, but left to do: {joined(*undone)}"
        return CleanupUnfinished(left, " ".join(dict.fromkeys(filter(None, remedies))))
    return None


def _held(deployment: Deployment, halt: saga.Halt, claim: steps.ClaimGrace, *, wait: bool) -> Held:
    """A person is needed. With `wait` the claim is renewed until somebody else takes over, or a signal comes."""

    def stay() -> None:
        deployment.stop.unshield()
        waiting = "waiting, and renewing the claim" if deployment.claims else "waiting, without a claim to renew"
        deployment.say("warning", text=f"{halt.message}; {waiting}. {halt.remedy}")
        with suppress(Interrupted):
            claim.keep_long(until=lambda: deployment.record.lost)

    if wait:
        deployment.afterwards.append(stay)
    return Held(joined(_said(halt.__cause__), halt.message), halt.remedy)


def _uncommitted(deployment: Deployment, exc: EdgeguardError) -> EdgeguardError:
    """The new release is open and healthy, and that could not be written down on every server: nothing to take back."""
    if isinstance(exc, Fenced):
        return _replaced(deployment)
    return CleanupUnfinished(
        f"the new release serves, but that could not be written down: {exc.message}",
        f"{exc.remedy} Then: edgeguard resume {deployment.environment.name}".lstrip(),
    )


def _replaced(deployment: Deployment) -> Locked:
    """Somebody else took the lock meanwhile: what is unfinished is theirs."""
    name = deployment.environment.name
    return Locked(
        f"somebody else took over {deployment.id} while this process did not show that it lived",
        f"Leave it to them; edgeguard status {name} shows how it is.",
    )


def stuck(deployment: Deployment, exc: saga.UndoFailed, claim: steps.ClaimGrace) -> EdgeguardError:
    """An unwinding stopped half-way. One long claim, where that may be closed; and what to tell who is needed."""
    if isinstance(exc.__cause__, Fenced):
        return _replaced(deployment)
    if not deployment.closed and isinstance(exc.failure, EdgeguardError):  # nobody notices
        return exc.failure.with_more(f"and {exc.message}")
    name = deployment.environment.name
    until = None
    if deployment.closed and not deployment.proved:
        try:
            until = claim.lengthen()
        except Fenced:
            return _replaced(deployment)
    return Held(
        joined(
            _said(exc.failure),
            f"and {exc.message}",
            f"the edge serves the copies it has until {until}" if until else "",
        ),
        f"{exc.remedy} Mend what is named; then edgeguard rollback {name} or edgeguard resume {name} (with --without "
        "SERVER, if one is lost).".lstrip(),
    )


def _said(failure: BaseException | None) -> str:
    return failure.message if isinstance(failure, EdgeguardError) else str(failure)
