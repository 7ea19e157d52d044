"""The story of a deploy, in its order. The steps are in steps/; how they are unwound is in saga.py."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgeguard import report, saga, steps
from edgeguard.errors import CleanupUnfinished, EdgeguardError, Held, RolledBack
from edgeguard.journal import Journal
from edgeguard.signals import Stop
from edgeguard.visitors import Visitors
from edgeguard.visitors import read as read_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from edgeguard.environment import Environment
    from edgeguard.journal import Entry


def phases(deployment: steps.Deployment) -> tuple[list[saga.Step], list[saga.Step]]:
    """All steps: those that are taken back when one fails, and those that come after the commit."""
    claim = steps.ClaimGrace(deployment)
    until_committed: list[saga.Step] = [
        steps.Build(deployment),
        steps.Lock(deployment),
        steps.Preflight(deployment),
        steps.Stage(deployment),
        claim,
        steps.Proof(deployment),
        steps.StopTasks(deployment),
        steps.Close(deployment),  # from here on visitors depend on the edge
        steps.Drain(deployment),
        steps.Swap(deployment),
        steps.Hook(deployment),
        steps.Check(deployment),
        steps.Open(deployment, claim),  # until here
        steps.Healthy(deployment),
    ]
    committed: list[saga.Step] = [
        steps.Purge(deployment),
        steps.ReleaseClaim(deployment, claim),
        steps.PostDeploy(deployment),
        steps.Finish(deployment),
    ]
    return until_committed, committed


@dataclass(frozen=True)
class Wish:
    """What somebody asks of a deploy."""

    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()


def deploy(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None] = lambda _: None) -> dict[str, Any]:
    """Deploy, guarded. Returns the report, whose `exit_code` says how it ended; `error` is there when it failed.

    `listen` hears every entry of the journal, and lines of output, as they come.
    """
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = environment.state / name
    stop = Stop()
    with stop.listening(), Journal(folder / "journal.jsonl", listen=listen) as journal:
        deployment = steps.Deployment(
            id=name,
            environment=environment,
            stop=stop,
            say=lambda event, **facts: listen({"event": event, "at": time.time(), **facts}),
            ref=wish.ref,
            purge_keys=wish.purge_keys,
            accept=wish.accept,
        )
        log = _Log(journal, deployment)
        log.append("deploy", deploy=name, environment=environment.name, ref=wish.ref)
        visitors = Visitors(environment.settings.visitors, environment.settings.edge, folder / "samples.jsonl")
        visitors.start()
        try:
            failure = _run(deployment, log)
        finally:
            for renewal in deployment.renewals:
                renewal.stop()
            visitors.stop()
        if visitors.lost:
            deployment.say("warning", text=f"not all visitors' samples could be written down: {visitors.lost}")
        _end(deployment, log, failure)
    return report.fold(log.entries, read_samples(folder / "samples.jsonl"))


def _run(deployment: steps.Deployment, log: _Log) -> EdgeguardError | None:
    until_committed, committed = phases(deployment)
    try:
        saga.run(until_committed, log, interrupt=deployment.stop.check)
    except saga.UndoFailed as exc:
        cause = exc.failure.message if isinstance(exc.failure, EdgeguardError) else str(exc.failure)
        return Held(
            f"{cause}; and {exc.message}. The grace stays as long as it was claimed",
            exc.remedy or "Mend what is named, then see `edgeguard status`.",
        )
    except EdgeguardError as exc:
        if not deployment.closed:
            return exc
        left = "nothing serves, as before" if deployment.first else "the previous release serves again"
        return RolledBack(f"{exc.message}; {left}", exc.remedy)
    log.append("committed")
    return _finish(committed, log)


def _finish(committed: list[saga.Step], journal: _Log) -> EdgeguardError | None:
    """Forward only: each step is tried, and what failed is left to do."""
    unfinished = []
    for step in committed:
        journal.append("begin", step=step.name, before={})
        try:
            journal.append("done", step=step.name, **step.do())
        except EdgeguardError as exc:
            journal.append("failed", step=step.name, error=exc.message)
            unfinished.append(f"{step.name}: {exc.message}")
    if unfinished:
        return CleanupUnfinished(
            "deployed, but left to do: " + "; ".join(unfinished), "The claim ends by itself; purge by hand if need be."
        )
    return None


def _end(deployment: steps.Deployment, journal: _Log, failure: EdgeguardError | None) -> None:
    servers = []
    try:
        state = deployment.environment.cluster.state()
        servers = [{"name": each.name, "release": each.release, "open": each.open} for each in state]
    except EdgeguardError as exc:
        deployment.say("warning", text=f"the servers can't be read: {exc.message}")
    journal.append(
        "end",
        exit_code=failure.exit_code if failure else 0,
        error=failure.message if failure else None,
        remedy=failure.remedy if failure else None,
        servers=servers,
    )


class _Log:
    """The journal of a deploy. Once something has failed, and after the commit, there is no way but on: signals wait,
    and a journal that can't be written any more is told instead of raised. The servers are the truth.
    """

    def __init__(self, journal: Journal, deployment: steps.Deployment) -> None:
        self._journal = journal
        self._deployment = deployment
        self._only_on = False
        self._told = False
        self.entries: list[Entry] = []

    def append(self, event: str, **facts: Any) -> None:  # noqa: ANN401 (as Journal)
        if event in ("failed", "committed"):
            self._only_on = True
            self._deployment.stop.shield()
        try:
            self.entries.append(self._journal.append(event, **facts))
        except EdgeguardError as exc:
            if not self._only_on:
                raise
            self.entries.append({"event": event, "at": time.time(), **facts})
            if not self._told:
                self._deployment.say("warning", text=exc.message)
            self._told = True


def journals(state: Path) -> list[Path]:
    """The folders of the deploys that this machine ran, oldest first."""
    return sorted(path.parent for path in state.glob("*/journal.jsonl"))
