"""Cluster: the Protocol of all drivers, its types, and `load`, which finds a driver by its name.

A driver speaks to N servers and their gate as one. It keeps no state of its own between calls: all state that must
survive a crash of the caller is on the servers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from edgeguard.settings import ClusterSettings


@dataclass(frozen=True)
class Generation:
    """An image and its variables: all that one deploy's servers run. One rename makes a generation current.

    `name` is the id of the deploy that staged it; `release` is the digest of the image's content; `image` is the
    absolute path of the frozen image, the same on every server; `variables` are the processes' environment
    variables that are the same on every server (values are secrets: never print them).
    """

    name: str
    release: str
    image: Path
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Closure:
    """The announcement of a closed gate: which deploy closed it, and until when that is planned."""

    deploy: str
    until: float  # Unix time, seconds


@dataclass(frozen=True)
class ServerState:
    """One server as it is now, read from the server itself.

    `generation` and `release` are the current ones (None before the first deploy). `running` is the release that the
    processes really run from (None where there are none, or where they run from several).
    """

    name: str
    generation: str | None
    release: str | None
    running: str | None
    open: bool


@dataclass(frozen=True)
class HookResult:
    """The end of a hook: its exit code (None: it was ended, at its limit or on request), and its output's last part."""

    server: str
    code: int | None
    output: str
    seconds: float


class Cluster(Protocol):
    """The servers and their gate, driven as one.

    Every call but `run_hook` may be repeated: it makes a state true, and never toggles one. Calls that change anything
    carry the caller's epoch. A server (and the gate) that holds another epoch in its record refuses with Fenced; the
    check and the act happen under one lock on the host. Any other failure is a ClusterError that names the server.
    """

    servers: tuple[str, ...]
    """The servers that calls reach: all but those that are left out."""

    left_out: tuple[str, ...]
    """The servers that a person told us to go on without. No call asks them anything, or waits for them."""

    one_gate: bool
    """Whether one gate stands in front of all servers. It can then leave a server out without that server's help. Where
    each host has its own gate, only a person can make sure that no visitor reaches a lost server."""

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        """Open no connection yet. A driver's own options are `settings.options`; unknown ones are a UsageError.

        A driver's own gate adds `stale-if-error=<ceiling>` (seconds; 0: nothing) to the Surrogate-Control
        of cacheable answers, 200 and 304, since the edge's policy does not see a 304.
        """

    def without(self, servers: Collection[str]) -> Self:
        """The same cluster, with these servers left out too. This asks no server anything."""

    # The record: a small JSON object on every server. Only the loss of the server's disk destroys it.
    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record, None where there is none yet."""

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write the record on every server, in the order of `servers`, durably.

        A server accepts it only if the epoch that it holds (0 without a record) is `epoch`; with `expected`, if it is
        at most `expected`. Else the server refuses with Fenced. So a process takes the lock by `write_record(n + 1, …,
        expected=n)`: of two processes that try, one wins on each server. It also wins on a server that is new, or that
        an earlier process did not reach before it died. A process that fell asleep in the midst of an act does not keep
        others out for good: its lease has run out, so it may be killed.
        """

    # Looking
    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now."""

    def check(
        self, generation: Generation, *, whole: bool = True, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait (at most `start_timeout`) until each server, asked behind the gate, answers the health path with 200.

        Each server must run from this generation's release and from nothing else. With `whole`, its image must be as it
        was built, too: a new release needs that before it opens, an earlier release that is put back does not. Raises
        ClusterError, and Interrupted when `cancelled()` turns true during the wait.
        """

    def differences(self, generation: Generation) -> Sequence[str]:
        """The differences of this generation's image, on any server, from the day it was built, a sentence each.

        Empty where there is none. This reads every file of the image.
        """

    def generation(self, name: str) -> Generation | None:
        """The generation of this name as the servers hold it, without its variables.

        None where a server lacks it, or where servers differ.
        """

    def hook_result(self, generation: str, hook: str, *, cancelled: Callable[[], bool]) -> HookResult | None:
        """The end of a generation's hook, whichever server it ran on. This waits while the hook runs.

        None if it was never started. Raises HookRuns when `cancelled()` turns true (the hook is left running), and
        HookUnknown if it was started, does not run any more, and left no word of how it ended.
        """

    # Changing, in the order of a deploy
    def stage(self, epoch: int, generation: Generation) -> None:
        """Put the image and the variables on every server, beside the running generation.

        This does all that can be opened, copied or computed before the close.
        """

    def stop_tasks(self, epoch: int) -> int:
        """End background tasks: SIGTERM, and SIGKILL to those that still run 2 s later. Returns their number.

        No task starts again before `open`.
        """

    def close(self, epoch: int, closure: Closure) -> None:
        """Close the gate for every server. When this returns, it lets no later request through.

        Where one gate stands in front of all servers, that holds for servers that are left out, too.
        """

    def drain(self, epoch: int, limit: float) -> int:
        """Wait until the requests that were let through before the close are answered.

        After `limit` seconds the rest is cut. Returns how many were cut.
        """

    def swap(self, epoch: int, generation: str | None) -> None:
        """On every server, end the old processes, make the staged generation current by a rename, and start the new
        processes.

        A server that already runs the generation is left alone. With None (the state before a first deploy), nothing is
        current and nothing runs.
        """

    def run_hook(  # the one call that must not be repeated
        self,
        epoch: int,
        hook: str,
        server: str,
        *,
        limit: float,
        cancelled: Callable[[], bool],
        again: bool = False,
    ) -> HookResult:
        """Run the hook `deploy` or `post_deploy` of the current generation on one server, in a session of its own.

        This waits for its end. *Started* is written durably before the hook, and *done* after it, by a process that
        outlives the caller. At `limit` seconds the whole session is ended (SIGTERM, SIGKILL 2 s later).

        If the hook was started before, on whatever server, this raises ClusterError, unless a person says `again`.
        While the hook runs, nothing can be staged, swapped or opened. The errors of hook_result are raised here, too.
        """

    def open(self, epoch: int, generation: str) -> None:
        """Let requests through to `servers`, if all of them run this generation, and to no other server.

        Raises ClusterError where one does not run it; then no request is let through. Background tasks start last.
        """

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Remove the generations that are neither current nor in `keep`, and the images that no generation uses."""

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """Describe for `plan` the acts of this phase, a line each."""


def load(name: str) -> type[Cluster]:
    """The class of the driver with this name. It is one of ours, or another package's, found by its entry point.

    Raises:
        UsageError: there is no such driver. The remedy lists those that exist.
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
