"""The composition root: from an environment's name to its cluster, its edge, and where its state is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard import cluster as drivers
from edgeguard import settings as files
from edgeguard.probe import ask

if TYPE_CHECKING:
    from edgeguard.cluster import Cluster
    from edgeguard.edge import Edge
    from edgeguard.settings import Settings


def config_folder(given: Path | None) -> Path:
    """Where environments' files are: --config, $EDGEGUARD_CONFIG, ./config."""
    return given or Path(os.environ.get("EDGEGUARD_CONFIG") or "config")


def state_folder(given: Path | None) -> Path:
    """Where this machine's journals are: --state, $EDGEGUARD_STATE, the platform's state folder."""
    if given is not None:
        return given
    if named := os.environ.get("EDGEGUARD_STATE"):
        return Path(named)
    platform = os.environ.get("XDG_STATE_HOME")
    return (Path(platform) if platform else Path.home() / ".local" / "state") / "edgeguard"


@dataclass(frozen=True)
class Environment:
    """One environment, ready to be worked on. Making it asks nobody anything."""

    name: str
    settings: Settings
    cluster: Cluster
    edge: Edge
    state: Path
    secrets: tuple[str, ...] = ()

    @classmethod
    def open(cls, name: str, *, config: Path | None = None, state: Path | None = None) -> Environment:
        """Read the environment's file and connect the parts that it names.

        Raises:
            UsageError: the file can't be used, there is no such driver, or there is no token.
        """
        from edgeguard.edge.fastly import Fastly  # noqa: PLC0415 (heavy; not every command has an edge)

        settings = files.load(name, config_folder(config))
        token = files.token(settings.edge)
        return cls(
            name=name,
            settings=settings,
            cluster=drivers.load(settings.cluster.driver)(name, settings.cluster, ceiling=settings.edge.ceiling),
            edge=Fastly(settings.edge, token, ask),
            state=state_folder(state) / name,
            secrets=(token, *settings.application.variables.values(), *settings.application.relationships.values()),
        )

    def redact(self, text: str) -> str:
        """The text without the values of secrets; very short values are no secrets, and would tear any text apart."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= 6:  # noqa: PLR2004
                text = text.replace(secret, "•••")
        return text
