"""What the gate goes by: its rules, which each order replaces, and its limits, which never change."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from edgeguard.cluster.host.sockets import Address


@dataclass(frozen=True)
class Rules:
    """Whether requests are let through, to which addresses, and how the others are answered."""

    open: bool = False
    addresses: tuple[Address, ...] = ()
    release: bytes = b""
    ceiling: int = 0
    closed: tuple[bytes, ...] = ()
    status: int = 500
    check_path: bytes | None = None

    @classmethod
    def of(cls, desired: Mapping[str, Any]) -> Rules:
        """The rules of a desired state. If it does not say that the gate is open, the gate is closed."""
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(desired.get("until", 0)))
        check_path = desired.get("check_path")
        return cls(
            open=desired.get("open", False),
            addresses=tuple(desired.get("servers", {}).values()),
            release=desired.get("release", "").encode(),
            ceiling=desired.get("ceiling", 0),
            closed=(
                b"Retry-After: %d" % desired.get("retry_after", 30),
                f"Edgeguard-Closed: {desired.get('deploy', 'none')}; until={until}".encode(),
            ),
            status=desired.get("status", 500),
            check_path=None if check_path is None else check_path.encode(),
        )


@dataclass(frozen=True)
class Limits:
    """How long the gate waits, in seconds. The manual lists them (docs/gate.md).

    head: for a request's whole head, from the end of the answer before it.
    patience: for a client that sends a body or takes an answer and does neither. It shrinks with each wait, and grows
        again by a second for each `rate` bytes, so a client that trickles is out of it as soon as one that is silent.
    connect: for a server to accept a connection.
    answer: for the next bytes of a server's answer.
    tunnel: for any bytes, either way, after an upgrade.
    linger: for a client to end its side of a connection that the gate has ended, and for a refused request's body.
    """

    head: float = 75.0
    patience: float = 75.0
    rate: float = 500.0
    connect: float = 5.0
    answer: float = 600.0
    tunnel: float = 3600.0
    linger: float = 2.0


class Patience:
    """How long a client may still keep the gate waiting, in one request."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = limits.patience

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for the client inside. Raises TimeoutError when the patience is used up."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.timeout(self._left):
            yield
        self._left -= clock() - began

    def moved(self, count: int) -> None:
        """So many bytes came from the client, or were taken by it."""
        self._left = min(self._left + count / self._limits.rate, self._limits.patience)
