"""The servers of a cluster, each over its connection: one of them, or all at the same time, is asked or changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.errors import on
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.cluster.ssh.connection import Connection

LOOK_SECONDS = 20.0
"""For a question to a server."""
ACT_SECONDS = 120.0
"""For an act of a server, which may start or stop something."""


@dataclass(frozen=True)
class Servers:
    """The servers by their names. `connections` may have more of them. What goes wrong is an error of edgeguard's own,
    which names the server."""

    names: tuple[str, ...]
    connections: Mapping[str, Connection]

    def ask(self, server: str, act: str, *, within: float = LOOK_SECONDS, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """The answer of one server. Raises ClusterError where it is none of these."""
        if server not in self.names:
            raise ClusterError(f"{server} is not one of the servers", f"They are {', '.join(self.names)}.")
        with on(server):
            return self.connections[server].ask(act, within=within, **arguments)

    def change(self, server: str, act: str, epoch: int, *, within: float = ACT_SECONDS, **arguments: Any) -> Any:  # noqa: ANN401
        """As `ask`, for an act that changes something, as the holder of this epoch."""
        with on(server):
            return self.connections[server].change(act, epoch, within=within, **arguments)

    def ask_all(self, act: str, *, within: float = LOOK_SECONDS, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """The answer of each server."""
        return self.gathered(lambda server: self.ask(server, act, within=within, **arguments))

    def change_all(
        self,
        act: str,
        epoch: int,
        note: Mapping[str, Any] | None = None,
        **arguments: Any,  # noqa: ANN401 - JSON
    ) -> dict[str, Any]:
        """An act on all servers. With a `note`, each of them writes it first, under the same lock."""
        noted: dict[str, Any] = {} if note is None else {"note": dict(note)}
        return self.gathered(lambda server: self.change(server, act, epoch, **noted, **arguments))

    def gathered(self, act: Callable[[str], Any]) -> dict[str, Any]:
        """What the act returns for each server, in the order of the names."""
        answers: dict[str, Any] = {}

        def keep(server: str) -> None:
            answers[server] = act(server)

        self.on_all(keep)
        return {server: answers[server] for server in self.names}

    def on_all(self, act: Callable[[str], None]) -> None:
        """Act on all servers at the same time."""
        at_once([partial(act, server) for server in self.names])
