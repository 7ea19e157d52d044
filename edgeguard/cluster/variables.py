"""What an application's processes find in their environment, for drivers that can tell it without the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgeguard.errors import UsageError
from edgeguard.release import given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.cluster import Cluster
    from edgeguard.settings import ApplicationSettings


@runtime_checkable
class TellsVariables(Protocol):
    """What a driver may do beyond the Protocol of clusters: tell the names of variables. No value leaves the server."""

    def variables(self, server: str) -> Mapping[str, Mapping[str, int]]:
        """The processes of the generation that is current there (`web`, `worker NAME`, `cron NAME`, `hook NAME`), each
        with its variables and the bytes of their values. Raises ClusterError."""


def able(cluster: Cluster, environment: str) -> TellsVariables:
    """The driver, if it tells variables. Raises UsageError where it does not."""
    if not isinstance(cluster, TellsVariables):
        raise UsageError(
            f"the driver of {environment} can't tell what its processes find in their environment",
            "Let your own commands print it.",
        )
    return cluster


def source(name: str, settings: ApplicationSettings) -> str:
    """Where a variable comes from: edgeguard, a place that the environment's file names today, or the application's
    file, or an environment's file of before."""
    above = {
        rest.upper(): value
        for prefix, _, rest, value in ((*each.partition(":"), value) for each, value in settings.variables.items())
        if prefix == "env"
    }
    if name in _OURS or name.startswith(("PLATFORM_", "EDGEGUARD_")):
        return "edgeguard"
    if name in above:
        return given.source(above[name])
    if name in _UNLESS_GIVEN:
        return "edgeguard, unless the application names it"
    return "the application, or what the environment's file said before"


_OURS = ("HOME", "LOGNAME", "PATH", "PORT", "SOCKET", "USER")
_UNLESS_GIVEN = ("LANG", "PYTHONDONTWRITEBYTECODE", "UV_PYTHON")
"""The variables that edgeguard makes."""
