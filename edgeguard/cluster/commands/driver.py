"""CommandsCluster: the servers and the gate, driven by commands of the environment's file.

What the driver itself needs lies below `cluster.root` on this machine:

    releases/<inputs>/   images, as they are built
    servers/<name>/      hooks/ (the hooks that ran on this machine), and record.json where no command keeps the record
    host/                the program that runs hooks (edgeguard/cluster/archive.py)
"""

from __future__ import annotations

import copy
import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgeguard.cluster import Closure, Generation, HookResult, ServerState
from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.commands import facts, observed, options
from edgeguard.cluster.commands.command import Commands
from edgeguard.cluster.commands.hook import Hooks
from edgeguard.cluster.commands.records import ByCommands, InFolder
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import fence, generations, images
from edgeguard.cluster.host.errors import HostError
from edgeguard.errors import ClusterError, HookUnknown, Interrupted, NotClosed, Unhealthy, UsageError, first_line
from edgeguard.machine import process
from edgeguard.user import expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from edgeguard.cluster.commands.command import Printed
    from edgeguard.cluster.commands.observed import Server
    from edgeguard.cluster.commands.options import Step
    from edgeguard.cluster.commands.records import Records
    from edgeguard.settings import ClusterSettings

_HOPELESS = 3  # deaths during a check, after which nobody waits any longer
_POLL = 0.2  # seconds between two checks of a server that is not well yet
_SHORTEST = 1.0  # seconds that a check may take at least, also where less is left
_LAST_WORDS = 2.0  # seconds in which a check may still say what is wrong, when its caller is told to stop


