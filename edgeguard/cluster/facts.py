"""What servers are, where a driver can tell, and which of them have another release than the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edgeguard.cluster import Cluster, ServerState


@dataclass(frozen=True)
class Facts:
    """A server: the versions of what it runs, by name; how many seconds its clock is ahead of this machine's, give or
    take `unsure`; bytes that are free for images, and bytes of the image that is current (0: none is)."""

    versions: Mapping[str, str]
    ahead: float
    unsure: float
    free: int
    image: int


def facts(cluster: Cluster) -> Mapping[str, Facts]:
    """What each server is; empty where the driver can't tell. Raises ClusterError where a server can't be asked."""
    look: Callable[[], Mapping[str, Facts]] | None = getattr(cluster, "facts", None)
    return {} if look is None else look()


def mixed(servers: Iterable[ServerState]) -> str | None:
    """A sentence that names the servers by their releases; None where all have one."""
    found: dict[str | None, list[str]] = {}
    for server in servers:
        found.setdefault(server.release, []).append(server.name)
    if len(found) <= 1:
        return None
    said = [f"{', '.join(names)}: {short(release, *found)}" for release, names in found.items()]
    return f"the servers have not one release ({'; '.join(said)})"
