"""What servers need before the first deploy, done over ssh: `edgeguard cluster prepare` and `unprepare`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.at_once import at_once
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import haproxy_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeguard.cluster.ssh.driver import SshCluster


def missing(cluster: SshCluster) -> Mapping[str, Sequence[str]]:
    """What `prepare` would do on each server, a sentence each. It puts the host program there, if it may."""
    return _on_all(cluster, "missing", facts=partial(_facts, cluster), may_install=None)


def prepare(cluster: SshCluster) -> Mapping[str, Sequence[str]]:
    """Put the host program, the folders, the units and the gate's configuration on every server, and start the gate.

    Repeating it is harmless. Returns what was done on each server, a sentence each.

    Raises:
        ClusterError: a server can't be reached, or lacks what it needs. The others are finished all the same.
    """
    return _on_all(cluster, "prepare", facts=partial(_facts, cluster), may_install=True)


def unprepare(cluster: SshCluster) -> Mapping[str, Sequence[str]]:
    """Stop the application and the gate on every server, and take their units away. Records and images stay."""
    return _on_all(
        cluster, "unprepare", facts=lambda server: {"prepared": _prepared(cluster, server)}, may_install=None
    )


def _on_all(cluster: SshCluster, act: str, *, facts: Any, may_install: bool | None) -> dict[str, list[str]]:  # noqa: ANN401
    done: dict[str, list[str]] = {}

    def on_one(server: str) -> None:
        connection = cluster.connection(server, may_install=may_install)
        try:
            with on(server):
                done[server] = connection.ask(act, within=120.0, **facts(server))
        finally:
            connection.close()

    at_once([partial(on_one, server) for server in cluster.servers])
    return {server: done[server] for server in cluster.servers}


def _prepared(cluster: SshCluster, server: str) -> dict[str, Any]:
    return {"environment": cluster.environment, "server": server, "port": cluster.options.app_port}


def _facts(cluster: SshCluster, server: str) -> dict[str, Any]:
    settings = cluster.settings
    gate = haproxy_rules.configuration(
        cluster.root / "servers" / server / "gate",
        app_port=cluster.options.app_port,
        listen=cluster.options.listen,
        closed_status=settings.closed_status,
        retry_after=settings.retry_after,
        check_path=settings.edge_check_path,
        ceiling=cluster.ceiling,
    )
    return {"prepared": _prepared(cluster, server), "gate": gate}
