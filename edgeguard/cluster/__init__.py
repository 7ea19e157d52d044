"""What a cluster driver promises, and where drivers are found.

A driver speaks to N servers and their gate as one thing. It keeps no state of its own between calls: whatever must
survive a crash of the caller is on the servers. This page says everything that the contract suite demands of a driver
(`pytest --pyargs edgeguard.testing`, extra `edgeguard[testing]`); the manual's page on drivers has a worked example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from edgeguard.cluster.host.generations import Generation, Runs, Task, User
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edgeguard.settings import ClusterSettings

__all__ = [
    "Closure",
    "Cluster",
    "Generation",
    "HookResult",
    "Runs",
    "ServerState",
    "Task",
    "User",
    "load",
]


@dataclass(frozen=True)
class Closure:
    """What a closed gate tells: the deploy that closed it, and until when the closure is planned.

    Every answer of a closed gate, whatever the method and the path, has the status `cluster.closed_status`, the headers
    `Retry-After: <cluster.retry_after>`, `Cache-Control: no-store` and `Edgeguard-Closed: <deploy>; until=<RFC 3339>`,
    and none of the application's own. The one exception is `cluster.edge_check_path`, which is answered with 200 (and
    with these headers), since an edge that marks the origin sick would go on refusing it after the opening. Example:

        HTTP/1.1 500 Internal Server Error
        Retry-After: 30
        Cache-Control: no-store
        Edgeguard-Closed: 20270115-080000-a1b2; until=2027-01-15T08:00:00Z
    """

    deploy: str
    until: float  # Unix time, seconds


@dataclass(frozen=True)
class ServerState:
    """One server as it is now, read from the server itself.

    `generation` and `release` are what is current there (None before the first deploy). `running` is the release that
    every process of the application runs from (None where there is no process, or where they don't agree). `open` says
    whether the gate lets requests through to this server.

    `deaths` counts the ends of the current generation's web process that nobody asked for, since it was started there
    by a swap. It never falls while that generation stays current, though the program that counts may die; a swap to
    another generation begins anew, and what a swap ends is no death. `gate` and `supervisor` say whether the gate, and
    the program that starts a dead web process again, are alive (None where a driver can't tell): a closed gate refuses,
    a dead one answers nothing.
    """

    name: str
    generation: str | None
    release: str | None
    running: str | None
    open: bool
    deaths: int = 0
    gate: bool | None = None
    supervisor: bool | None = None


@dataclass(frozen=True)
class HookResult:
    """How a hook ended.

    `code` is its exit code (None: it was ended at its limit, or on request). `output` has its last lines, standard
    output and standard error in their order, at most 20 lines and 4000 characters. `log` is the path of a file on
    `server` with more of it (None where the driver keeps none; `commands` keeps it on the machine that deploys).
    `strays` are the processes that left the hook's session and still run (empty where a driver can't tell); they don't
    count as the hook.
    """

    server: str
    code: int | None
    output: str
    seconds: float
    log: str | None = None
    strays: tuple[int, ...] = ()


class Cluster(Protocol):
    """The servers and their gate, driven as one.

    **Repeating.** Every call but `run_hook` may be repeated: it makes a state true, it never toggles one. A call whose
    answer was lost is simply made again. Threads may share one driver.

    **The epoch.** Calls that change anything carry the caller's epoch. A server (and the gate) whose record has another
    epoch refuses with Fenced. Check and act happen under one lock on that server, so that a holder who was replaced in
    between can do nothing. Where one gate stands in front of all servers, an act on the gate has to be fenced by them
    too: the driver holds the locks of all servers, or the gate keeps an epoch of its own that `write_record` raises.

    **The note.** An act with `note` first writes this record on each server, as `write_record(epoch, note)` would,
    under the same lock if the driver can. A record never goes back: in one epoch a server keeps the record with the
    higher `serial`, and passes over the other one without an error; the act is done all the same. The note stays where
    the act is then refused, since its caller learns that from the error. Fenced alone comes before the note.

    **Errors.** Whatever goes wrong is a ClusterError or one of its classes (edgeguard/errors.py), with `server` set to
    the name of the server that it is about. Callers and the suite tell errors by class, never by their words. An act
    on several servers goes on to its end on the others before it raises; only `write_record` stops at the first server
    that refuses. The values of a generation's variables are in no error, no result and no explanation.

    **The caller's environment.** Processes and hooks of the application get their generation's variables, `PORT` and
    `EDGEGUARD_SERVER` (the server's name), and nothing of the environment of whoever calls: a token lies there. Where
    the generation's `runs.socket` is true, they get `SOCKET` instead of `PORT`: the path of a unix socket, of at most
    103 bytes, that no other generation has.

    **The user.** Where the generation's `runs.user` names a user of the servers, its processes and hooks run as that
    user, in its groups, with its name in `USER` and `LOGNAME`; never as another one. A driver, or a server, that can't
    do so refuses while it stages.
    """

    servers: tuple[str, ...]
    """The servers that are driven: all of them, but for those that are left out."""

    left_out: tuple[str, ...]
    """The servers that a person said to go on without. No call asks them anything, or waits for them."""

    one_gate: bool
    """Whether one gate stands in front of all servers, so that a server can be left out without its help. Where each
    host has a gate of its own, only a person can see to it that nobody reaches a server that was lost."""

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        """Connect to nothing yet. A driver's own options are `settings.options`; unknown ones are a UsageError.

        A gate that is the driver's own adds `stale-if-error=<ceiling>` (seconds; 0: nothing) to the Surrogate-Control
        of cacheable answers, 200 and 304, since the edge's policy does not see a 304.
        """

    def without(self, servers: Collection[str]) -> Self:
        """The same cluster, of which these servers are left out too. Asks nobody anything."""

    # The record: a small JSON object on every server. It survives everything but the loss of the server's disk.

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record, None where there is none yet."""

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write the record on every server, one after the other in the order of `servers`, durably, with `epoch` in it.

        Without `expected`, a server accepts it only if the epoch that it holds (0 without a record) is `epoch`. With
        `expected`, a server accepts it if the epoch that it holds is at most `expected`. Else it raises Fenced.

        So taking the lock is `write_record(n + 1, …, expected=n)`. Of two who try, both begin with the first server,
        and only the first of them finds n there. Example: web1 holds 7, web2 and web3 hold 6, since a taker died after
        web1. Who takes the lock now has read 7 as the newest epoch and writes 8 with `expected=7`: web1 accepts it, and
        so do web2 and web3, which lag behind. "Equal to `expected`" would shut web2 and web3 out for good.

        A process that fell asleep in the midst of an act may hold a server's lock for ever. Whoever takes the epoch
        over may end that process, since its lease has run out.
        """

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now, in the order of `servers`. A server that was never used is closed and runs
        nothing. Behind a dead gate no server is open."""

    def check(
        self, generation: Generation, *, cancelled: Callable[[], bool] = lambda: False
    ) -> tuple[ServerState, ...]:
        """Wait, at most `start_timeout` seconds, until each server, asked behind the gate, answers `health_path` with
        200 and runs from this generation and from nothing else.

        Only links and processes are looked at, since the cluster is closed meanwhile: `stage` has verified the image.

        Returns:
            every server as it was after that, as `state` does: nobody has to ask once more while the cluster is closed.

        Raises:
            Unhealthy: a server does not answer 200 in time (`message` says what it answered and what its process wrote
                last), its process died three times before its first good answer (it will not be healthy later, and the
                cluster is closed meanwhile), or something else runs there.
            Interrupted: `cancelled()` turned true while it still waits.
        """

    def differences(self, generation: Generation) -> Sequence[str]:
        """What differs, on any server, in this generation's image from the day it was built, a sentence each; empty
        where the image is whole. Reads every file of the image, so it is called while the cluster is open."""

    def generation(self, name: str) -> Generation | None:
        """The generation of this name as the servers hold it, without the variables' values; None where a server lacks
        it, or where the servers differ. Its runs and users come back as they were staged."""

    def hook_result(
        self,
        generation: str,
        hook: str,
        *,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = lambda _line: None,
    ) -> HookResult | None:
        """How a hook of this generation ended, on whatever server it ran; None if it was never started. The answer
        stays after another generation was made current: a rollback asks for it.

        Where the hook still runs, wait for its end and hand each line of its output to `output` as it comes, from the
        first line that the server still has.

        Raises:
            HookRuns: `cancelled()` turned true. The hook goes on by itself.
            HookUnknown: it was started, it does not run, and nothing says how it ended (its server was restarted, or
                the program that watched it was killed). Only a person may say what follows.
        """

    # Changing, in the order of a deploy

    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        """Put the generation on every server, beside what runs, and make ready all that can be opened, copied or
        computed before the close. Visitors notice nothing.

        With `whole` each server's image is compared with the manifest of its build, file by file. Without it, an image
        that was changed on the server is staged as it is: it serves already, or a person accepts it.

        Where `generation.copy_of` names an earlier generation, the image and the variables are on the servers already,
        and the image may be missing on this machine. Each server copies the variables of the earlier generation; that
        one, and its hooks' results, stay as they are. This is how a release is gone back to.

        Raises:
            ImageChanged: an image is not as it was built.
            NotStaged: the generation of which this one is a copy is not there.
            HookRuns: a deploy hook of another generation still runs there.
            ClusterError: the web process listens on a unix socket, and this driver can't serve one (among others).
        """

    def stop_tasks(self, epoch: int) -> int:
        """Terminate background tasks: SIGTERM, and SIGKILL to what still runs 2 s later. Returns how many there were.
        None starts again before `open`, which may follow at once: the gate need not have been closed. A driver that
        is no edgeguard.cluster.tasks.RunsTasks runs none, and returns 0."""

    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        """The gate refuses. When this returns, no request that comes later reaches a server, not even one that is left
        out where one gate stands in front. A request that was let through before goes on: see `drain`. A gate that is
        dead is started, and one that is closed tells the new closure."""

    def drain(self, epoch: int, limit: float) -> int:
        """Wait until the requests that were let through before the close are answered; after `limit` seconds cut the
        rest: their connections break, and no answer is sent. Returns how many were cut. The wait holds no lock, since
        the record is renewed meanwhile, every few seconds. Raises NotClosed while the gate is open."""

    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        """On every server: stop the old processes, make the staged generation current by one rename, start the new
        processes. With None (what was there before a first deploy) nothing is current and nothing runs. Whatever the
        old web process started is stopped too, also in the background, and also what ignores SIGTERM: two releases must
        not run beside each other. From then on a web process that dies is started again.

        A server that runs the generation already is left alone, open or closed: its process keeps its pid. Where the
        generation is current, and its process or supervisor is dead, they are started. A server that fails keeps what
        it had, or is left with nothing running; the others are finished all the same.

        Raises:
            NotClosed: the gate lets requests through to a server that would have to change.
            NotStaged: the generation is not there.
            HookRuns: a deploy hook runs, whose image must not be taken away.
        """

    def run_hook(  # the one call that must not be repeated
        self,
        epoch: int,
        hook: str,
        server: str,
        *,
        limit: float,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = lambda _line: None,
        again: bool = False,
        note: Mapping[str, Any] | None = None,
    ) -> HookResult:
        """Start the hook `deploy` or `post_deploy` of the current generation on this one server, and wait for its end,
        as `hook_result` does. A hook that the application doesn't define succeeds at once, whatever the gate does; it
        was never started, and `hook_result` tells None of it.

        The hook runs in a session of its own, under a process that outlives the caller. That process durably writes
        *started* before the hook begins and *done*, with the code, after its end. The hook ends with its main process:
        what is left of its session then is ended, and so is all of it at `limit` seconds (SIGTERM, SIGKILL 2 s later).
        A process that left the session doesn't count, even if it has the hook's output open. A hook may write as much
        as it likes, and may close its output: neither holds it up.

        While a deploy hook runs, nothing is staged, swapped or opened, and no hook is started.

        Raises:
            HookStarted: it was started before, on whatever server (`server` names it). With `again`, which only a
                person says, it is started once more if it does not run, and only its second end counts from then on.
            NotClosed: the deploy hook, while the gate is open.
            HookRuns, HookUnknown: as `hook_result`.
        """

    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        """The gate lets requests through to `servers`, all of this generation, and to no other server. Either all open,
        or none. When this returns, a request that comes later is let through; every server gets its share of them. A
        gate that is dead is started. Background tasks start last.

        Raises:
            Unhealthy: a server does not run this generation, and nothing but it; all stay closed.
            HookRuns: a deploy hook still runs.
        """

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Remove generations that are not current and not in `keep`, and images that no generation uses. `keep` has the
        newest generation of each release that can be gone back to (`cluster.keep_releases`)."""

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """For `plan`: what this phase would do, a line each, in the words of this driver; at least one line each for
        stage, stop-tasks, close, drain, swap, hook, check and open."""


def load(name: str) -> type[Cluster]:
    """The class of the driver with this name: one of ours, or any installed package's entry point.

    Raises:
        UsageError: there is no such driver; the message lists those there are.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 (20 ms, which the drivers' own processes save)

    drivers = {point.name: point for point in entry_points(group="edgeguard.drivers")}
    if name not in drivers:
        raise UsageError(
            f"cluster.driver: there is no driver {name!r}",
            f"Use one of: {', '.join(sorted(drivers))} (packages add theirs by the entry point edgeguard.drivers).",
        )
    driver: type[Cluster] = drivers[name].load()
    return driver
