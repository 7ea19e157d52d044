"""The state of an environment now, asked of the servers and of the edge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.facts import mixed
from edgeguard.deploy.serves import served
from edgeguard.errors import ClusterError
from edgeguard.grace import show
from edgeguard.times import duration, rfc3339, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgeguard.cluster import Cluster, ServerState
    from edgeguard.cluster.record import Record
    from edgeguard.environment import Environment

_PATIENCE = 5.0
"""Seconds that asking for all pages may take together."""


@dataclass(frozen=True)
class Status:
    """Servers, record and grace, as they are now."""

    environment: str
    record: Record
    servers: tuple[ServerState, ...]  # the servers that can be read and are not left out
    unreadable: Mapping[str, str]  # each server that can't be read and is not left out, with its error and what to do
    grace: dict[str, Any]  # as grace.show.grace
    runway: float | None  # seconds; None unless something is unfinished or closed

    def json(self) -> dict[str, Any]:
        """The answer of `status --json`."""
        record = self.record
        return {
            "environment": self.environment,
            "servers": [asdict(server) for server in self.servers],
            "without": list(record.left_out),
            "unreadable": dict(self.unreadable),
            "lock": record.lock and record.lock.json,
            "deploy": record.deploy and record.deploy.json,
            "closure": record.closure and record.closure.json,
            "opened": record.opened and record.opened.json,
            "grace": self.grace,
            "runway": self.runway,
        }


def status(environment: Environment, *, now: float) -> Status:
    """Ask the servers and the edge. The edge's part is {"error": …} if it can't be asked.

    Raises:
        ClusterError: no server can be read.
    """
    cluster = environment.cluster
    record, failures = environment.record().read()
    if set(failures) == set(cluster.servers):
        raise next(iter(failures.values()))
    # A server whose record can be read may still have a gate that can't be asked.
    servers = _states(cluster.without({*record.left_out, *failures}), failures)
    matters = record.deploy or record.closure or not all(server.open for server in servers)
    return Status(
        environment.name,
        record,
        servers,
        {
            name: f"{failure.message}. {failure.remedy}".rstrip()
            for name, failure in failures.items()
            if name not in record.left_out
        },
        show.grace(environment, now=now),
        _runway(environment) if matters else None,
    )


def _states(cluster: Cluster, failures: dict[str, ClusterError]) -> tuple[ServerState, ...]:
    """The servers as they are. One that can't tell is left out, and `failures` gets its error."""
    try:
        return cluster.state()
    except ClusterError:
        pass  # ask each alone, to learn which it was
    found: list[ServerState] = []
    for server in cluster.servers:
        try:
            found += cluster.without([other for other in cluster.servers if other != server]).state()
        except ClusterError as exc:
            failures[server] = exc
    return tuple(found)


def _runway(environment: Environment) -> float | None:
    """For how many seconds the edge could serve the pages of visitors.anonymous without the origin, judged as `probe`
    does."""
    # Only when something is unfinished or closed:
    from edgeguard.monitor import Limits  # noqa: PLC0415
    from edgeguard.monitor.check import check  # noqa: PLC0415

    return check(environment.name, environment.settings, Limits(None, None, _PATIENCE)).runway


def text(found: Status) -> str:
    """The answer of `status`, for people."""
    lines = [f"{found.environment}:", *servers_text(found.servers)]
    lines += [
        f"  {name:<10} left out: no request gets there until a deploy brings it back" for name in found.record.left_out
    ]
    lines += [f"  {name:<10} unknown: {failure}" for name, failure in found.unreadable.items()]
    lines.append(f"  lock       {_lock(found)}")
    lines.append(show.text(found.grace))
    if found.runway is not None:
        runway = duration(round(found.runway))
        lines.append(f"  runway     {runway}: for so long the edge could serve its copies without the origin")
    return "\n".join([*lines, *_to_do(found)])


def _lock(found: Status) -> str:
    """The holder of the lock; if it is free, whether that means that a deploy may come."""
    record = found.record
    if lock := record.lock:
        return f"{lock.deploy} ({lock.holder}, since {lock.since})"
    if record.deploy:
        return f"free, but {record.deploy.id} is unfinished: resume or rollback takes it over"
    if record.closure:
        return "free, but the cluster is closed by hand: no deploy may come"
    if found.unreadable:
        return "free on the servers that can be read"
    return "free" if record.opened is None or served(record.opened, found.servers) else "free, but not everything runs"


def _to_do(found: Status) -> list[str]:
    """Lines about an unfinished deploy, or a cluster that is closed or does not run, with the commands that go on."""
    name, record = found.environment, found.record
    deploy, closure = record.deploy, record.closure
    lines = []
    if closure:
        since = f"since {closure.since}, " if closure.since else ""
        lines.append(
            f"  closed by hand by {closure.who}: {closure.why} ({since}planned until {closure.until})\n"
            f"  edgeguard cluster open {name} opens it"
        )
    if deploy:
        closed = deploy.time_closed and deploy.time_closed.seen(is_open=all(server.open for server in found.servers))
        closed = closed if closed and closed.until is None else None
        how = "is held" if deploy.held else "is under way, or was left unfinished"
        lines.append(
            f"  {deploy.id} {how}: it reached {deploy.phase.value}"
            + (f"; its hook was started on {deploy.hook.server}" if deploy.hook else "")
            + (f"; the cluster has been closed since {rfc3339(closed.since)}" if closed else "")
        )
        if deploy.held or not record.lock:
            from edgeguard.deploy.steps import ways_on  # noqa: PLC0415 (all steps; mostly nothing is unfinished)

            lines.append(f"  {ways_on(name, deploy.id, back=deploy.back)}")
        else:
            lines.append(f"  if its process is gone: edgeguard resume {name} or edgeguard rollback {name}{deploy.back}")
    elif record.lock and record.lock.by_hand:
        lines.append(f"  if its process is gone: edgeguard cluster open {name}")
    elif record.lock:
        lines.append(f"  if its process is gone: edgeguard resume {name} frees the lock; nothing is unfinished")
    if not record.lock and (text := mixed(found.servers)):
        lines.append(f"  {text}")
    if record.opened and not deploy and not closure and not served(record.opened, found.servers):
        lines.append(
            f"  not every server serves {record.opened.generation}, which was opened last\n"
            f"  edgeguard cluster open {name} starts what does not run, and opens it; no hook runs"
        )
    return lines


def servers_text(servers: Iterable[ServerState]) -> list[str]:
    """A line for each server. A gate that is dead answers nothing, and a closed one refuses."""
    lines, servers = [], list(servers)
    every = [digest for server in servers for digest in (server.release, server.running)]
    wide = max([10, *(len(server.name) for server in servers)])
    for server in servers:
        state = "open" if server.open else "no gate" if server.gate is False and server.generation else "closed"
        release, running = short(server.release, *every), short(server.running, *every)
        dead = "".join(
            f"; its {part} is dead"
            for part, alive in (("gate", server.gate), ("supervisor", server.supervisor))
            if alive is False and server.generation is not None
        )
        lines.append(f"  {server.name:<{wide}} {state:<7} release {release}, runs {running}{dead}")
    return lines
