"""The servers of an environment: where they are, how they are reached, and what is to be prepared there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import haproxy_rules
from edgeguard.cluster.ssh.connection import Connection

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.cluster.ssh.options import Options
    from edgeguard.settings import ClusterSettings


@dataclass(frozen=True)
class Hosts:
    """What the environment's file says of its servers. `root` is `cluster.root`, an absolute path."""

    environment: str
    settings: ClusterSettings
    options: Options
    root: Path
    ceiling: int

    def folder(self, server: str) -> Path:
        """The folder of a server, on that server."""
        return self.root / "servers" / server

    def connection(self, server: str, *, may_install: bool | None = None) -> Connection:
        """A new connection to a server, which is opened when it is first used. `may_install`: it may put the host
        program there (where nobody says: not with sudo, since only `cluster prepare` does that)."""
        return Connection(self.options.target(server), self.root, self.folder(server), may_install=may_install)

    def prepared(self, server: str) -> dict[str, Any]:
        """What an act on this server knows of the environment (host/prepared.py)."""
        said = {"environment": self.environment, "server": server, "port": self.options.app_port}
        return {**said, "login": self.settings.user} if self.settings.users else said

    def gate(self, server: str) -> str:
        """The configuration of this server's gate. Raises HostError where a setting can't stand in it."""
        return haproxy_rules.configuration(
            self.folder(server) / "gate",
            app_port=self.options.app_port,
            listen=self.options.listen,
            closed_status=self.settings.closed_status,
            retry_after=self.settings.retry_after,
            check_path=self.settings.edge_check_path,
            ceiling=self.ceiling,
        )
