"""LocalCluster: the servers and the gate on this machine, driven through their folders below `cluster.root`.

    releases/<inputs>/   frozen images                 mounts/   what outlives releases, shared by the servers
    servers/<name>/      lock, record.json, port.json, generations/, current → generations/…, supervisor/, app.log
    gate/                the gate's desired and actual state

Whatever changes a server happens under that server's lock, with the epoch compared. The gate is every server's, so what
changes the gate happens under all locks.
"""

from __future__ import annotations

import copy
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import Closure, Generation, HookResult, ServerState
from edgeguard.cluster.local import generations, health, hooks, host, ports, processes
from edgeguard.cluster.local.daemon import Daemon
from edgeguard.errors import ClusterError, EdgeguardError, UsageError, first_line
from edgeguard.release import application as applications
from edgeguard.release import image

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from edgeguard.settings import ClusterSettings

_NEVER_OPENED = Closure("none", 0.0)
_SWAP_SECONDS = 20.0
_POLL = 0.002


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
        return {server: host.read(self._folder(server) / "record.json") for server in self.servers}

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write on every server, one after the other."""
        for server in self.servers:
            with host.fenced(self._folder(server), server, epoch, after=expected):
                host.write(self._folder(server) / "record.json", {**record, "epoch": epoch})

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now. A server that was never used is closed, and nothing is current on it."""
        gate = self._gate.actual()
        passing = self._gate.desired().get("servers", {}) if gate is not None and gate["open"] else {}
        return tuple(self._state(server, opened=server in passing) for server in self.servers)

    def check(
        self, generation: Generation, *, whole: bool = True, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Ask all servers at once, behind the gate, and compare the image with its manifest meanwhile."""

        def as_built() -> None:
            if differs := self.differences(generation):
                raise ClusterError(
                    f"the image {generation.image} is not what was built: {image.in_short(differs)}",
                    "Find out what writes there. A deploy builds it anew as soon as no server uses it.",
                )

        def healthy(server: str) -> None:
            settings = self._settings
            health.wait(
                self._folder(server),
                self._supervisor(server),
                generation.name,
                port=self._port(server),
                path=settings.health_path,
                limit=settings.start_timeout,
                cancelled=cancelled,
            )

        acts = [partial(healthy, server) for server in self.servers]
        _at_once([as_built, *acts] if whole else acts)
        for state in self.state():
            if state.generation != generation.name or state.release != generation.release:
                raise ClusterError(f"{state.name}: {state.generation} is current, not {generation.name}")

    def differences(self, generation: Generation) -> Sequence[str]:
        """All servers run from the one image."""
        return image.verify(generation.image)

    def generation(self, name: str) -> Generation | None:
        """Read from every server."""
        found = {generations.find(self._folder(server), name) for server in self.servers}
        one = found.pop() if len(found) == 1 else None
        return None if one is None else Generation(name, release=one[0], image=one[1])

    def hook_result(self, generation: str, hook: str, *, cancelled: Callable[[], bool]) -> HookResult | None:
        """The ledger is on one server."""
        for server in self.servers:
            found = hooks.result(self._folder(server), generation, hook, cancelled=cancelled)
            if found is not None:
                return found
        return None

    # Changing

    def stage(self, epoch: int, generation: Generation) -> None:
        """Write the generation on every server. The gate and the supervisors are started where they don't run."""
        self._refuse_while_a_hook_runs()
        runs = self._runs(generation)

        def put(server: str) -> None:
            with self._fenced(server, epoch):
                generations.put(self._folder(server), generation, runs)
                supervisor = self._supervisor(server)
                if supervisor.actual() is None:
                    wanted = supervisor.desired().get("generation")
                    supervisor.order({"server": server, "generation": wanted, "port": self._port(server)})

        self._on_all(put)
        with self._all_fenced(epoch):
            if self._gate.actual() is None:
                self._gate.order(self._gate.desired() or self._closed(_NEVER_OPENED))

    def stop_tasks(self, epoch: int) -> int:
        """Of this driver's servers only web processes run: there are no tasks to terminate."""
        with self._all_fenced(epoch):
            return 0

    def close(self, epoch: int, closure: Closure) -> None:
        """One order to the gate."""
        with self._all_fenced(epoch):
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

    def swap(self, epoch: int, generation: str | None) -> None:
        """All servers at once; where one fails, the others finish before the error is raised."""

        def swap(server: str) -> None:
            with self._fenced(server, epoch):
                folder, supervisor = self._folder(server), self._supervisor(server)
                if self._runs_it(server, generation):
                    return
                self._refuse_while_open("swap", server)
                self._refuse_while_a_hook_runs()
                order = {"server": server, "port": self._port(server)}
                flips = generations.current(folder) != generation
                if generation is not None:
                    generations.read(folder / "generations" / generation)
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
        again: bool = False,
    ) -> HookResult:
        """A hook that isn't defined succeeds."""
        folder = self._folder(server)
        with self._all_fenced(epoch):
            name = generations.current(folder)
            if name is None:
                raise ClusterError(f"{server}: nothing is current, so there is no {hook} hook to run")
            if hook not in generations.read(folder / "generations" / name)["hooks"]:
                return HookResult(server, 0, "no hook", 0.0)
            if hook == "deploy":
                self._refuse_while_open("run the deploy hook")
            self._refuse_while_a_hook_runs()
            if not again:
                self._refuse_second(hook, name)
            for other in self.servers:  # one ledger at a time: what an earlier start wrote elsewhere counts no more
                if other != server:
                    hooks.ledger(self._folder(other), name, hook).unlink(missing_ok=True)
            hooks.start(folder, name, hook, port=self._port(server), limit=limit)
        result = hooks.result(folder, name, hook, cancelled=cancelled)
        if result is None:
            raise ClusterError(f"{server}: the ledger of the {hook} hook is gone", "Is somebody removing files there?")
        return result

    def open(self, epoch: int, generation: str) -> None:
        """One order to the gate, once every server is seen to run the generation and nothing else."""
        with self._all_fenced(epoch):
            self._refuse_while_a_hook_runs()
            states = self.state()
            for state in states:
                if state.generation != generation or state.running is None or state.running != state.release:
                    raise ClusterError(
                        f"{state.name} does not run {generation}: {state.generation} is current, and its processes run"
                        f" {state.running or 'nothing, or more than one release'}; all stay closed"
                    )
            releases = {state.release for state in states}
            if len(releases) != 1:
                raise ClusterError(f"{generation} is not the same release on all servers; all stay closed")
            wanted = {
                **self._closed(_NEVER_OPENED),
                "open": True,
                "servers": {server: self._port(server) for server in self.servers},
                "release": releases.pop(),
                "ceiling": self._ceiling,
            }
            self._gate.order(wanted)

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Images that were built but are on no server go too; an unfinished build is left to who builds it."""
        with self._all_fenced(epoch):
            used = set()
            for server in self.servers:
                folder = self._folder(server)
                needed = {*keep, generations.current(folder), self._supervisor(server).desired().get("generation")}
                for name in generations.names(folder):
                    if name in needed:
                        used.add((folder / "generations" / name / "image").readlink())
                    else:
                        generations.remove(folder, name)
            releases = self._root / "releases"
            for path in sorted(releases.iterdir()) if releases.is_dir() else ():
                if path not in used and (path / "release.json").exists():
                    image.remove(path)

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

    def _fenced(self, server: str, epoch: int) -> Any:  # noqa: ANN401 (a context manager)
        return host.fenced(self._folder(server), server, epoch)

    @contextmanager
    def _all_fenced(self, epoch: int) -> Iterator[None]:
        """Every server's lock, in one order for everybody."""
        with ExitStack() as stack:
            for server in sorted(self.servers):
                stack.enter_context(self._fenced(server, epoch))
            yield

    def _on_all(self, act: Callable[[str], None]) -> None:
        _at_once([partial(act, server) for server in self.servers])

    def _state(self, server: str, *, opened: bool) -> ServerState:
        folder = self._folder(server)
        name = generations.current(folder)
        return ServerState(
            name=server,
            generation=name,
            release=None if name is None else self._release(folder, name),
            running=self._running(server),
            open=opened,
        )

    def _running(self, server: str) -> str | None:
        """The release of every process there is. Where processes can't be looked at, the supervisor's word for it."""
        folder = self._folder(server)
        if processes.VISIBLE:
            names = processes.by_generation(processes.running(folder))
        else:
            actual = self._supervisor(server).actual()
            names = {actual["generation"]} if actual is not None and actual["running"] else set()
        found = {None if name is None else self._release(folder, name) for name in names}
        return found.pop() if len(found) == 1 else None

    @staticmethod
    def _release(folder: Path, name: str) -> str:
        return str(generations.read(folder / "generations" / name)["release"])

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
        """With a server: while the gate lets requests through to it. One that was left out gets none."""
        gate = self._gate.desired()
        if gate.get("open", False) and (server is None or server in gate["servers"]):
            raise ClusterError(f"the gate is open: refused to {act}", "Close it first.")

    def _refuse_while_a_hook_runs(self) -> None:
        for server in self.servers:
            if (generation := hooks.running(self._folder(server))) is not None:
                raise ClusterError(
                    f"{server}: the deploy hook of {generation} still runs there, though its deploy is gone",
                    "Wait until it has ended, or end it; its output is beside its generation.",
                )

    def _refuse_second(self, hook: str, generation: str) -> None:
        for other in self.servers:
            if (said := host.read(hooks.ledger(self._folder(other), generation, hook))) is not None:
                how = (
                    f"ended with code {said.get('code')}" if said["done"] else "did not come to its end, or still runs"
                )
                raise ClusterError(
                    f"{other}: the {hook} hook of {generation} was started before, and {how}",
                    "It is never started twice by itself; see what it did before you go on.",
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

    def _runs(self, generation: Generation) -> dict[str, Any]:
        """What the generation's image runs. The mounts of its application are made on the way."""
        try:
            release = image.load(generation.image)
        except UsageError as exc:
            raise ClusterError(f"{generation.name} can't be staged: {exc.message}", exc.remedy) from exc
        if release.digest != generation.release:
            raise ClusterError(f"{generation.image} holds the release {release.digest}, not {generation.release}")
        application = release.application
        for place in application.mounts.values():
            (self._root / "mounts" / place).mkdir(parents=True, exist_ok=True)
        return {
            "release": release.digest,
            "cwd": str(application.folder(generation.image)),
            "start": applications.shell(application.launch),
            "hooks": {
                name: applications.shell(command)
                for name, command in application.hooks.items()
                if name in ("deploy", "post_deploy")
            },
        }


def _at_once(acts: Sequence[Callable[[], None]]) -> None:
    """Do all of these at the same time, each to its end; then raise the first one's error, naming the others'. Of what
    servers wrote, only one's is shown."""
    with ThreadPoolExecutor(len(acts)) as threads:
        done = [threads.submit(act) for act in acts]
    failed = [exc for future in done if (exc := future.exception()) is not None]
    if not failed:
        return
    first = failed[0]
    if len(failed) == 1 or not all(isinstance(exc, EdgeguardError) for exc in failed):
        raise first
    messages = [str(exc) for exc in failed]
    output = next(filter(None, (message.removeprefix(first_line(message)) for message in messages)), "")
    raise type(first)(_together(map(first_line, messages)) + output, getattr(first, "remedy", ""))


def _together(lines: Iterable[str]) -> str:
    """One line of these, in which servers that have the same trouble are named together."""
    troubles: dict[str, list[str]] = {}
    for line in lines:
        server, _, trouble = line.partition(": ")
        named = trouble and " " not in server
        troubles.setdefault(trouble if named else line, []).extend([server] if named else [])
    return "; ".join(f"{', '.join(names)}: {trouble}" if names else trouble for trouble, names in troubles.items())
