"""Whether one server is healthy: it answers, and each of its processes runs from the wanted generation."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import host, output, processes
from edgeguard.errors import ClusterError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edgeguard.cluster.local.daemon import Daemon

HOPELESS = 3  # quick deaths, one after another
_ATTEMPT_SECONDS = 5.0
_POLL, _LONGEST_POLL = 0.02, 0.5
_SHARE = 0.02  # the pause grows with the time waited: a fast start is noticed at once, a slow one is asked less often
_HEALTHY = 200


def wait(
    server: Path,
    supervisor: Daemon,
    generation: str,
    *,
    port: int,
    path: str,
    limit: float,
    cancelled: Callable[[], bool],
) -> None:
    """Ask until the answer is 200, at most `limit` seconds; then look at the processes.

    Raises:
        ClusterError: the server isn't healthy in time, its application keeps dying, or another generation runs there.
        Interrupted: `cancelled()` turned true before the server was healthy.
    """
    began = time.monotonic()
    while True:
        actual = supervisor.actual()
        if actual is None:
            raise ClusterError(f"{server.name}: nothing supervises its application", "Swap again; it is started then.")
        if actual["generation"] != generation:
            raise ClusterError(f"{server.name} was told to run {actual['generation']}, not {generation}")
        waited = time.monotonic() - began
        left = limit - waited
        said = _ask(port, path, max(0.05, min(left, _ATTEMPT_SECONDS)))
        if said is None:
            break
        if cancelled():
            raise Interrupted(f"{server.name}: told to stop while {path} {said}")
        if actual["deaths"] >= HOPELESS:
            raise _dying(server, actual)
        if left < 0:
            raise ClusterError(
                f"{server.name}: not healthy after {limit:g} s: {path} {said}{_output(server, actual)}",
                f"The application's output is in {server / 'app.log'}.",
            )
        time.sleep(min(max(_POLL, waited * _SHARE), _LONGEST_POLL))
    if others := foreign(server, generation):
        raise ClusterError(f"{server.name}: processes of {', '.join(others)} run beside {generation}")


def foreign(server: Path, generation: str) -> list[str]:
    """The other generations that processes of this server run from. Empty also where processes can't be seen."""
    found = processes.by_generation(processes.running(server)) - {generation}
    return sorted("an unknown generation" if name is None else name for name in found)


def _ask(port: int, path: str, limit: float) -> str | None:
    """None if the answer is 200, else what came instead."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"gives no answer ({str(exc) or type(exc).__name__})"
    finally:
        connection.close()
    return None if status == _HEALTHY else f"answers {status}"


def _dying(server: Path, actual: Mapping[str, Any]) -> ClusterError:
    if actual.get("error"):
        return ClusterError(f"{server.name}: {actual['error']}", str(actual.get("remedy", "")))
    return ClusterError(
        f"{server.name}: the start command ended with code {actual['exit']}, {HOPELESS} times{_output(server, actual)}",
        f"The application's output is in {server / 'app.log'}.",
    )


def _output(server: Path, actual: Mapping[str, Any]) -> str:
    """The output of this start, without that of earlier starts."""
    return host.quoted(f"{server.name} wrote", output.said(server / "app.log", actual.get("output")))