class CommandsCluster:
    """The driver `commands`; edgeguard.cluster.Cluster says what its methods do. Threads may share one."""

    def __init__(self, environment: str, settings: ClusterSettings, *, ceiling: int = 0) -> None:
        self.servers = settings.servers
        self.left_out: tuple[str, ...] = ()
        self._settings = settings
        self._ceiling = ceiling
        self._options = options.options(settings.options)
        if settings.user is not None:
            raise UsageError(
                "cluster.user: the driver commands can't obey it", "Take it out, and let the commands do it."
            )
        self.one_gate = self._options.one_gate
        self._root = expanded(settings.root, "cluster.root").absolute()
        self._commands = Commands(self._options, environment)
        here = self._root / "servers"
        self._hooks = Hooks(here, self._root / "host", settings.servers, self._commands, settings.keep_hook_logs)
        by_commands = self._options.record_read is not None
        self._records: Records = ByCommands(self._commands) if by_commands else InFolder(here)

    def secret_values(self) -> Iterator[str]:
        """The values of the variables that commands may see, now or in a hook that this machine has started before."""
        yield from (os.environ.get(name, "") for name in self._options.environment)
        for server in self.servers:
            for name in generations.names(self._root / "servers" / server):
                with suppress(HostError):
                    told = generations.variables(self._root / "servers" / server, name)
                    yield from (told.get(name, "") for name in self._options.environment)

    def without(self, servers: Collection[str]) -> Self:
        """The commands are told of the other servers only."""
        fewer = copy.copy(self)
        fewer.servers = tuple(server for server in self.servers if server not in servers)
        fewer.left_out = tuple(server for server in self._settings.servers if server not in fewer.servers)
        return fewer

    # The record

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        """Each server's record."""
        return self._records.read(self.servers)

    def write_record(self, epoch: int, record: Mapping[str, Any], *, expected: int | None = None) -> None:
        """Compare and set, one server after the other."""
        self._records.write(self.servers, epoch, record, expected)

    # Looking

    def state(self) -> tuple[ServerState, ...]:
        """What `observe` prints."""
        return tuple(server.state(name) for name, server in self._observe().items())

    def check(
        self, generation: Generation, *, cancelled: Callable[[], bool] = lambda: False
    ) -> tuple[ServerState, ...]:
        """Run `check` again and again until it exits 0; then look at what runs."""
        deaths = {name: server.deaths for name, server in self._observe().items()}
        if self._commands.per_server("check"):
            at_once([partial(self._healthy, generation, server, deaths, cancelled) for server in self.servers])
        else:
            self._healthy(generation, None, deaths, cancelled)
        states = self.state()
        for state in states:
            if state.generation != generation.name or state.running != generation.release:
                raise Unhealthy(
                    f"{state.name}: {state.generation} is current, and its processes run "
                    f"{state.running or 'nothing, or different releases'}, instead of {generation.name}",
                    server=state.name,
                )
        return states

    def differences(self, generation: Generation) -> Sequence[str]:
        """What `verify` prints; without that command, what differs in this machine's image, if it has one."""
        if self._options.verify is None:
            return images.verify(generation.image) if generation.image.exists() else []
        printed = self._commands.each("verify", facts.of(generation), self.servers)
        return [
            f"{one.server}: {line}" if one.server else line for one in printed for line in one.text.splitlines() if line
        ]

    def generation(self, name: str) -> Generation | None:
        """As `observe` hands back its description."""
        found = [server.staged.get(name) for server in self._observe().values()]
        first = found[0]
        return None if first is None or any(one != first for one in found) else first.described(name)

    def hook_result(
        self,
        generation: str,
        hook: str,
        *,
        cancelled: Callable[[], bool],
        output: Callable[[str], None] = lambda _line: None,
    ) -> HookResult | None:
        """The ledger is on the machine that ran the hook. Where the record says that a deploy hook was to start, and
        there is no ledger here, another machine may have run it."""
        found = self._hooks.result(generation, hook, cancelled=cancelled, output=output)
        if found is not None:
            return found
        if hook == "deploy" and self._records.shared:
            for record in self.read_record().values():
                deploy = (record or {}).get("deploy") or {}
                if deploy.get("id") == generation and deploy.get("hook"):
                    raise HookUnknown(
                        f"the {hook} hook of {generation} was to start, and this machine did not run it",
                        "If another machine ran it, go on there: it knows how the hook ended.",
                        server=deploy["hook"].get("server"),
                    )
        return None

    # Changing

    def stage(self, epoch: int, generation: Generation, *, whole: bool = True) -> None:
        """The one step that is given the variables' values, in a private file. It is shown by `observe` afterwards."""
        self._hooks.refuse_while_one_runs()
        if generation.copy_of is None or generation.image.exists():  # a copy's image is on the servers
            with on(self.servers[0]):
                images.refuse_other(generation.image, generation.release, whole=whole)
        if generation.runs.hooks and self._options.hook is None:
            raise ClusterError(
                f"the application has hooks ({', '.join(generation.runs.hooks)}), and no command runs them",
                "Give cluster.options.hook, the command that runs $EDGEGUARD_COMMAND on $EDGEGUARD_SERVER.",
            )
        if generation.runs.socket and not self._options.unix_sockets:
            raise ClusterError(
                "the application listens on a unix socket, and nothing says that the commands serve one",
                "Let them give it SOCKET, the path of a socket, and set cluster.options.unix_sockets = true; or take "
                "web.upstream.socket_family out of the application's file.",
            )
        if generation.runs.user is not None:
            raise ClusterError(
                f"the application should run as {generation.runs.user}, and commands become who they like",
                "Take cluster.user out, and let the commands do it.",
            )
        told = self._begin(epoch)
        if generation.copy_of is not None:
            for name, server in self._observe().items():
                server.find(name, generation.copy_of)
        with facts.private(self._root, generation) as files:
            self._run("stage", {**facts.of(generation), **files, **told})
        for name, server in self._observe().items():
            there = server.staged.get(generation.name)
            if there is None or there.described(generation.name) != _as_described(generation):
                raise ClusterError(
                    f"{name}: `stage` ended well, but `observe` does not show {generation.name} as it was described",
                    "Let `stage` keep the file EDGEGUARD_DESCRIPTION, and `observe` print it below `staged`.",
                    server=name,
                )

    def stop_tasks(self, epoch: int) -> int:
        """Without a command there are no tasks."""
        told = self._begin(epoch)
        return 0 if self._options.stop_tasks is None else _number(self._run("stop_tasks", told))

    def close(self, epoch: int, closure: Closure, *, note: Mapping[str, Any] | None = None) -> None:
        """The closure is in the step's facts."""
        told = self._begin(epoch, note)
        settings = self._settings
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(closure.until))
        closed = {
            "DEPLOY": closure.deploy,
            "UNTIL": until,
            "CLOSED": f"{closure.deploy}; until={until}",
            "CLOSED_STATUS": str(settings.closed_status),
            "RETRY_AFTER": str(settings.retry_after),
            "EDGE_CHECK_PATH": settings.edge_check_path or "",
        }
        self._run("close", {**closed, **told})
        self._refuse_while_open("close", ClusterError)

    def drain(self, epoch: int, limit: float) -> int:
        """Without a command nobody waits."""
        told = self._begin(epoch)
        self._refuse_while_open("drain")
        if self._options.drain is None:
            return 0
        return _number(self._run("drain", told, limit=limit, more=self._options.limit("drain")))

    def swap(self, epoch: int, generation: str | None, *, note: Mapping[str, Any] | None = None) -> None:
        """Only the servers that have to change are changed."""
        told = self._begin(epoch, note)
        due = {
            name: server
            for name, server in self._observe().items()
            if not server.generation == server.running == generation or server.supervisor is False
        }
        if not due:
            return
        self._hooks.refuse_while_one_runs()
        for name, server in due.items():
            if server.open:
                raise NotClosed(f"{name}: the gate is open: refused to swap", "Close it first.", server=name)

        def swap(*servers: str) -> None:
            wanted = {"GENERATION": ""}
            for name in servers:
                if generation is not None:
                    wanted |= facts.of(due[name].find(name, generation))
            one = servers[0] if self._commands.per_server("swap") else None
            self._commands.run("swap", {**wanted, **told}, servers, server=one)

        if self._commands.per_server("swap"):
            at_once([partial(swap, name) for name in due])
        else:
            swap(*due)

    def run_hook(
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
        """The command `hook` runs on this machine, under the wrapper of edgeguard/cluster/host."""
        told = self._begin(epoch, note)
        seen = self._observe()
        name = seen[server].generation
        if name is None:
            raise ClusterError(f"{server}: nothing is current, so there is no {hook} hook to run", server=server)
        generation = seen[server].find(server, name)
        if not generation.has_hook(hook):
            return HookResult(server, 0, "no hook", 0.0)
        if hook == "deploy":
            self._refuse_while_open("run the deploy hook")
        self._hooks.refuse_while_one_runs()
        self._hooks.start(generation, hook, server, told, servers=self.servers, limit=limit, again=again)
        result = self._hooks.result(name, hook, cancelled=cancelled, output=output)
        if result is None:
            raise ClusterError(
                f"{server}: the ledger of the {hook} hook is gone", "Is somebody removing files there?", server=server
            )
        return result

    def open(self, epoch: int, generation: str, *, note: Mapping[str, Any] | None = None) -> None:
        """Once every server is seen to run the generation and nothing else."""
        told = self._begin(epoch, note)
        self._hooks.refuse_while_one_runs()
        seen = self._observe()
        for name, server in seen.items():
            if not generation == server.generation == server.running:
                raise Unhealthy(
                    f"{name} does not run {generation}: {server.generation} is current, and its processes run from "
                    f"{server.running or 'nothing, or more than one generation'}; all stay closed",
                    server=name,
                )
        first = self.servers[0]
        wanted = facts.of(seen[first].find(first, generation))
        self._run("open", {**wanted, "CEILING": str(self._ceiling), **told})
        for name, server in self._observe().items():
            if not server.open:
                raise ClusterError(f"{name}: `open` ended well, but `observe` says that the gate refuses", server=name)

    def prune(self, epoch: int, keep: Collection[str]) -> None:
        """The command removes what the servers need no more; images on this machine that none of them has go too."""
        told = self._begin(epoch)
        current = {server.generation for server in self._observe().values() if server.generation}
        if self._options.prune is not None:
            self._run("prune", {"KEEP": " ".join(sorted({*keep, *current})), **told})
        seen = self._observe()
        used = {Path(staged.image) for server in seen.values() for staged in server.staged.values()}
        for image in images.finished(self._root / "releases"):
            if image not in used:
                images.remove(image)
        for name, server in seen.items():
            self._hooks.prune(name, server.staged)

    def explain(self, phase: str, generation: Generation) -> Sequence[str]:
        """The command of the phase, and where it runs."""
        step = _PHASES.get(phase)
        if step is None:
            return []
        command = self._options.command(step)
        if step == "hook" and "deploy" not in generation.runs.hooks:
            return ["the application has no deploy hook"]
        if command is None:
            return [_MISSING.get(step, "no command: nothing is done")]
        servers = [self._settings.hook_on(self.servers)] if step == "hook" else self.servers
        once = step != "hook" and not self._commands.per_server(step)
        lines = [f"{', '.join(servers)}: {command}"] if once else [f"{server}: {command}" for server in servers]
        if step == "stage" and not self._records.shared:
            lines.append(f"the record is in {self._root} of this machine: only this machine can finish this deploy")
        return lines

    # Beyond the Protocol: an end to it all

    def dismantle(self) -> None:
        """End the hooks that run on this machine."""
        self._hooks.end()

    # What these stand on

    def _begin(self, epoch: int, note: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Refuse an old holder, and write the note. Returns the fact by which a command may refuse one, too."""
        if note is not None:
            self.write_record(epoch, note)
        else:
            for server, record in self.read_record().items():
                with on(server):
                    fence.check(record, epoch, None)
        return {"EPOCH": str(epoch)}

    def _run(self, step: Step, told: Mapping[str, str], **limits: float) -> list[Printed]:
        return self._commands.each(step, told, self.servers, **limits)

    def _observe(self) -> dict[str, Server]:
        """Every server as it is now, in the order of `servers`."""
        found: dict[str, Server] = {}
        for printed in self._run("observe", {}):
            found |= observed.read(printed.text, self.servers if printed.server is None else (printed.server,))
        return found

    def _healthy(
        self, generation: Generation, server: str | None, deaths: Mapping[str, int], cancelled: Callable[[], bool]
    ) -> None:
        """Ask until `check` exits 0, at most start_timeout seconds."""
        told = {**facts.of(generation), "HEALTH_PATH": self._settings.health_path}
        deadline = time.monotonic() + self._settings.start_timeout
        told_last: ClusterError | None = None
        while True:
            try:
                self._ask(told, server, deadline, cancelled)
            except process.Cancelled as exc:
                raise Interrupted(f"{server or 'check'}: told to stop while it is not healthy") from exc
            except ClusterError as exc:
                if cancelled():
                    raise Interrupted(f"told to stop while {first_line(exc.message)}") from exc
                if time.monotonic() > deadline:  # the last attempt may have been cut short: the one before says more
                    said = told_last or exc
                    raise Unhealthy(said.message, said.remedy, server=server) from exc
                told_last = exc
                for name, seen in self._observe().items():
                    if server in (None, name) and seen.deaths - deaths[name] >= _HOPELESS:
                        raise Unhealthy(
                            f"{name}: its process keeps dying; {exc.message}", exc.remedy, server=name
                        ) from exc
            else:
                return
            time.sleep(_POLL)

    def _ask(self, told: Mapping[str, str], server: str | None, deadline: float, cancelled: Callable[[], bool]) -> None:
        """Run `check` once."""
        began = time.monotonic()
        self._commands.run(
            "check",
            told,
            self.servers,
            server=server,
            limit=max(_SHORTEST, min(deadline - began, self._options.limit("check"))),
            cancelled=lambda: time.monotonic() > began + _LAST_WORDS and cancelled(),
        )

    def _refuse_while_open(self, act: str, kind: type[ClusterError] = NotClosed) -> None:
        for name, server in self._observe().items():
            if server.open:
                if kind is NotClosed:
                    raise NotClosed(f"{name}: the gate is open: refused to {act}", "Close it first.", server=name)
                raise kind(f"{name}: `{act}` ended well, but `observe` says that the gate is open", server=name)


_PHASES: dict[str, Step] = {
    "stage": "stage",
    "stop-tasks": "stop_tasks",
    "close": "close",
    "drain": "drain",
    "swap": "swap",
    "hook": "hook",
    "check": "check",
    "open": "open",
}
_MISSING: dict[Step, str] = {
    "stop_tasks": "no command: the servers have no background tasks",
    "drain": "no command: nobody waits for the answers to requests that were let through before",
}


def _as_described(generation: Generation) -> Generation:
    return replace(generation, variables={}, copy_of=None)


def _number(printed: Sequence[Printed]) -> int:
    """The numbers in the last lines of what commands printed, together; 0 for what is no number."""
    last = [(one.text.strip().splitlines() or ["0"])[-1].strip() for one in printed]
    return sum(int(line) for line in last if line.isdecimal())
