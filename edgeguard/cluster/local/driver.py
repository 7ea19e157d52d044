"""LocalCluster: the servers and the gate on this machine, driven through their folders below `cluster.root`.

    releases/<inputs>/   frozen images
    mounts/              the application's mounts, shared by the servers
    servers/<name>/      lock, record.json, port.json, generations/, current → generations/…, hooks/, supervisor/,
                         app.log
    gate/                the gate's desired and actual state
    host/                the program that runs hooks (edgeguard/cluster/archive.py)

What happens on one server is in edgeguard/cluster/host. Every change to a server happens under that server's lock,
after the epoch is compared. The gate belongs to all servers, so a change to it happens under all locks.
"""

from __future__ import annotations

import copy
import re
import secrets
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import Closure, Generation, HookResult, ServerState, archive, foreground
from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import account as accounts
from edgeguard.cluster.host import (
    environment,
    fence,
    generations,
    health,
    homes,
    hooks,
    images,
    logs,
    reach,
    sockets,
    waiting,
)
from edgeguard.cluster.host.errors import refusal
from edgeguard.cluster.local import ports
from edgeguard.cluster.local.daemon import Daemon
from edgeguard.cluster.local.explain import explain
from edgeguard.cluster.local.program import Program
from edgeguard.cluster.local.server import Server
from edgeguard.errors import ClusterError, NotClosed, Unhealthy, UsageError
from edgeguard.release import hidden
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeguard.cluster.foreground import Ended, Ends
    from edgeguard.cluster.host.logs import Piece
    from edgeguard.cluster.tasks import TaskState
    from edgeguard.settings import ClusterSettings

_NEVER_OPENED = Closure("none", 0.0)
_POLL = 0.002


def _to_nobody(_line: str) -> None:
    """Nobody listens to the hook's output."""


