"""LocalCluster: the servers and the gate on this machine, driven through their folders below `cluster.root`.

    releases/<inputs>/   frozen images
    mounts/              what outlives releases, shared by the servers
    servers/<name>/      lock, record.json, port.json, generations/, current → generations/…, hooks/, supervisor/,
                         app.log
    gate/                the gate's desired and actual state
    host/                the program that runs hooks (edgeguard/cluster/archive.py)

What happens on one server is in edgeguard/cluster/host. Whatever changes a server happens under that server's lock,
with the epoch compared. The gate is every server's, so whatever changes the gate happens under all locks.
"""

from __future__ import annotations

import copy
import re
import secrets
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import Closure, Generation, HookResult, ServerState, archive
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import fence, files, generations, health, hooks, images, output, processes
from edgeguard.cluster.local import ports
from edgeguard.cluster.local.at_once import at_once
from edgeguard.cluster.local.daemon import Daemon
from edgeguard.errors import ClusterError, ImageChanged, NotClosed, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeguard.settings import ClusterSettings

_NEVER_OPENED = Closure("none", 0.0)
_SWAP_SECONDS = 20.0
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
        self._root = settings.root.expanduser().absolute()
        options = ports.options(settings.options)
        self._ports = ports.Ports(options)
        self._gate_port = options.gate_port
        self._gate = Daemon("the gate", "edgeguard.cluster.local.gate", self._root / "gate")

    def without(self, servers: Collection[str]) -> Self:
        """The gate hears of servers only when it is opened, so to leave one out is not to name it then."""
        fewer = copy.copy(self)
        fewer.servers = tuple(server for server in self.servers if server not in servers)
        fewer.left_out = tuple(server for server in self._settings.servers if server not in fewer.servers)
        return fewer

    # The record

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record."""
        return {server: self._read(server) for server in self.servers}

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write on every server, one after the other."""
        for server in self.servers:
            with on(server), fence.fenced(self._folder(server), fence.Caller(epoch), after=expected):
                fence.write_record(self._folder(server), epoch, record)

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now."""
        gate = self._gate.actual()
        passing = self._gate.desired().get("servers", {}) if gate is not None and gate["open"] else {}
        return tuple(self._state(server, opened=server in passing, gate=gate is not None) for server in self.servers)

    def check(self, generation: Generation, *, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Ask all servers at once, behind the gate."""

        def healthy(server: str) -> None:
            settings = self._settings
            with on(server):
                health.wait(
                    self._folder(server),
                    generation.name,
                    partial(self._supervised, server),
                    port=self._port(server),
                    path=settings.health_path,
                    limit=settings.start_timeout,
                    cancelled=cancelled,
                )

        self._on_all(healthy)
        for state in self.state():
            if state.generation != generation.name or state.release != generation.release:
                raise Unhealthy(
                    f"{state.name}: {state.generation} is current, not {generation.name}", server=state.name
                )

    def differences(self, generation: Generation) -> Sequence[str]:
        """All servers run from the one image."""
        return images.verify(generation.image)

    def generation(self, name: str) -> Generation | None:
        """Read from every server."""
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
        """The ledger is on one server."""
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
        self._refuse_other_image(generation, whole=whole)
        for folder in generation.runs.folders:
            folder.mkdir(parents=True, exist_ok=True)
        archive.put(self._root / "host")

        def put(server: str) -> None:
            with self._fenced(server, epoch), on(server):
                generations.put(self._folder(server), generation)
                supervisor = self._supervisor(server)
                if supervisor.actual() is None:
                    wanted = supervisor.desired().get("generation")
                    supervisor.order({"server": server, "generation": wanted, "port": self._port(server)})

        self._on_all(put)
        with self._all_fenced(epoch):
            if self._gate.actual() is None:
                self._gate.order(self._gate.desired() or self._closed(_NEVER_OPENED))

    def stop_tasks(self, epoch: int) -> int:
        """Only web processes run on this driver's servers: there are no tasks to terminate."""
        with self._all_fenced(epoch):
            return 0

    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        """One order to the gate."""
        with self._all_fenced(epoch, note):
            self._gate.order(self._closed(closure))

    def drain(self, epoch: int, limit: float) -> int:
        """Wait for the gate's word, without holding a lock; cut under the locks."""
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
        """All servers at once; where one fails, the others finish before the error is raised."""

        def swap(server: str) -> None:
            with self._fenced(server, epoch, note), on(server):
                folder, supervisor = self._folder(server), self._supervisor(server)
                if self._runs_it(server, generation):
                    return
                self._refuse_while_open("swap", server)
                self._refuse_while_a_hook_runs()
                order = {"server": server, "port": self._port(server)}
                flips = generations.current(folder) != generation
                if generation is not None:
                    generations.read(folder, generation)
                    if flips:
                        generations.arm(folder, generation)
                supervisor.order({**order, "generation": None}, limit=_SWAP_SECONDS)
                if flips:
                    generations.flip(folder, generation)
                if generation is not None:
                    supervisor.order({**order, "generation": generation}, limit=_SWAP_SECONDS)

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
        """The hook runs under the wrapper of edgeguard/cluster/host."""
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
            for other in self.servers:  # one ledger at a time: an earlier start on another server counts no more
                if again:
                    hooks.forget(self._folder(other), name, hook)
                else:
                    with on(other):
                        hooks.refuse_second(self._folder(other), name, hook)
            own = {"PORT": str(self._port(server)), "EDGEGUARD_SERVER": server}
            order = hooks.Order(name, hook, own, limit, secrets.token_hex(8))
            hooks.start(folder, order, archive.program(archive.put(self._root / "host")))
        result = self.without([other for other in self.servers if other != server]).hook_result(
            name, hook, cancelled=cancelled, output=output
        )
        if result is None:
            raise ClusterError(
                f"{server}: the ledger of the {hook} hook is gone", "Is somebody removing files there?", server=server
            )
        return result

    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        """One order to the gate, once every server is seen to run the generation and nothing else."""
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
                "servers": {server: self._port(server) for server in self.servers},
                "release": releases.pop(),
                "ceiling": self._ceiling,
            }
            self._gate.order(wanted)

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Images that were built but are on no server go too; an unfinished build is left to its builder."""
        with self._all_fenced(epoch):
            used = set()
            for server in self.servers:
                used |= self._prune(server, keep)
            for image in images.names(self._root / "releases"):
                if image not in used:
                    images.remove(image)

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """A line for each act."""
        settings, servers = self._settings, ", ".join(self.servers)
        lines = {
            "stage": [f"{servers}: write {self._root}/servers/*/generations/{generation.name}, beside what runs"],
            "stop-tasks": ["no background tasks run on this driver's servers"],
            "close": [f"the gate on 127.0.0.1:{self._gate_port} answers {settings.closed_status} at once"],
            "drain": [f"wait for the answers of requests let through before, at most {settings.drain_timeout:g} s"],
            "swap": [
                f"{server}: SIGTERM, SIGKILL 2 s later; rename current → generations/{generation.name}; start"
                for server in self.servers
            ],
            "hook": [f"{settings.hook_on(self.servers)}: the deploy hook, at most {settings.hook_timeout:g} s"],
            "check": [
                f"{server}: GET {settings.health_path} is 200 within {settings.start_timeout:g} s, from this release"
                for server in self.servers
            ],
            "open": [f"the gate on 127.0.0.1:{self._gate_port} lets requests through to {servers}"],
        }
        return lines.get(phase, [])

    # Beyond the Protocol: an end to it all

    def dismantle(self) -> None:
        """End hooks, the gate, and every server with its application, each by its own process id. The files stay."""
        for server in self.servers:
            hooks.end(self._folder(server))
        self._gate.end()
        self._on_all(lambda server: self._supervisor(server).end())

    # What these stand on

    def _folder(self, server: str) -> Path:
        if server not in self.servers:
            raise ClusterError(f"{server} is not one of the servers", f"They are {', '.join(self.servers)}.")
        return self._root / "servers" / server

    def _supervisor(self, server: str) -> Daemon:
        return Daemon(server, "edgeguard.cluster.local.supervisor", self._folder(server) / "supervisor")

    def _read(self, server: str) -> dict[str, Any] | None:
        with on(server):
            return files.read(self._folder(server) / "record.json")

    @contextmanager
    def _fenced(self, server: str, epoch: int, note: Mapping[str, Any] | None = None) -> Iterator[None]:
        """One server's lock, with the epoch compared; the note is written there first."""
        folder = self._folder(server)
        with ExitStack() as stack:
            with on(server):
                stack.enter_context(fence.fenced(folder, fence.Caller(epoch)))
                if note is not None:
                    fence.write_record(folder, epoch, note)
            yield

    @contextmanager
    def _all_fenced(self, epoch: int, note: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Every server's lock, in one order for everybody."""
        with ExitStack() as stack:
            for server in sorted(self.servers):
                stack.enter_context(self._fenced(server, epoch, note))
            yield

    def _on_all(self, act: Callable[[str], None]) -> None:
        at_once([partial(act, server) for server in self.servers])

    def _state(self, server: str, *, opened: bool, gate: bool) -> ServerState:
        folder = self._folder(server)
        with on(server):
            name = generations.current(folder)
            supervised = self._supervisor(server).actual()
            return ServerState(
                name=server,
                generation=name,
                release=None if name is None else generations.read(folder, name).release,
                running=self._running(server),
                open=opened,
                deaths=supervised["died"] if supervised is not None and supervised["generation"] == name else 0,
                gate=gate,
                supervisor=supervised is not None,
            )

    def _running(self, server: str) -> str | None:
        """The release of every process there is. Where processes can't be looked at, the supervisor's word for it."""
        folder = self._folder(server)
        if processes.VISIBLE:
            names = processes.by_generation(processes.running(folder))
        else:
            actual = self._supervisor(server).actual()
            names = {actual["generation"]} if actual is not None and actual["running"] else set()
        found = {None if name is None else generations.read(folder, name).release for name in names}
        return found.pop() if len(found) == 1 else None

    def _supervised(self, server: str) -> health.Supervised | None:
        actual = self._supervisor(server).actual()
        if actual is None:
            return None
        return health.Supervised(
            generation=actual["generation"],
            deaths=actual["deaths"],
            exit=actual["exit"],
            said=output.said(self._folder(server) / "app.log", actual.get("output")),
            error=actual.get("error", ""),
            remedy=actual.get("remedy", ""),
        )

    def _prune(self, server: str, keep: Collection[str]) -> set[Path]:
        """Remove the generations that nothing needs. Returns the images of the others."""
        folder, used = self._folder(server), set()
        with on(server):
            needed = {*keep, generations.current(folder), self._supervisor(server).desired().get("generation")}
            for name in generations.names(folder):
                if name in needed:
                    used.add(generations.read(folder, name).image)
                else:
                    generations.remove(folder, name)
        return used

    def _runs_it(self, server: str, generation: str | None) -> bool:
        """Whether a swap would change nothing: the link, the order, and the process are as they should be."""
        supervisor, folder = self._supervisor(server), self._folder(server)
        actual = supervisor.actual()
        if generations.current(folder) != generation:
            return False
        if actual is None:
            return generation is None and not processes.running(folder)
        settled = actual["number"] == supervisor.desired()["number"]
        return bool(settled and actual["generation"] == generation and actual["running"] == (generation is not None))

    def _refuse_while_open(self, act: str, server: str | None = None) -> None:
        """With a server: while the gate lets requests through to it. A server that was left out gets none."""
        gate = self._gate.desired()
        if gate.get("open", False) and (server is None or server in gate["servers"]):
            raise NotClosed(f"the gate is open: refused to {act}", "Close it first.", server=server)

    def _refuse_while_a_hook_runs(self) -> None:
        for server in self.servers:
            with on(server):
                hooks.refuse_while_one_runs(self._folder(server))

    def _refuse_other_image(self, generation: Generation, *, whole: bool) -> None:
        """Where the image is not the release's, or (`whole`) not as it was built."""
        with on(self.servers[0]):
            found = images.digest(generation.image)
        if found != generation.release:
            raise ImageChanged(f"{generation.image} holds the release {found}, not {generation.release}")
        if whole and (differs := images.verify(generation.image)):
            raise ImageChanged(
                f"the image {generation.image} is not what was built: {images.in_short(differs)}",
                "Find out what writes there. A deploy builds it anew as soon as no server uses it.",
            )

    def _closed(self, closure: Closure) -> dict[str, Any]:
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

    def _port(self, server: str) -> int:
        return self._ports.of(self._folder(server), self._settings.servers.index(server))
