"""The one place where a server's own errors become edgeguard's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import INTERRUPTED, NO_ACCOUNT, HostError, of_system
from edgeguard.errors import (
    ClusterError,
    EdgeguardError,
    Fenced,
    HookRuns,
    HookStarted,
    HookUnknown,
    ImageChanged,
    Interrupted,
    NotClosed,
    NotStaged,
    Unhealthy,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLASSES = (Fenced, NotClosed, NotStaged, ImageChanged, Unhealthy, HookStarted, HookRuns, HookUnknown)
BY_CODE: dict[str, type[ClusterError]] = {kind.code: kind for kind in _CLASSES}
"""The class for each code that a server may tell."""


@contextmanager
def on(server: str) -> Iterator[None]:
    """Turn what goes wrong on this server into the error of the same kind, which names the server first.

    An error of the server's system (a full disk, a folder that is gone) is a ClusterError with a remedy.
    """
    try:
        yield
    except HostError as exc:
        raise told(server, exc.code, exc.message, exc.remedy) from exc
    except OSError as exc:
        found = of_system(exc)
        raise told(server, found.code, found.message, found.remedy) from exc


def told(server: str, code: str, message: str, remedy: str = "") -> EdgeguardError:
    """The error that this code and these words mean."""
    if code == INTERRUPTED:
        return Interrupted(f"{server}: {message}", remedy)
    if code == NO_ACCOUNT:
        return UsageError(f"{server}: {message}", remedy)
    return BY_CODE.get(code, ClusterError)(f"{server}: {message}", remedy, server=server)
