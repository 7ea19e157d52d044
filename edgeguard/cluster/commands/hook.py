"""Hooks on this machine: each runs the command `hook` under the wrapper of edgeguard/cluster/host.

The wrapper and the command outlive edgeguard. They write a ledger here, so that edgeguard learns later, on this machine
and on no other, how the hook ended.
"""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgeguard.cluster import HookResult, Runs, archive
from edgeguard.cluster.commands import facts
from edgeguard.cluster.commands.command import SHELL, Commands, passed_on
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import generations, hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edgeguard.cluster import Generation


@dataclass(frozen=True)
class Hooks:
    """The hooks that ran on this machine for any of these servers, left out or not, in the folder of each below `root`.

    `archives` is the folder for the program that runs them.
    """

    root: Path
    archives: Path
    servers: tuple[str, ...]
    commands: Commands
    keep: int  # so many deploys' hooks are remembered

    def result(
        self, generation: str, hook: str, *, cancelled: Callable[[], bool], output: Callable[[str], None]
    ) -> HookResult | None:
        """How a hook ended that ran here; None if it did not."""
        for server in self.servers:
            with on(server):
                found = hooks.wait(self.root / server, generation, hook, cancelled=cancelled, output=output)
            if found is not None:
                return HookResult(server, found.code, found.output, found.seconds, str(found.log), found.strays)
        return None

    def start(
        self,
        generation: Generation,
        hook: str,
        server: str,
        told: Mapping[str, str],
        *,
        servers: Sequence[str],
        limit: float,
        again: bool,
    ) -> None:
        """Start the command. One ledger at a time: with `again`, an earlier start for another server counts no more."""
        for other in self.servers:
            with on(other):
                if again:
                    hooks.forget(self.root / other, generation.name, hook)
                else:
                    hooks.refuse_second(self.root / other, generation.name, hook)
        own = {**facts.of(generation), **told, "HOOK_NAME": hook, "COMMAND": shlex.join(generation.runs.hooks[hook])}
        environment = self.commands.facts("hook", own, servers, server, limit)
        options = self.commands.options
        command = Runs(options.folder.absolute(), (), {hook: (*SHELL, options.hook or "exit 1")})
        with on(server):
            generations.put(self.root / server, replace(generation, runs=command, variables=passed_on(options)))
            order = hooks.Order(generation.name, hook, environment, limit, secrets.token_hex(8), self.keep)
            hooks.start(self.root / server, order, archive.program(archive.put(self.archives)))

    def refuse_while_one_runs(self) -> None:
        """Raise HookRuns while a deploy hook runs here."""
        for server in self.servers:
            with on(server):
                hooks.refuse_while_one_runs(self.root / server)

    def prune(self, server: str, staged: Mapping[str, object]) -> None:
        """Forget the generations of a server that are not staged any more. Ledgers stay."""
        for generation in generations.names(self.root / server):
            if generation not in staged:
                generations.remove(self.root / server, generation)

    def end(self) -> None:
        """End every hook that runs here."""
        for server in self.servers:
            hooks.end(self.root / server)
