"""Going back: undo what is unfinished, or deploy a release that is kept on the servers once more."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.record import Phase
from edgeguard.deploy import deploy as forward
from edgeguard.deploy import recovery, steps
from edgeguard.deploy.attempt import attempt
from edgeguard.deploy.serves import served
from edgeguard.errors import ClusterError, UsageError
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeguard.cluster.record import Opened, Record, Unfinished
    from edgeguard.deploy.attempt import Log, Wish
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.journal import Entry
    from edgeguard.environment import Environment
    from edgeguard.errors import EdgeguardError

FINISHED = (0, 11, 12)
"""The exit codes of a resume after which this process may go on: the lock is free again."""


@dataclass(frozen=True)
class Serving:
    """What serves, and the releases that can be gone back to, the newest first."""

    environment: str
    record: Record
    everywhere: bool  # every server serves the release that was opened last
    earlier: Sequence[Opened]
    because: str = ""  # why nothing was done, a sentence

    def json(self) -> dict[str, Any]:
        """The answer of a `rollback` that had nothing to do."""
        opened, left = self.record.opened, self.record.deploy
        return {
            "environment": self.environment,
            "unfinished": left and left.id,
            "release": opened and opened.release,
            "generation": opened and opened.generation,
            "serves": self.everywhere,
            "releases": [{"generation": each.generation, "release": each.release} for each in self.earlier],
        }

    def now(self) -> str:
        """The same for people: what serves now."""
        opened, name = self.record.opened, self.environment
        if opened is None:
            serves = f"nothing was ever opened in {name}"
        elif self.everywhere:
            serves = f"{named(opened)} serves"
        else:
            opens = f"edgeguard cluster open {name} starts what does not run, and opens it"
            then = f"see edgeguard status {name}" if self.record.deploy else opens
            serves = f"{named(opened)} was opened last, but not every server serves it: {then}"
        return "\n".join(filter(None, (self.because, serves)))

    def text(self) -> str:
        """The same, and how to go back."""
        name = self.environment
        if not self.earlier:
            back = "no other release is kept on the servers: to go back, deploy the commit that you want with --ref"
        else:
            back = f"to go back to another release: edgeguard rollback {name} --to RELEASE\n{listed(self.earlier)}"
        return f"{self.now()}\n{back}"


def rollback(environment: Environment, wish: Wish, *, listen: Callable[[Entry], None]) -> dict[str, Any] | Serving:
    """Undo what is unfinished; if it has committed, finish its clean-up. Returns the report of the last run, or what
    serves if nothing is unfinished.

    Raises:
        Locked: another process holds the lock.
    """
    report = recovery.undo(environment, wish, listen=listen)
    if report is None:
        recovery.free_dead_lock(environment, listen, refuse_by_hand=True)
        return serving(environment, "nothing is unfinished, and nothing was changed")
    if report["command"] == "resume":  # it had committed
        _tell(environment, listen)
    return report


def to(
    environment: Environment, wish: Wish, release: str, *, listen: Callable[[Entry], None]
) -> dict[str, Any] | Serving:
    """Deploy a release that is kept on the servers, with the variables that it had. `release` is its digest, the
    beginning of it, or the name of its generation. Returns the report, or what serves if this release does.

    Raises:
        UsageError: no such release is kept on the servers, or it is not clear which one is meant.
        Locked: another process holds the lock.
    """
    return _deploy(environment, wish, find(environment, release), listen)


def undo(
    environment: Environment, wish: Wish, deploy: str, *, listen: Callable[[Entry], None]
) -> dict[str, Any] | Serving:
    """Undo exactly this deploy: what is left of it, if it is unfinished; if its release serves, deploy the release
    before. Returns the report, or what serves if there is nothing to undo.

    Raises:
        UsageError: its release serves, and none is kept to go back to.
        Locked: another process holds the lock.
    """
    record = environment.record().look()
    left = record.deploy
    if left is not None and left.id == deploy and left.phase is not Phase.COMMITTED:
        report = recovery.undo(environment, wish, only=deploy, listen=listen)
        return serving(environment, f"{deploy} is not unfinished any more") if report is None else report
    if record.opened is not None and record.opened.generation == deploy:
        if not (earlier := on_servers(environment, record)):
            raise _none_kept(environment, "no release before it")
        return _deploy(environment, wish, earlier[0], listen)
    said = f"{deploy} is not unfinished, and its release does not serve: nothing was changed"
    if left is not None and deploy in superseded(left):
        said = f"{left.id} came in place of {deploy} and is unfinished: nothing was changed"
    return serving(environment, said)


def serving(environment: Environment, because: str = "") -> Serving:
    """What serves now, as the servers say it. Raises ClusterError if they can't be asked."""
    record = environment.record().look()
    cluster = environment.cluster.without(record.left_out)
    everywhere = record.opened is not None and served(record.opened, cluster.state())
    return Serving(environment.name, record, everywhere, on_servers(environment, record), because)


