"""`cluster.options` of the driver `ssh`: how each server is reached, and where its gate and its application listen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeguard.cluster.ssh.connection import Target
from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Options(BaseModel):
    """The options. `config/production.toml` explains each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: dict[str, str] = Field(default_factory=dict)
    user: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    port: int | None = Field(default=None, ge=1, le=65535)
    identity_file: Path | None = None
    ssh_config: Path | None = None
    sudo: bool = False
    python: str = Field(default="python3", pattern=r"^[A-Za-z0-9_./-]+$")
    listen: str = Field(default="*:80", pattern=r"^[0-9A-Za-z_.:*\[\]-]*:[0-9]{1,5}$")
    app_port: int = Field(default=8888, ge=1, le=65535)

    def target(self, server: str) -> Target:
        """How this server is reached."""
        return Target(
            server=server,
            host=self.hosts.get(server, server),
            user=self.user,
            port=self.port,
            identity=_absolute(self.identity_file),
            config=_absolute(self.ssh_config),
            sudo=self.sudo,
            python=self.python,
        )


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser().absolute())


def options(said: Mapping[str, Any], servers: tuple[str, ...]) -> Options:
    """Check what `cluster.options` says.

    Raises:
        UsageError: a key is unknown, or has a value that can't be used.
    """
    try:
        found = Options.model_validate(said)
    except ValidationError as exc:
        faults = "; ".join(
            f"{'.'.join(('cluster.options', *map(str, fault['loc'])))}: "
            + ("unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, "))
            for fault in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise UsageError(faults, "config/production.toml explains the options of the driver ssh.") from exc
    unknown = sorted(set(found.hosts) - set(servers))
    if unknown:
        raise UsageError(
            f"cluster.options.hosts names {', '.join(unknown)}, which cluster.servers does not",
            f"The servers are {', '.join(servers)}.",
        )
    return found
