"""The base of every step of a deploy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeguard.cluster import ServerState
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.environment import Environment


@dataclass
class Step:
    """A step of a deploy. A subclass defines those of `before`, `do` and `undo` that it needs; the others do nothing.

    A step keeps no facts for another run: these are in the deployment, and in the record.
    """

    deployment: Deployment

    name = ""
    restores = False
    """Whether `undo` changes anything."""
    left = ""
    """The remedy if this step fails after the commit, when nothing is taken back any more."""

    def before(self) -> Facts:
        return {}

    def do(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> str | None:
        """Restore nothing."""
        return None

    @property
    def environment(self) -> Environment:
        return self.deployment.environment


def agreed(values: Any) -> str | None:  # noqa: ANN401 (any iterable of names)
    """The one value that all of these have, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def why_closed(servers: Sequence[ServerState], environment: str) -> str:
    """The sentence for a person who expected all of these servers to be open."""
    dead = [server.name for server in servers if server.gate is False]
    closed = [server.name for server in servers if not server.open]
    if dead:
        return f"{', '.join(dead)}: the gate is dead; `edgeguard cluster open {environment}` starts it"
    if len(closed) < len(servers):
        return f"{', '.join(closed)}: the gate is closed, and others are open; see `edgeguard status {environment}`"
    return "the cluster is closed already"


def why_mixed(servers: Sequence[ServerState], environment: str) -> str:
    """The sentences for a person who expected all of these servers to run one release."""
    every = [digest for server in servers for digest in (server.release, server.running)]
    said = ", ".join(
        f"{server.name} {short(server.release, *every)} runs {short(server.running, *every)}" for server in servers
    )
    way = f"`edgeguard cluster open {environment}` starts what was opened last"
    if empty := [server.name for server in servers if server.generation is None]:
        apart = " ".join(f"--without {name} --i-have-fenced {name}" for name in empty)
        way = (
            f"where a server was made anew, let no visitor reach it, and run `edgeguard deploy {environment} {apart}`;"
            " the next deploy with all servers brings it back"
        )
    return f"the servers don't run one release: {said}; {way}"
