"""The story of a deploy, in its order: the phases, the commit, the finish.

The steps are in steps/, and saga.py takes them back when one fails. verdict.py has the errors with which a run ends.
attempt.py gives a run its journal, its visitors and its report. recovery.py finishes or undoes an unfinished deploy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.deploy import saga, steps, verdict
from edgeguard.deploy.attempt import attempt
from edgeguard.errors import EdgeguardError, Fenced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeguard.deploy.attempt import Log, Wish
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import Environment

UNTIL_COMMITTED: tuple[type[steps.Step], ...] = (  # when one fails, all that have begun are taken back, last one first
    steps.Build,
    steps.Lock,
    steps.Preflight,
    steps.Stage,
    steps.ClaimGrace,
    steps.Proof,
    steps.StopTasks,
    steps.Close,  # from here on visitors depend on the edge
    steps.Drain,
    steps.Swap,
    steps.Hook,
    steps.Check,
    steps.Open,  # until here
    steps.Healthy,
)
COMMITTED: tuple[type[steps.Step], ...] = (  # only forward: nothing is taken back any more
    steps.Purge,
    steps.ReleaseClaim,
    steps.PostDeploy,
    steps.Finish,
)


def deploy(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None] = lambda _: None) -> dict[str, Any]:
    """Deploy behind the grace. Returns the report, as `attempt` does.

    With `wish.if_changed`, the deploy of a release that serves already ends after the build, and does nothing.
    """

    def story(deployment: Deployment, log: Log) -> EdgeguardError | None:
        deployment.record.must_be_free(instead_of=wish.supersede)  # before the build: a refusal needs no image
        if not wish.if_changed:
            return run(deployment, log, wait=wish.wait)
        failure = do(deployment, log, (steps.Build,))
        if failure or deployment.serves_already():
            return failure
        return run(deployment, log, adopted=(steps.Build.name,), wait=wish.wait)

    return attempt(environment, wish, story, command="deploy", of=None, listen=listen)


def run(
    deployment: Deployment,
    log: Log,
    phases: Sequence[type[steps.Step]] = UNTIL_COMMITTED,
    *,
    adopted: tuple[str, ...] = (),
    wait: bool = False,
) -> EdgeguardError | None:
    """Run the story forward: do every phase and commit, or take back as much as can be taken back.

    Returns the error with which the run ends; None when all went well.
    """
    if failure := do(deployment, log, phases, adopted=adopted, wait=wait):
        return failure
    try:
        steps.commit(deployment)
    except EdgeguardError as exc:
        failure = verdict.uncommitted(deployment, exc)
        log.append("failed", step=None, error=failure.message)
        return failure
    log.append("committed")
    return finish(deployment, log)


def do(
    deployment: Deployment,
    log: Log,
    phases: Sequence[type[steps.Step]],
    *,
    adopted: tuple[str, ...] = (),
    wait: bool = False,
) -> EdgeguardError | None:
    """Do these phases. When one fails, take back as much as can be taken back, and return the error."""
    try:
        saga.run([phase(deployment) for phase in phases], log, interrupt=deployment.stop.check, adopted=adopted)
    except saga.Halt as exc:
        return verdict.held(deployment, exc, wait=wait)
    except saga.UndoFailed as exc:
        return verdict.stuck(deployment, exc)
    except EdgeguardError as exc:
        return verdict.taken_back(deployment, exc)
    return None


def finish(deployment: Deployment, log: Log) -> EdgeguardError | None:
    """Run the story after the commit: try each step, and list the failed ones in the error that this returns."""
    undone, remedies = [], []
    for phase in COMMITTED:
        step = phase(deployment)
        try:
            act(step, log)
        except Fenced:
            return verdict.replaced(deployment)
        except steps.OriginsSick as exc:
            return exc  # a person is needed; the record stays committed
        except EdgeguardError as exc:
            undone.append(f"{step.name}: {exc.message}")
            remedies += [exc.remedy, step.left]
    return verdict.left_to_do(undone, remedies) if undone else None


def act(step: steps.Step, log: Log) -> None:
    """Do one step that nothing takes back. Its failure is written down, and raised."""
    log.append("begin", step=step.name, before={})
    try:
        log.append("done", step=step.name, **step.do())
    except EdgeguardError as exc:
        log.append("failed", step=step.name, error=exc.message)
        raise
