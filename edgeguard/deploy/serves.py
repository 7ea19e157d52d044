"""Whether the servers serve a release, as they say it themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeguard.cluster import Generation, ServerState
    from edgeguard.cluster.record import Opened


def served(opened: Opened, servers: Iterable[ServerState]) -> bool:
    """Whether each of these servers is open, runs this generation, and its gate and its supervisor are alive."""
    return all(
        server.open
        and server.generation == opened.generation
        and server.running == opened.release
        and server.gate is not False
        and server.supervisor is not False
        for server in servers
    )


def has_to_start(generation: Generation, server: ServerState) -> bool:
    """Whether a swap has to start something on this server. A living supervisor starts a dead process by itself, but
    after some quick deaths only much later; a swap, which needs a closed server, lets it begin at once."""
    if server.running is None:
        return not server.open or server.generation != generation.name or not server.supervisor
    return server.generation != generation.name or server.running != generation.release or server.supervisor is False
