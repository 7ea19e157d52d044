"""The driver `local`: real server processes of the application on this machine, behind our own gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.cluster.local.driver import LocalCluster as LocalCluster
else:  # a type checker that saw this function would believe every import from here

    def __getattr__(name: str) -> object:
        """Import the driver only when it is asked for: the gate and the supervisors are in this package and stay
        light."""
        if name != "LocalCluster":
            raise AttributeError(name)
        from edgeguard.cluster.local.driver import LocalCluster  # noqa: PLC0415 (heavy)

        return LocalCluster
