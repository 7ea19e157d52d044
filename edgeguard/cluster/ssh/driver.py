"""The driver `ssh`: it asks edgeguard/cluster/host, over one connection to each server, for all that happens there."""

from __future__ import annotations

import copy
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import Closure, Generation, HookResult, ServerState, foreground
from edgeguard.cluster.errors import on
from edgeguard.cluster.facts import Facts
from edgeguard.cluster.host import generations, offers
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.logs import Line, Piece
from edgeguard.cluster.ssh import hooks, images, prepare
from edgeguard.cluster.ssh.explain import explain
from edgeguard.cluster.ssh.hosts import Hosts
from edgeguard.cluster.ssh.options import options
from edgeguard.cluster.ssh.servers import ACT_SECONDS, Servers
from edgeguard.cluster.tasks import TaskRun, TaskState
from edgeguard.cluster.users import Logins
from edgeguard.errors import ClusterError, EdgeguardError, HookRuns, Interrupted, Unhealthy
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edgeguard.cluster import User
    from edgeguard.cluster.foreground import Ended, Ends
    from edgeguard.cluster.ssh.connection import Connection
    from edgeguard.settings import ClusterSettings

VERIFY_SECONDS = 600.0
"""For reading every file of an image."""
_PORTS_ALONE = (
    "the web process listens on a unix socket, and the driver ssh serves ports alone",
    "Take socket_family out of the application file.",
)
_SHORT_POLL = 0.002


def _to_nobody(_line: str) -> None:
    """Nobody listens to the hook's output."""


