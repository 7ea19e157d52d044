"""Finish or undo a deploy that was left unfinished, from any machine.

The record on the servers says which deploy it was and which phase it had reached. The servers say which generation is
current, what runs, what is open, and how the hook ended. The journal of the machine that died is not needed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import Phase
from edgeguard.deploy import deploy, saga, starting, steps, verdict
from edgeguard.deploy.attempt import attempt
from edgeguard.deploy.serves import served
from edgeguard.errors import (
    ClusterError,
    EdgeguardError,
    Held,
    HookRuns,
    HookUnknown,
    Locked,
    RolledBack,
)
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster.record import Unfinished
    from edgeguard.deploy.attempt import Log, Story, Wish
    from edgeguard.deploy.journal import Entry
    from edgeguard.deploy.steps import Deployment
    from edgeguard.environment import Environment


DIED_EARLY = "this deploy died before its image was on the servers"


def resume(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None]) -> dict[str, Any] | None:
    """Finish the deploy that was left unfinished. Returns its report; None if there is nothing to finish.

    Raises:
        Locked: another process holds the lock.
    """
    left = unfinished(environment)
    if left is None:
        free_dead_lock(environment, listen)
        return None

    def story(deployment: Deployment, log: Log) -> EdgeguardError | None:
        _take_over(deployment, log, "finish it")
        if deployment.generation is None:
            return _undo_never_staged(deployment, log)
        if deployment.reached is Phase.COMMITTED:
            deployment.stop.shield()  # only forward, as at the end of a deploy
            starting.committed(deployment, log)
            return deploy.finish(deployment, log)
        _refuse_guess(deployment)
        starting.claim_again(deployment, log)
        _wait_for_the_hook(deployment)
        return deploy.run(deployment, log, adopted=_adopted(deployment), wait=wish.wait)

    return attempt(environment, wish, _held_while_closed(story), command="resume", of=left.id, listen=listen)


def undo(
    environment: Environment, wish: Wish, *, only: str | None = None, listen: Callable[[Entry], None]
) -> dict[str, Any] | None:
    """Undo the unfinished deploy, and the unfinished deploys that it supersedes; or the deploy `only`, and no other.

    A deploy that has committed is not undone any more: its clean-up is finished. Returns the last run's report; None if
    nothing is unfinished.

    Raises:
        Locked: another process holds the lock.
    """

    def story(deployment: Deployment, log: Log) -> EdgeguardError | None:
        _take_over(deployment, log, "undo it")
        if deployment.reached is Phase.COMMITTED:
            raise Locked(f"{deployment.id} has committed meanwhile", "Look again: edgeguard status.")
        deployment.by_hand = True
        if not deployment.closed:
            return _take_back_unclosed(deployment, log)
        starting.claim_again(deployment, log)
        _wait_for_the_hook(deployment)
        return _undo(deployment, log)

    report = None
    while (left := unfinished(environment)) is not None and only in (None, left.id):
        if left.phase is Phase.COMMITTED:
            return resume(environment, wish, listen=listen)
        report = attempt(environment, wish, _held_while_closed(story), command="rollback", of=left.id, listen=listen)
        if report["exit_code"] != 0:
            break
    return report


def _held_while_closed(story: Story) -> Story:
    """The same story, but if it fails while the cluster is still closed, it ends with Held and the ways on."""

    def told(deployment: Deployment, log: Log) -> EdgeguardError | None:
        try:
            failure = story(deployment, log)
        except EdgeguardError as exc:
            log.failed(exc)
            failure = exc
        if failure is None or isinstance(failure, verdict.SAYS_HOW_IT_IS):
            return failure
        if not deployment.closed or _open(deployment):
            return failure
        ways = steps.ways_on(deployment.environment.name, deployment.id)
        return Held(f"{failure.message}; the cluster is still closed", f"{failure.remedy}\n  {ways}")

    return told


def _open(deployment: Deployment) -> bool:
    try:
        return all(server.open for server in deployment.serving.state())
    except ClusterError:
        return False


def free_dead_lock(environment: Environment, listen: Callable[[Entry], None], *, refuse_by_hand: bool = False) -> None:
    """Free the lock of a dead process that left nothing else: it died before its deploy began, or after it was over.

    A process that closed or opened the cluster by hand may have left more. With `refuse_by_hand` its lock stays.

    Raises:
        Locked: the lock's holder lives, or `refuse_by_hand` forbids it.
    """
    record = environment.record()
    if lock := record.look().lock:
        if refuse_by_hand and lock.by_hand:
            raise Locked(
                f"{lock.holder} closes or opens the cluster by hand, or died while it did so",
                f"If its process is gone: edgeguard cluster open {environment.name}",
            )
        record.take_over(
            wait=time.sleep, say=lambda text: listen({"event": "warning", "at": time.time(), "text": text})
        )
        record.release()


def unfinished(environment: Environment) -> Unfinished | None:
    """The deploy in the servers' record: under way, or left unfinished. None if there is none."""
    return environment.record().look().deploy


def _undo_never_staged(deployment: Deployment, log: Log) -> EdgeguardError | None:
    """Take back a deploy that died before its image was on every server. A resume of it may have died, too, after it
    had closed the cluster to start the release of before.

    Raises:
        ClusterError: its image was there, since it was swapped to, and is gone from a server.
    """
    if not deployment.closed:
        return _take_back_unclosed(deployment, log) or _never_staged(deployment)
    if deployment.reached > Phase.CLOSE or deployment.hook_begun:
        raise ClusterError(
            f"the release of {deployment.id} is not on every server any more, so it can't be finished",
            f"edgeguard rollback {deployment.environment.name}{deployment.under_way.back}",
        )
    starting.claim_again(deployment, log)
    return _undo(deployment, log) or _never_staged(deployment)


