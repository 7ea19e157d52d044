"""The driver `ssh`: real servers, reached by the system's own ssh, with systemd and HAProxy on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeguard.cluster.ssh.driver import SshCluster as SshCluster
else:  # a type checker that saw this function would believe every import from here

    def __getattr__(name: str) -> object:
        """Import the driver only when it is asked for: it is heavy."""
        if name != "SshCluster":
            raise AttributeError(name)
        from edgeguard.cluster.ssh.driver import SshCluster  # noqa: PLC0415 (heavy)

        return SshCluster