def on_servers(environment: Environment, record: Record) -> list[Opened]:
    """The kept releases but the one that serves, as far as every server has them."""
    cluster = environment.cluster.without(record.left_out)
    return [each for each in record.releases[1:] if cluster.generation(each.generation) is not None]


def find(environment: Environment, wanted: str) -> Opened:
    """The kept release that is meant. Raises UsageError."""
    record = environment.record().look()
    there = [*record.releases[:1], *on_servers(environment, record)]
    if not (found := [each for each in there if wanted and wanted in (each.generation, each.release)]):
        found = [each for each in there if wanted and each.release.startswith(wanted)]
    if not found:
        raise _none_kept(environment, f"{wanted}: no such release", there)
    if len(found) > 1:
        raise UsageError(
            f"{wanted} can mean more than one release",
            f"Name the deploy that brought it instead, such as --to {found[-1].generation}:\n{listed(found)}",
        )
    return found[0]


def superseded(left: Unfinished) -> list[str]:
    """The unfinished deploys in whose place this one came."""
    return [] if left.superseded is None else [left.superseded.id, *superseded(left.superseded)]


def named(release: Opened) -> str:
    """A release in a sentence."""
    return f"release {short(release.release)} of {release.generation}"


def listed(releases: Sequence[Opened]) -> str:
    """A line for each release."""
    return "\n".join(f"  {short(each.release)}  of {each.generation}" for each in releases)


def _deploy(
    environment: Environment, wish: Wish, release: Opened, listen: Callable[[Entry], None]
) -> dict[str, Any] | Serving:
    """Deploy this release, unless it serves. A deploy that has committed is finished first. If it can't be, since its
    release is sick for one, this one comes in its place."""
    left = recovery.unfinished(environment)
    if left is not None and left.phase is Phase.COMMITTED:
        report = recovery.resume(environment, replace(wish, last=False), listen=listen)
        if report is not None and report["exit_code"] not in FINISHED:
            return report
        left = recovery.unfinished(environment)
    if left is None:
        found = serving(environment, "this release serves already: nothing was changed")
        if found.everywhere and found.record.opened and found.record.opened.generation == release.generation:
            return found
        recovery.free_dead_lock(environment, listen, refuse_by_hand=True)
    elif left.phase is Phase.COMMITTED:
        wish = replace(wish, supersede=left.id)

    def story(deployment: Deployment, log: Log) -> EdgeguardError | None:
        deployment.record.must_be_free(instead_of=wish.supersede)  # before the images are compared
        deployment.back_to = release
        phases = [steps.Earlier if phase is steps.Build else phase for phase in forward.UNTIL_COMMITTED]
        return forward.run(deployment, log, phases, wait=wish.wait)

    return attempt(environment, wish, story, command="rollback", of=None, listen=listen)


def _none_kept(environment: Environment, what: str, there: Sequence[Opened] = ()) -> UsageError:
    kept = f"One of these is kept:\n{listed(there)}\n  Or deploy" if there else "Deploy"
    return UsageError(
        f"{what} is kept on the servers of {environment.name}",
        f"{kept} the commit that you want: edgeguard deploy {environment.name} --ref REF",
    )


def _tell(environment: Environment, listen: Callable[[Entry], None]) -> None:
    """Tell what serves after a clean-up. This never raises: the report follows."""
    try:
        found = serving(environment)
    except ClusterError as exc:
        listen({"event": "warning", "at": time.time(), "text": f"the servers can't be asked: {exc.message}"})
    else:
        listen({"event": "serves", "at": time.time(), **found.json(), "text": found.text()})