class LocalCluster:
    """The driver `local`; edgeguard.cluster.Cluster says what its methods do. Threads may share one."""

    one_gate = True

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        self.servers = settings.servers
        self.left_out: tuple[str, ...] = ()
        self._environment = environment
        self._ceiling = ceiling
        self._settings = settings
        self._root = expanded(settings.root, "cluster.root").absolute()
        options = ports.options(settings.options)
        self._ports = ports.Ports(options)
        self._gate_port = options.gate_port
        self._gate = Daemon("the gate", "edgeguard.cluster.local.gate", self._root / "gate")

    def without(self, servers: Collection[str]) -> Self:
        """The same cluster without some servers. The gate needs no order: it gets servers only when it is opened."""
        fewer = copy.copy(self)
        fewer.servers = tuple(server for server in self.servers if server not in servers)
        fewer.left_out = tuple(server for server in self._settings.servers if server not in fewer.servers)
        return fewer

    def secret_values(self) -> Iterator[str]:
        """The values of variables on the servers."""
        return hidden.on_servers(self._folder(server) for server in self.servers)

    # The record

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record."""
        return {name: self._server(name).read_record() for name in self.servers}

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write on every server, one after the other."""
        for name in self.servers:
            server = self._server(name)
            with server.fenced(epoch, after=expected), on(name):
                fence.write_record(server.folder, epoch, record)

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now. A server that was never used is closed, and has no current generation."""
        gate = self._gate.actual()
        passing = self._gate.desired().get("servers", {}) if gate is not None and gate["open"] else {}
        return tuple(self._server(name).state(opened=name in passing, gate=gate is not None) for name in self.servers)

    def check(
        self, generation: Generation, *, cancelled: Callable[[], bool] = lambda: False
    ) -> tuple[ServerState, ...]:
        """Ask all servers at the same time, behind the gate."""

        def check_server(name: str) -> None:
            settings, server = self._settings, self._server(name)
            with on(name):
                health.wait(
                    server.folder,
                    generation.name,
                    server.supervised,
                    address=self._address(name, generation.name),
                    path=settings.health_path,
                    limit=settings.start_timeout,
                    cancelled=cancelled,
                )

        self._on_all(check_server)
        states = self.state()
        for state in states:
            if state.generation != generation.name or state.release != generation.release:
                raise Unhealthy(
                    f"{state.name}: {state.generation} is current, not {generation.name}", server=state.name
                )
        return states

    def differences(self, generation: Generation) -> Sequence[str]:
        """The differences of the one image that all servers run from."""
        return images.verify(generation.image)

    def generation(self, name: str) -> Generation | None:
        """The generation, if every server holds it and none differs."""
        found: list[Generation | None] = []
        for server in self.servers:
            with on(server):
                found.append(generations.find(self._folder(server), name))
        return found[0] if all(one == found[0] for one in found) else None

    def hook_result(
        self,
        generation: str,
        hook: str,
        *,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = _to_nobody,
    ) -> HookResult | None:
        """Read the ledger, which is on one server alone."""
        for server in self.servers:
            with on(server):
                found = hooks.wait(self._folder(server), generation, hook, cancelled=cancelled, output=output)
            if found is not None:
                return HookResult(server, found.code, found.output, found.seconds, str(found.log), found.strays)
        return None

    # Changing

    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        """Write the generation on every server. The gate and the supervisors are started where they don't run."""
        self._refuse_while_a_hook_runs()
        with on(self.servers[0]):
            account = accounts.to_become(generation.runs.user)
            images.refuse_other(generation.image, generation.release, whole=whole)
            reach.make(generation.runs.folders, account)

        def stage(name: str) -> None:
            server = self._server(name)
            with server.fenced(epoch), on(name):
                generations.put(server.folder, generation)
                homes.seed(server.folder, generation)
                server.start_supervisor(self._port(name))
                if generation.runs.tasks:
                    server.make_ready_for_tasks()

        self._on_all(stage)
        with self._all_fenced(epoch):
            with on(self.servers[0]):
                archive.put(self._root / "host")
            if self._gate.actual() is None:
                self._gate.order(self._gate.desired() or self._closed(_NEVER_OPENED))
        if generation.runs.user is not None:
            self._refuse_unfit(generation.runs.user, generation)
        if generation.has_hook("deploy"):
            server = self._settings.hook_on(self.servers)
            with on(server):
                waiting.make_ready(self._folder(server), archive.program(archive.put(self._root / "host")))

    def stop_tasks(self, epoch: int) -> int:
        """Stop them on all servers at the same time."""
        stopped: list[int] = []

        def stop(name: str) -> None:
            server = self._server(name)
            with server.fenced(epoch):
                stopped.append(server.stop_tasks())

        self._on_all(stop)
        return sum(stopped)

    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        """Close the gate by one order."""
        with self._all_fenced(epoch, note):
            self._gate.order(self._closed(closure))

    def drain(self, epoch: int, limit: float) -> int:
        """Wait until the gate reports no requests in flight. The wait holds no lock; the cut holds all."""
        with self._all_fenced(epoch):
            self._refuse_while_open("drain")
        deadline = time.monotonic() + limit
        while (gate := self._gate.actual()) is not None and gate["in_flight"]:
            if time.monotonic() > deadline:
                with self._all_fenced(epoch):
                    self._refuse_while_open("drain")
                    after = self._gate.order({**self._gate.desired(), "cut": True})
                    return int(after["cut"] - gate["cut"])
            time.sleep(_POLL)
        return 0

    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        """Swap all servers at the same time. If one fails, the others finish before the error is raised."""

        def swap(name: str) -> None:
            server = self._server(name)
            with server.fenced(epoch, note=note):
                if not server.runs_only(generation):
                    self._refuse_while_open("swap", name)
                    self._refuse_while_a_hook_runs()
                    server.swap(generation, self._port(name))

        self._on_all(swap)

    def run_hook(
        self,
        epoch: int,
        hook: str,
        server: str,
        *,
        limit: float,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = _to_nobody,
        again: bool = False,
        note: Mapping[str, Any] | None = None,
    ) -> HookResult:
        """Run the hook under the wrapper of edgeguard/cluster/host. A hook that isn't defined succeeds."""
        folder = self._folder(server)
        with self._all_fenced(epoch, note), on(server):
            name = generations.current(folder)
            if name is None:
                raise ClusterError(f"{server}: nothing is current, so there is no {hook} hook to run", server=server)
            if not generations.read(folder, name).has_hook(hook):
                return HookResult(server, 0, "no hook", 0.0)
            if hook == "deploy":
                self._refuse_while_open("run the deploy hook")
            self._refuse_while_a_hook_runs()
            if again:
                self._forget_hook(name, hook)
            else:
                self._refuse_second(name, hook)
            own = environment.own(folder, name, server, self._port(server))
            keep = self._settings.keep_hook_logs
            order = hooks.Order(name, hook, own, limit, secrets.token_hex(8), keep)
            hooks.start(folder, order, archive.program(archive.put(self._root / "host")))
        only = self.without([other for other in self.servers if other != server])
        result = only.hook_result(name, hook, cancelled=cancelled, output=output)
        if result is None:
            remedy = "Is somebody removing files there?"
            raise ClusterError(f"{server}: the ledger of the {hook} hook is gone", remedy, server=server)
        return result

    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        """Open the gate by one order, if every server runs the generation and nothing else."""
        with self._all_fenced(epoch, note):
            self._refuse_while_a_hook_runs()
            states = self.state()
            for state in states:
                if state.generation != generation or state.running is None or state.running != state.release:
                    raise Unhealthy(
                        f"{state.name} does not run {generation}: {state.generation} is current, and its processes run"
                        f" {state.running or 'nothing, or more than one release'}; all stay closed",
                        server=state.name,
                    )
            releases = {state.release for state in states}
            if len(releases) != 1:
                raise Unhealthy(f"{generation} is not the same release on all servers; all stay closed")
            wanted = {
                **self._closed(_NEVER_OPENED),
                "open": True,
                "servers": {server: self._address(server, generation) for server in self.servers},
                "release": releases.pop(),
                "ceiling": self._ceiling,
            }
            self._gate.order(wanted)
            crons = self._settings.crons_on(self.servers)
            self._on_all(lambda name: self._server(name).start_tasks(generation, crons=name == crons))

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Remove what is not needed, also images that no server has. An unfinished build is left alone."""
        with self._all_fenced(epoch):
            used = {image for name in self.servers for image in self._server(name).prune(keep)}
            with on(self.servers[0]):
                for image in images.finished(self._root / "releases"):
                    if image not in used:
                        images.remove(image)

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """The acts of a phase, a line each."""
        return explain(phase, generation, self._settings, self.servers, root=self._root, gate_port=self._gate_port)

    # Beyond the Protocol

    def unready(self, generation: Generation) -> Mapping[str, Sequence[str]]:
        """Whether this process can become the generation's user (edgeguard.cluster.preparing.unready)."""
        found = refusal(lambda: accounts.to_become(generation.runs.user))
        return {} if found is None else {self.servers[0]: [found]}

    def logs(
        self, server: str, *, place: str | None, lines: int | None, ago: float | None, task: str | None = None
    ) -> Piece:
        """From the supervisor's app.log, or the log of a task (edgeguard.cluster.logs.Logs)."""
        if ago is not None:
            raise UsageError("the driver local does not note when a line was written", "Use --lines.")
        with on(server):
            log = "app.log" if task is None else f"tasks/{task}.log"
            return logs.file(self._folder(server) / log, place=place, lines=lines)

    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        """By the host program, as a process of this machine (edgeguard.cluster.foreground.Runs)."""
        folder = self._folder(server)
        with on(server):
            program = Program([*archive.program(archive.put(self._root / "host")), "run", str(folder)])
            return foreground.carry(program, b"", ends, server=server, command=command, port=self._port(server))

    def tasks(self) -> tuple[TaskState, ...]:
        """The background tasks of every server, as they are now."""
        return tuple(state for name in self.servers for state in self._server(name).tell_tasks())

    def variables(self, server: str) -> Mapping[str, Mapping[str, int]]:
        """The names and sizes of what processes find there (edgeguard.cluster.variables.TellsVariables)."""
        with on(server):
            return environment.sizes(self._folder(server), server, self._port(server))

    def dismantle(self) -> None:
        """End hooks, the gate, and every server with its application, each by its own process id. The files stay."""
        for server in self.servers:
            if (wrapper := waiting.ready(self._folder(server))) is not None:
                wrapper.end()
            hooks.end(self._folder(server))
        self._gate.end()
        self._on_all(lambda name: self._server(name).tasks.end())
        self._on_all(lambda name: self._server(name).supervisor.end())

    # The servers

    def _folder(self, name: str) -> Path:
        if name not in self.servers:
            raise ClusterError(f"{name} is not one of the servers", f"They are {', '.join(self.servers)}.")
        return self._root / "servers" / name

    def _server(self, name: str) -> Server:
        return Server(name, self._folder(name))

    def _port(self, name: str) -> int:
        with on(name):
            return self._ports.of(self._folder(name), self._settings.servers.index(name))

    def _address(self, name: str, generation: str) -> sockets.Address:
        with on(name):
            return sockets.address(self._folder(name), generation, self._port(name))

    @contextmanager
    def _all_fenced(self, epoch: int, note: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Hold every server's lock. All callers take them in the same order."""
        with ExitStack() as stack:
            for name in sorted(self.servers):
                stack.enter_context(self._server(name).fenced(epoch, note=note))
            yield

    def _on_all(self, act: Callable[[str], None]) -> None:
        def act_on(name: str) -> None:
            with on(name):
                act(name)

        at_once([partial(act_on, name) for name in self.servers])

    # Refusals, and the order that closes the gate

    def _refuse_while_open(self, act: str, server: str | None = None) -> None:
        """Refuse while the gate is open; with `server`, only while the gate lets requests through to it."""
        gate = self._gate.desired()
        if gate.get("open", False) and (server is None or server in gate["servers"]):
            raise NotClosed(f"the gate is open: refused to {act}", "Close it first.", server=server)

    def _refuse_while_a_hook_runs(self) -> None:
        for server in self.servers:
            with on(server):
                hooks.refuse_while_one_runs(self._folder(server))

    def _refuse_unfit(self, user: str, generation: Generation) -> None:
        """Refuse a user who can't run the generation. All servers have one image and the same mounts."""
        homes_of = [homes.place(self._folder(server), generation.name) for server in self.servers]
        with on(self.servers[0]):
            reach.refuse_unfit(
                user,
                archive.program(archive.put(self._root / "host")),
                reads=[generation.image / part for part in images.CONTENT],
                writes=[*homes_of, *generation.runs.folders],
                ports=[] if generation.runs.socket else [self._port(server) for server in self.servers],
            )

    def _refuse_second(self, generation: str, hook: str) -> None:
        for server in self.servers:
            with on(server):
                hooks.refuse_second(self._folder(server), generation, hook)

    def _forget_hook(self, generation: str, hook: str) -> None:
        """There is one ledger at a time: the ledger of an earlier start, on whatever server, goes."""
        for server in self.servers:
            with on(server):
                hooks.forget(self._folder(server), generation, hook)

    def _closed(self, closure: Closure) -> dict[str, Any]:
        """The gate's desired state while it is closed. Raises ClusterError for a name that no header can hold."""
        settings = self._settings
        if not re.fullmatch(r"[!-:<-~]{1,128}", closure.deploy):
            raise ClusterError(f"{closure.deploy!r} can't name a closure", "Use letters, digits, - and _.")
        return {
            "listen": self._gate_port,
            "open": False,
            "deploy": closure.deploy,
            "until": closure.until,
            "status": settings.closed_status,
            "retry_after": settings.retry_after,
            "check_path": settings.edge_check_path,
        }
