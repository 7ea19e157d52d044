"""What a cluster driver is, and where drivers are found.

A driver speaks to N servers and their gate as one thing. It keeps no state of its own between calls: whatever
must survive a crash of the caller is on the servers.
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
    """What makes one deploy's servers: an image and its variables. Made current by one rename.

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
    """What a closed gate tells whoever asks: which deploy closed it, and until when that is planned."""

    deploy: str
    until: float  # Unix time, seconds


@dataclass(frozen=True)
class ServerState:
    """One server as it is now, read from the server itself.

    `generation` and `release` are what is current there (None before the first deploy), `running` says which
    release the processes really run from (None where there are none, or where they don't agree).
    """

    name: str
    generation: str | None
    release: str | None
    running: str | None
    open: bool


@dataclass(frozen=True)
class HookResult:
    """How a hook ended: its exit code (None: ended at its limit, or on request) and the end of its output."""

    server: str
    code: int | None
    output: str
    seconds: float


class Cluster(Protocol):
    """The servers and their gate, driven as one.

    Every call but the two hooks may be repeated: it makes a state true, it never toggles one. Calls that change
    anything carry the caller's epoch; a server (and the gate) that holds another epoch in its record refuses with
    Fenced, and check and act happen under one lock on the host. Whatever else goes wrong is a ClusterError that
    names the server.
    """

    servers: tuple[str, ...]
    """Those that are driven: all of them, but for those that are left out."""

    left_out: tuple[str, ...]
    """Those that a person said to go on without. No call asks them anything, or waits for them."""

    one_gate: bool
    """Whether one gate stands in front of all servers, so that a server can be left out without its help. Where each
    host has a gate of its own, only a person can see to it that nobody reaches a server that was lost."""

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        """Open nothing yet. A driver's own options are `settings.options`; unknown ones are a UsageError.

        A gate that is the driver's own adds `stale-if-error=<ceiling>` (seconds; 0: nothing) to the Surrogate-Control
        of cacheable answers, 200 and 304, since the edge's policy does not see a 304.
        """

    def without(self, servers: Collection[str]) -> Self:
        """The same cluster, of which these servers are left out too. Asks nobody anything."""

    # The record: a small JSON object on every server. It survives everything but the server's disk.
    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record, None where there is none yet."""

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write on every server, in the order of `servers`, durably. A server accepts it only if the epoch it
        holds (0 without a record) is `epoch`; with `expected`, if it is at most that; else Fenced. So taking the
        lock is `write_record(n + 1, …, expected=n)`: one of two who try wins on each server, and a server that is
        new, or that a taker who died did not reach, follows. Who takes it is not kept out for good by a process
        that fell asleep in the midst of an act: as its lease has run out, that one may be killed."""

    # Looking
    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now."""

    def check(
        self, generation: Generation, *, whole: bool = True, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait (at most `start_timeout`) until each server, asked behind the gate, answers the health path with
        200 and runs from this generation's release and from nothing else. With `whole`, its image must be as it was
        built, too: a new release opens only so. One that served before is put back without. Raises ClusterError, and
        Interrupted where it still waits when `cancelled()` turns true."""

    def differences(self, generation: Generation) -> Sequence[str]:
        """What differs, on any server, in this generation's image from the day it was built, a sentence each; empty
        where it is whole. Reads every file of the image."""

    def generation(self, name: str) -> Generation | None:
        """The generation of this name as the servers hold it, without its variables; None where any server lacks it,
        or they differ."""

    def hook_result(self, generation: str, hook: str, *, cancelled: Callable[[], bool]) -> HookResult | None:
        """How a hook of a generation ended, on whatever server; where it still runs, its end is waited for. None: it
        was never started. Raises HookRuns when `cancelled()` turns true (the hook is left running), and HookUnknown
        where it was started and neither runs nor has written down how it ended."""

    # Changing, in the order of a deploy
    def stage(self, epoch: int, generation: Generation) -> None:
        """Put the image and the variables on every server, beside what runs; everything that can be opened,
        copied or computed before the close is."""

    def stop_tasks(self, epoch: int) -> int:
        """Terminate background tasks: SIGTERM, and SIGKILL to what still runs 2 s later. Returns how many. None
        starts again before `open`."""

    def close(self, epoch: int, closure: Closure) -> None:
        """The gate refuses on every server. When this returns, no request that comes later is let through: where one
        gate stands in front, not to a server that is left out either."""

    def drain(self, epoch: int, limit: float) -> int:
        """Wait until the requests let through before the close are answered; after `limit` seconds cut the rest.
        Returns how many were cut."""

    def swap(self, epoch: int, generation: str | None) -> None:
        """On every server: stop the old processes, make the staged generation current by a rename, start the new
        ones. A server that already runs it is left alone. None (what was before a first deploy): nothing is current
        and nothing runs."""

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
        """Start the application's hook `deploy` or `post_deploy` of the current generation on this one server, in a
        session of its own, and wait for its end. *Started* is written durably before, *done* after it, by a process
        that outlives the caller. At `limit` seconds it is ended (SIGTERM, SIGKILL 2 s later, the whole session).

        Started before, on whatever server, it is a ClusterError, unless a person says `again`. While it runs, nothing
        is staged, swapped or opened. Raises as hook_result."""

    def open(self, epoch: int, generation: str) -> None:
        """The gate lets requests through to `servers`, all of this generation, and to no other; or to none
        (ClusterError). Background tasks start last."""

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Remove generations that are not current and not named, and images that no generation uses."""

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """For `plan`: what this phase would do, a line each, in the words of this driver."""


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
