"""What servers need before the first deploy, done over ssh: `edgeguard cluster prepare` and `unprepare`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.errors import on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeguard.cluster.ssh.hosts import Hosts

SECONDS = 120.0
"""For what one server needs."""


def missing(hosts: Hosts, servers: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """What `prepare` would do on each of these servers, a sentence each."""
    return _on_all(hosts, servers, "missing", may_install=None, gate=True)


def prepare(hosts: Hosts, servers: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Put the host program, the folders, the units and the gate's configuration on each server, and start the gate.

    Repeating it is harmless. Returns what was done on each server, a sentence each.

    Raises:
        ClusterError: a server can't be reached, or lacks what it needs. The others are finished all the same.
    """
    return _on_all(hosts, servers, "prepare", may_install=True, gate=True)


def unprepare(hosts: Hosts, servers: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Stop the application and the gate on every server, and take their units away. Records and images stay."""
    return _on_all(hosts, servers, "unprepare", may_install=None, gate=False)


def _on_all(
    hosts: Hosts, servers: Sequence[str], act: str, *, may_install: bool | None, gate: bool
) -> dict[str, list[str]]:
    done: dict[str, list[str]] = {}

    def on_one(server: str) -> None:
        connection = hosts.connection(server, may_install=may_install)
        try:
            with on(server):
                said: dict[str, Any] = {"prepared": hosts.prepared(server)}
                if gate:
                    said["gate"] = hosts.gate(server)
                done[server] = connection.ask(act, within=SECONDS, **said)
        finally:
            connection.close()

    at_once([partial(on_one, server) for server in servers])
    return {server: done[server] for server in servers}