def _never_staged(deployment: Deployment) -> EdgeguardError:
    """The error for a deploy whose image was not on every server: it could not be finished, and is taken back."""
    environment = deployment.environment.name
    if (before := deployment.record.deploy) is None:
        if not deployment.first and not _open(deployment):
            opens = f"edgeguard cluster open {environment} opens the previous release."
            return Held(f"{DIED_EARLY}; the cluster is closed, as before", opens)
        if deployment.closed:
            return RolledBack(f"{DIED_EARLY}: the previous release was started and serves again", "Deploy again.")
        serves = "nothing serves, as before" if deployment.first else "the previous release serves"
        return RolledBack(f"{DIED_EARLY}: nothing was closed, and {serves}", "Deploy again.")
    return Held(
        f"{DIED_EARLY}; the cluster is as {before.id} left it, which is unfinished as before",
        f"edgeguard rollback {environment}, or the fix once more: edgeguard deploy {environment} --supersede "
        f"{before.id}",
    )


def _take_back_unclosed(deployment: Deployment, log: Log) -> EdgeguardError | None:
    """Undo a deploy that had closed nothing. Nothing is believed unseen: hosts may have been restarted since, and the
    release of before is started where it does not serve. Returns the error with which that ended."""
    starting.previous(deployment, log)
    return _undo(deployment, log) or (None if deployment.closed else starting.unserved(deployment))


def _undo(deployment: Deployment, log: Log) -> EdgeguardError | None:
    """Run the story backward from the phase that it had reached. When this succeeds, the previous release serves.

    Returns the error of an undo that failed.
    """
    begun = ["lock", "claim", "proof", "stop-tasks"]
    if deployment.closed:
        begun += ["close", "swap"]
    if deployment.opened:
        begun += ["open"]
    undone = [phase(deployment) for phase in deploy.UNTIL_COMMITTED if phase.name in begun]
    why = RolledBack("a rollback was asked for" if deployment.by_hand else DIED_EARLY)
    try:
        saga.unwind([(step, step.before()) for step in undone], log, why)
    except saga.UndoFailed as exc:
        return verdict.stuck(deployment, exc)
    return None


def _take_over(deployment: Deployment, log: Log, will: str) -> None:
    """Take the lock of the unfinished deploy, read its facts from the record, and log the servers' state."""
    record = deployment.record
    record.take_over(wait=deployment.stop.sleep, say=lambda text: deployment.say("warning", text=text))
    deployment.renew("lock", record.renewal, record.renew)
    left = record.deploy
    if left is None or left.id != deployment.id:
        raise Locked(f"{deployment.id} is not unfinished now: another process took over", "See `edgeguard status`.")
    deployment.continue_from(left)
    deployment.generation = deployment.environment.cluster.generation(deployment.id)
    if deployment.closed:  # a server may have been lost since then
        record.note(without=deployment.without)
    servers = deployment.environment.cluster.state()
    is_open = all(server.open for server in deployment.serving.state())
    deployment.see_closure(is_open=is_open)
    log.append(
        "found",
        phase=left.phase.value,
        release=left.release,
        previous=record.opened.release if record.opened else None,
        ref=left.ref,
        servers=[f"{server.name} {'open' if server.open else 'closed'}, {short(server.running)}" for server in servers],
        closed=not is_open,
        will=will,
    )


def _adopted(deployment: Deployment) -> tuple[str, ...]:
    """The steps that an earlier run has done. They are not done again, but an unwinding takes them back.

    `claim` was just done anew, and `proof` has nothing to do. They are named so that no unwinding, however early, drops
    the claim of a closed cluster without the proof.
    """
    always = ("build", "lock", "preflight", "stage", "claim", "proof")
    if not deployment.opened:
        return always
    if not served(deployment.opening, deployment.environment.cluster.state()):
        return always
    return (*always, "stop-tasks", "close", "drain", "swap", "hook", "check")  # an opening may have been half done


def _wait_for_the_hook(deployment: Deployment) -> None:
    """Wait for a running hook: its image must not be replaced under it. The caller judges how it ended."""
    try:
        with steps.runs_on(deployment):
            deployment.environment.cluster.hook_result(deployment.id, "deploy", cancelled=deployment.stop.asked)
    except HookUnknown as exc:
        if deployment.by_hand:
            deployment.say("warning", text=exc.message)


def _refuse_guess(deployment: Deployment) -> None:
    """Raise Held if only a person can know whether the hook may start again, and --hook does not say."""
    left, environment = deployment.under_way, deployment.environment
    if left.hook is None or left.phase >= Phase.OPEN or deployment.hook is not None:
        return
    try:
        result = steps.end_of(environment.cluster, left.id, left.hook.server, lambda: True)
    except HookRuns:
        return
    except HookUnknown as exc:
        raise steps.unknown(environment.name, exc) from exc
    if result is not None and result.code != 0 and environment.settings.cluster.after_hook_failure == "stay-closed":
        raise steps.unknown(environment.name, HookUnknown(f"the deploy hook of {left.id} failed on {result.server}"))