class SshCluster:
    """The driver `ssh`; edgeguard.cluster.Cluster says what its methods do. Threads may share one."""

    one_gate = False

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        self.servers = settings.servers
        self.left_out: tuple[str, ...] = ()
        self._settings = settings
        root = expanded(settings.root, "cluster.root").absolute()
        self._hosts = Hosts(environment, settings, options(settings.options, settings.servers), root, ceiling)
        self._connections = {server: self._hosts.connection(server) for server in settings.servers}

    @property
    def _all(self) -> Servers:
        return Servers(self.servers, self._connections)

    def without(self, servers: Collection[str]) -> Self:
        """The same cluster, and the same connections, without some servers."""
        fewer = copy.copy(self)
        fewer.servers = tuple(server for server in self.servers if server not in servers)
        fewer.left_out = tuple(server for server in self._settings.servers if server not in fewer.servers)
        return fewer

    # The record

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record."""
        return self._all.ask_all("read_record")

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Write on every server, one after the other."""
        for server in self.servers:
            self._all.change(server, "write_record", epoch, record=dict(record), expected=expected)

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """Every server as it is now."""
        return _states(self._all.ask_all("state"))

    def check(
        self, generation: Generation, *, cancelled: Callable[[], bool] = lambda: False
    ) -> tuple[ServerState, ...]:
        """Ask all servers at the same time, each about itself."""
        began = time.monotonic()
        wanted: dict[str, Any] = {"generation": generation.name, "path": self._settings.health_path}

        def check_server(server: str) -> Any:  # noqa: ANN401 - JSON
            while True:
                waited = time.monotonic() - began
                found = self._all.ask(server, "healthy", **wanted, limit=self._settings.start_timeout, waited=waited)
                if found["said"] is None:
                    return found["state"]
                if cancelled():
                    raise Interrupted(f"{server}: told to stop while {found['said']}")

        states = _states(self._all.gathered(check_server))
        for state in states:
            if state.generation != generation.name or state.release != generation.release:
                raise Unhealthy(
                    f"{state.name}: {state.generation} is current, not {generation.name}", server=state.name
                )
        return states

    def differences(self, generation: Generation) -> Sequence[str]:
        """The differences on each server."""
        found = self._all.ask_all("verify", image=str(generation.image), within=VERIFY_SECONDS)
        return [f"{server}: {sentence}" for server, sentences in found.items() for sentence in sentences]

    def generation(self, name: str) -> Generation | None:
        """The generation, if every server holds it and none differs."""
        first, *others = self._all.ask_all("generation", name=name).values()
        if first is None or any(one != first for one in others):
            return None
        return _described(name, first)

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
            found = hooks.wait(self._all, server, generation, hook, cancelled=cancelled, output=output)
            if found is not None:
                return found
        return None

    # Changing

    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        """Carry the image to every server, and write the generation beside what runs."""
        if generation.runs.socket:
            raise ClusterError(*_PORTS_ALONE)
        self._all.change_all("free", epoch)
        with on("this machine"):
            offer = offers.make(generation.image) if generation.copy_of is None else None
        releases = self._hosts.root / "releases"

        def stage(server: str) -> None:
            connection = self._connections[server]
            wanted: dict[str, Any] = {"image": str(generation.image), "release": generation.release, "whole": whole}
            with on(server):
                if offer is not None and (whole or not _is_there(connection, wanted)):
                    images.send(connection, generation.image, releases, offer)
                connection.ask("whole", within=VERIFY_SECONDS, **wanted)
                images.try_out(connection, generation.image, releases, generation.runs.user)
            said: dict[str, Any] = {
                "name": generation.name,
                "image": str(generation.image),
                "described": generations.description(generation),
                "variables": dict(generation.variables),
                "copy_of": generation.copy_of,
            }
            self._all.change(server, "stage", epoch, within=VERIFY_SECONDS, **said)

        self._all.on_all(stage)
        if generation.has_hook("deploy"):
            server = self._settings.hook_on(self.servers)
            self._all.change(server, "ready_hook", epoch, nonce=secrets.token_hex(8))

    def stop_tasks(self, epoch: int) -> int:
        """Stop them on all servers at the same time."""
        return sum(self._all.change_all("stop_tasks", epoch).values())

    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        """Close every server's gate."""
        if not re.fullmatch(r"[!-:<-~]{1,128}", closure.deploy):
            raise ClusterError(f"{closure.deploy!r} can't name a closure", "Use letters, digits, - and _.")
        self._all.change_all("close", epoch, note, deploy=closure.deploy, until=closure.until)

    def drain(self, epoch: int, limit: float) -> int:
        """Wait until no gate reports a request in flight. The wait holds no lock; a cut holds its server's."""
        deadline = time.monotonic() + limit
        while any(self._all.change_all("in_flight", epoch).values()):
            if time.monotonic() > deadline:
                return sum(self._all.change_all("cut", epoch).values())
            time.sleep(_SHORT_POLL)
        return 0

    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        """Swap all servers at the same time. If one fails, the others finish before the error is raised."""
        try:
            self._all.change_all("free", epoch, note)
        except HookRuns:  # no server may change meanwhile, also those on which it does not run
            if any(state.generation != generation or state.running != state.release for state in self.state()):
                raise
        self._all.change_all("swap", epoch, generation=generation)

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
        """Run the hook in a unit of its own, under the wrapper of edgeguard/cluster/host."""
        there = self._all.ask(server, "startable")
        name = there["generation"]
        if hook not in there["hooks"]:
            self._all.change_all("touch", epoch, note)
            if name is None:
                raise ClusterError(f"{server}: nothing is current, so there is no {hook} hook to run", server=server)
            return HookResult(server, 0, "no hook", 0.0)
        self._all.change_all("claim_hook", epoch, note, generation=name, hook=hook, again=again)
        if again:
            self._all.change_all("forget_hook", epoch, generation=name, hook=hook)
        order: dict[str, Any] = {"generation": name, "hook": hook, "limit": limit, "nonce": secrets.token_hex(8)}
        self._all.change(server, "run_hook", epoch, **order, keep=self._settings.keep_hook_logs)
        result = hooks.wait(self._all, server, name, hook, cancelled=cancelled, output=output)
        if result is None:
            remedy = "Is somebody removing files there?"
            raise ClusterError(f"{server}: the ledger of the {hook} hook is gone", remedy, server=server)
        return result

    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        """Open every server's gate, if each of them runs the generation and nothing else. If one can't be opened, those
        that were are closed again."""
        states = _states(self._all.change_all("stand", epoch, note))
        for state in states:
            if state.generation != generation or state.running is None or state.running != state.release:
                raise Unhealthy(
                    f"{state.name} does not run {generation}: {state.generation} is current, and its processes run"
                    f" {state.running or 'nothing, or more than one release'}; all stay closed",
                    server=state.name,
                )
        if len({state.release for state in states}) != 1:
            raise Unhealthy(f"{generation} is not the same release on all servers; all stay closed")
        try:
            if any(self._all.change_all("open", epoch, generation=generation).values()):
                self._start_tasks(epoch, generation)
        except ClusterError:
            with suppress(EdgeguardError):  # the error that made this necessary is the one to tell
                self._all.change_all("close", epoch)
                self._all.change_all("stop_tasks", epoch)
            raise

    def _start_tasks(self, epoch: int, generation: str) -> None:
        crons = self._settings.crons_on(self.servers)

        def start(server: str) -> None:
            self._all.change(server, "start_tasks", epoch, generation=generation, crons=server == crons)

        self._all.on_all(start)

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """Remove what is not needed, also images that no generation has."""
        self._all.change_all("prune", epoch, keep=sorted(keep), releases=str(self._hosts.root / "releases"))

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """The acts of a phase, a line each."""
        return explain(
            phase, generation, self._settings, self.servers, root=self._hosts.root, options=self._hosts.options
        )

    # Beyond the Protocol

    def drift(self) -> Mapping[str, Sequence[str]]:
        """What `cluster prepare` would do on each server, a sentence each: what is missing there, or was changed.
        Servers that were prepared before edgeguard had units for background tasks may lack these (see `unready`)."""

        def look(server: str) -> list[str]:
            with on(server):
                gate = self._hosts.gate(server)
            prepared = self._hosts.prepared(server)
            found: list[str] = self._all.ask(server, "missing", prepared=prepared, gate=gate, without_tasks=True)
            return found

        return self._all.gathered(look)

    def unready(self, generation: Generation) -> Mapping[str, Sequence[str]]:
        """What keeps each server from taking a generation, a sentence each (edgeguard.cluster.preparing.unready)."""
        if generation.runs.socket:
            sentence = f"{_PORTS_ALONE[0]} ({_PORTS_ALONE[1].rstrip('.')})"
            return {server: [sentence] for server in self.servers}
        offer = None
        if generation.copy_of is None:
            with suppress(HostError):  # that this image was changed is told where images are compared
                offer = offers.make(generation.image)
        releases = self._hosts.root / "releases"

        def look(server: str) -> list[str]:
            with on(server):
                return images.lacks(self._connections[server], generation, releases, offer)

        return self._all.gathered(look)

    def facts(self) -> Mapping[str, Facts]:
        """What each server is (edgeguard.cluster.facts)."""

        def look(server: str) -> Facts:
            said = self._all.ask(server, "facts", releases=str(self._hosts.root / "releases"), within=ACT_SECONDS)
            began = time.time()
            clock = self._all.ask(server, "greet")["clock"]
            took = time.time() - began
            return Facts(said["versions"], clock - began - took / 2, took / 2, said["free"], said["image"])

        return self._all.gathered(look)

    def logs(
        self, server: str, *, place: str | None, lines: int | None, ago: float | None, task: str | None = None
    ) -> Piece:
        """From systemd's journal there (edgeguard.cluster.logs.Logs)."""
        said = self._all.ask(server, "logs", place=place, lines=lines, ago=ago, task=task, within=ACT_SECONDS)
        return Piece(tuple(Line(at, text) for at, text in said["lines"]), said["place"], said["more"])

    def tasks(self) -> tuple[TaskState, ...]:
        """The background tasks of every server, as systemd and tasks.py of the host program tell of them."""
        found = self._all.ask_all("tasks", within=ACT_SECONDS)
        return tuple(_task_state(server, told) for server, states in found.items() for told in states)

    def run(self, server: str, command: Sequence[str], ends: Ends) -> Ended:
        """Over an `ssh` of its own (edgeguard.cluster.foreground.Runs)."""
        with on(server):
            channel, first = self._connections[server].channel("run", str(self._hosts.folder(server)))
            port = self._hosts.options.app_port
            return foreground.carry(channel, first, ends, server=server, command=command, port=port)

    def logins(self, generation: str | None = None) -> Mapping[str, Logins]:
        """Who may log in, and who is logged in (edgeguard.cluster.users.LetsIn)."""
        return {
            server: Logins(tuple((name, key) for name, key in said["keys"]), said["open"])
            for server, said in self._all.ask_all("who_logs_in", generation=generation).items()
        }

    def variables(self, server: str) -> Mapping[str, Mapping[str, int]]:
        """The names and sizes of what processes find there (edgeguard.cluster.variables.TellsVariables)."""
        found: dict[str, dict[str, int]] = self._all.ask(server, "variables")
        return found

    def let_in(self, epoch: int, users: Sequence[User]) -> None:
        """Let these people log in, and nobody else (edgeguard.cluster.users.LetsIn)."""
        self._all.change_all("let_in", epoch, wanted={user.name: list(user.keys) for user in users})

    def entropy(self) -> str | None:
        """The environment's PLATFORM_PROJECT_ENTROPY, which the servers keep from the first deploy on; None before."""
        return next((said for said in self._all.ask_all("entropy").values() if said is not None), None)

    def end(self) -> None:
        """End the connections."""
        for connection in self._connections.values():
            connection.close()

    def prepare(self, *, dry_run: bool) -> Mapping[str, Sequence[str]]:
        """What `edgeguard cluster prepare` does, or would do, on each server."""
        return (prepare.missing if dry_run else prepare.prepare)(self._hosts, self.servers)

    def unprepare(self) -> Mapping[str, Sequence[str]]:
        """What `edgeguard cluster unprepare` did on each server."""
        return prepare.unprepare(self._hosts, self.servers)


def _is_there(connection: Connection, wanted: Mapping[str, Any]) -> bool:
    """Whether a server has the image, perhaps changed since it was built."""
    try:
        connection.ask("whole", within=VERIFY_SECONDS, **wanted)
    except HostError:
        return False
    return True


def _task_state(server: str, told: dict[str, Any]) -> TaskState:
    last = told["last"]
    task = generations.Task.from_json(told["task"])
    return TaskState(**{**told, "server": server, "task": task, "last": None if last is None else TaskRun(**last)})


def _states(said: Mapping[str, Mapping[str, Any]]) -> tuple[ServerState, ...]:
    """The servers as they tell of themselves."""
    return tuple(ServerState(name=server, **state) for server, state in said.items())


def _described(name: str, said: Mapping[str, Any]) -> Generation:
    """The generation as a server tells of it."""
    return generations.described(name, Path(said["image"]), said)
