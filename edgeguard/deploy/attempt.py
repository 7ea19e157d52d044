"""One run of a story: its journal, its visitors, its signals, and the report in which it ends."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.cluster.record import Ended
from edgeguard.deploy import report, verdict
from edgeguard.deploy.journal import VERSION, Journal
from edgeguard.deploy.steps import Deployment
from edgeguard.errors import ClusterError, EdgeguardError, Interrupted
from edgeguard.machine.redaction import redacted
from edgeguard.machine.signals import Stop
from edgeguard.machine.who import this_holder
from edgeguard.site import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import Environment

    Story = Callable[[Deployment, "Log"], EdgeguardError | None]


@dataclass(frozen=True)
class Wish:
    """The options with which a person calls deploy, resume or rollback."""

    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()
    supersede: str | None = None
    hook: Literal["again", "skip"] | None = None
    wait: bool = False
    if_changed: bool = False  # do nothing if the release serves already
    last: bool = False  # this process ends with its verdict, and no signal after it changes the exit code


def new_id() -> str:
    """A name for a deploy: the time at which it began, and four random hex digits that keep names apart."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def attempt(
    environment: Environment, wish: Wish, story: Story, *, command: str, of: str | None, listen: Callable[[Entry], None]
) -> dict[str, Any]:
    """Run a story. Returns the report: its `exit_code` says how the run ended, and `error` why it failed, if it did.

    `of` is the deploy that an earlier run left unfinished (None: this is a new one). `listen` is called with every
    entry of the journal, and with each line of output, as they come.
    """
    from edgeguard.site.visitors import Visitors  # noqa: PLC0415 (asyncio: 20 ms, which `plan` saves)

    name = new_id()
    folder = environment.journals / name
    stop = Stop(last=wish.last)
    with stop.listening(), Journal(folder / "journal.jsonl", listen=listen) as journal:
        deployment = _deployment(environment, wish, of or name, stop=stop, listen=listen)
        log = Log(journal, deployment)
        without = {"without": list(environment.cluster.left_out)} if environment.cluster.left_out else {}
        log.append(
            "deploy",
            version=VERSION,
            deploy=of or name,
            command=command,
            environment=environment.name,
            ref=wish.ref,
            **_grace(environment),
            **without,
        )
        visitors = Visitors(environment.settings.visitors, environment.settings.edge, folder / "samples.jsonl")
        visitors.start()
        try:
            failure = story(deployment, log)
        except EdgeguardError as exc:  # raised before the saga began
            log.failed(exc)
            failure = exc
        except BaseException:
            deployment.let_go()
            raise
        finally:
            visitors.stop()
        if visitors.lost:
            deployment.say("warning", text=f"some samples of the visitors could not be written down: {visitors.lost}")
        failure = verdict.behind_long_claim(deployment, _of_closed(deployment, failure))
        _end(deployment, log, failure)
        deployment.let_go(_in_short(deployment, log, failure, command=command))
        report.forget_old(environment.journals, keep=environment.settings.cluster.keep_reports)
        for act in deployment.afterwards:
            act()
    return report.fold(log.entries, samples.read(folder / "samples.jsonl"))


def _deployment(
    environment: Environment, wish: Wish, deploy: str, *, stop: Stop, listen: Callable[[Entry], None]
) -> Deployment:
    return Deployment(
        id=deploy,
        environment=environment,
        stop=stop,
        say=lambda event, **facts: listen(redacted({"event": event, "at": time.time(), **facts})),
        ref=wish.ref,
        purge_keys=wish.purge_keys,
        accept=wish.accept,
        supersede=wish.supersede,
        hook=wish.hook,
    )


def _grace(environment: Environment) -> dict[str, Any]:
    """The grace that is in force without a claim, in seconds, and the mechanism if it takes no claims."""
    edge = environment.edge
    unclaimed = {} if edge.claims else {"mechanism": environment.settings.edge.mechanism}
    return {"base": edge.base, **unclaimed}


def _in_short(deployment: Deployment, log: Log, failure: EdgeguardError | None, *, command: str) -> Ended:
    """A run as a line of the history in the record, for people on other machines."""
    found = report.fold(log.entries, ())
    kept = ("release", "ref", "outcome", "exit_code", "started", "ended", "closed_seconds")
    error = failure.message if failure else None
    facts = {key: found[key] for key in (*kept, *(key for key in ("still_closed",) if key in found))}
    if deployment.closed_before:
        facts["closed_before"] = True
    return Ended.new(id=deployment.id, command=command, who=this_holder(), error=error, **facts)


def _of_closed(deployment: Deployment, failure: EdgeguardError | None) -> EdgeguardError | None:
    """The error of a run that changed nothing, once the servers were asked whether they are closed. If they can't be
    asked, it stays as it is."""
    if failure is None or isinstance(failure, verdict.SAYS_HOW_IT_IS):
        return failure
    try:
        return verdict.of_closed(deployment, failure)
    except ClusterError as exc:
        if isinstance(failure, Interrupted):
            deployment.say("warning", text=f"whether the cluster is closed can't be read: {exc.message}")
        return failure


def _end(deployment: Deployment, journal: Log, failure: EdgeguardError | None) -> None:
    servers = []
    closed = deployment.time_closed is not None and deployment.time_closed.until is None
    try:
        state = deployment.environment.cluster.state()
        closed = not all(each.open for each in state)
        servers = [{"name": each.name, "release": each.release, "open": each.open} for each in state]
    except EdgeguardError as exc:
        deployment.say("warning", text=f"the servers can't be read: {exc.message}")
    journal.append(
        "end",
        exit_code=failure.exit_code if failure else 0,
        error=failure.message if failure else None,
        remedy=failure.remedy if failure else None,
        servers=servers,
        closed_seconds=deployment.closed_seconds,
        closed=closed,
    )


class Log:
    """The journal of a run, as its story writes it.

    After a failure, and after the commit, the run must go on to its end. From then on signals wait, and a journal that
    can't be written is a warning, not an error. That does not hold for the failure of a step that the story can do
    without (`goes_on`). An unwritable journal is a warning also from the opening on: closing the cluster again
    would help nobody. The servers hold the truth.
    """

    def __init__(self, journal: Journal, deployment: Deployment) -> None:
        self._journal = journal
        self._deployment = deployment
        self._only_on = False
        self._told = False
        self.entries: list[Entry] = []

    def append(self, event: str, **facts: Any) -> None:  # noqa: ANN401 (as Journal)
        """As Journal.append."""
        if event in ("failed", "committed", "undoing") and not facts.get("goes_on"):
            self._only_on = True
            self._deployment.stop.shield()
        try:
            self.entries.append(self._journal.append(event, **facts))
        except EdgeguardError as exc:
            if not self._only_on and not self._deployment.opened:
                raise
            self.entries.append(redacted({"event": event, "at": time.time(), **facts}))
            if not self._told:
                self._deployment.say("warning", text=exc.message)
            self._told = True

    def failed(self, failure: EdgeguardError) -> None:
        """Write down that the run failed, unless the entry before this one has told it of a step."""
        last = self.entries[-1]
        if last["event"] != "failed" or last.get("goes_on"):
            self.append("failed", step=None, error=failure.message)
