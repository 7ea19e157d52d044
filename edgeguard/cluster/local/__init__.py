"""The driver `local`: real server processes of the application on this machine, behind our own gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.cluster.local.driver import LocalCluster as LocalCluster


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name is)
    """Import the driver only when it is asked for: the gate and the supervisors are in this package and stay light."""
    if name != "LocalCluster":
        raise AttributeError(name)
    from edgeguard.cluster.local.driver import LocalCluster  # noqa: PLC0415 (heavy)

    return LocalCluster
