"""Whether one server is healthy: it answers by itself, and every process of it runs from the wanted generation."""

from __future__ import annotations

import http.client
import math
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from edgeguard.cluster.host import files, processes
from edgeguard.cluster.host.errors import INTERRUPTED, UNHEALTHY, HostError

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.cluster.host.sockets import Address

HOPELESS = 3
"""Quick deaths, one after another, after which nobody waits any longer."""
_ATTEMPT_SECONDS = 5.0
_POLL, _LONGEST_POLL = 0.02, 0.5
_SHARE = 0.02  # of the time waited so far: a fast start is seen at once, a slow starter is not asked in vain
_HEALTHY = 200


@dataclass(frozen=True)
class Supervised:
    """What a server's supervisor tells: the generation that it was told to run, how often that died in a row, quickly,
    and why, for people (`said` reads the end of its output)."""

    generation: str | None
    deaths: int
    exit: int | None = None
    said: Callable[[], str] = str
    error: str = ""
    remedy: str = ""
    where: str = ""  # the sentence that says where more of the output is


def wait(
    server: Path,
    generation: str,
    supervised: Callable[[], Supervised | None],
    *,
    address: Address,
    path: str,
    limit: float,
    cancelled: Callable[[], bool] = lambda: False,
    waited: float = 0.0,
    patience: float = math.inf,
) -> str | None:
    """Ask until the answer is 200, at most `limit` seconds; then look at the processes.

    A caller that can't wait so long says how long it has `waited` before, and for how many seconds it has `patience`
    now.

    Returns:
        None: the server is healthy. Else what it says so far, when the patience is at its end.

    Raises:
        HostError: the server isn't healthy in time, keeps dying, or something else runs there (UNHEALTHY); or it isn't
            healthy yet, and `cancelled()` turned true (INTERRUPTED).
    """
    here = time.monotonic()
    began = here - waited
    while True:
        found = supervised()
        if found is None:
            raise HostError("nothing supervises its application", "Swap again; it is started then.", code=UNHEALTHY)
        if found.generation != generation:
            raise HostError(f"it was told to run {found.generation}, not {generation}", code=UNHEALTHY)
        waited = time.monotonic() - began
        left = limit - waited
        said = ask(address, path, max(0.05, min(left, _ATTEMPT_SECONDS)))
        if said is None:
            break
        if cancelled():
            raise HostError(f"told to stop while {path} {said}", code=INTERRUPTED)
        if found.deaths >= HOPELESS:
            raise _dying(server, found)
        if left < 0:
            raise HostError(
                f"not healthy after {limit:g} s: {path} {said}{_output(server, found)}",
                found.where,
                code=UNHEALTHY,
            )
        if time.monotonic() - here > patience:
            return f"{path} {said}"
        time.sleep(min(max(_POLL, waited * _SHARE), _LONGEST_POLL))
    strangers = foreign(server, generation)
    if strangers:
        raise HostError(f"processes of {', '.join(strangers)} run beside {generation}", code=UNHEALTHY)
    return None


def foreign(server: Path, generation: str) -> list[str]:
    """Other generations from which processes of this server run. Empty also where processes can't be looked at."""
    found = processes.by_generation(processes.running(server)) - {generation}
    return sorted("an unknown generation" if name is None else name for name in found)


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._limit = path, timeout

    def connect(self) -> None:
        """As HTTPConnection does it, and raises the same errors."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._limit)
        self.sock.connect(self._path)


def ask(address: Address, path: str, limit: float) -> str | None:
    """Ask the application, on this machine. None if the answer is 200, else a few words on what came."""
    connection = (
        _OverSocket(address, limit)
        if isinstance(address, str)
        else http.client.HTTPConnection("127.0.0.1", address, timeout=limit)
    )
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"gives no answer ({str(exc) or type(exc).__name__})"
    finally:
        connection.close()
    return None if status == _HEALTHY else f"answers {status}"


def _dying(server: Path, found: Supervised) -> HostError:
    if found.error:
        return HostError(found.error, found.remedy, code=UNHEALTHY)
    return HostError(
        f"the start command ended with code {found.exit}, {HOPELESS} times{_output(server, found)}",
        found.where,
        code=UNHEALTHY,
    )


def _output(server: Path, found: Supervised) -> str:
    """What this start wrote, not what others wrote before it."""
    return files.quoted(f"{server.name} wrote", found.said())
