"""The driver's own options, and the port of each server."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeguard.cluster.host import files
from edgeguard.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_SPREAD = 32


class Options(BaseModel):
    """`cluster.options` of this driver. Without `first_port`, free ports are chosen once and kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate_port: int = Field(ge=1, le=65535)
    first_port: int | None = Field(None, ge=1, le=65000)


def options(said: Mapping[str, Any]) -> Options:
    """Check what `cluster.options` says.

    Raises:
        UsageError: a key is missing, unknown, or has a value that can't be used.
    """
    try:
        return Options(**said)
    except ValidationError as exc:
        faults = "; ".join(
            f"cluster.options.{'.'.join(map(str, fault['loc']))}: "
            + ("unknown key" if fault["type"] == "extra_forbidden" else fault["msg"])
            for fault in exc.errors(include_url=False, include_input=False, include_context=False)
        )
        raise UsageError(faults, "The driver local needs gate_port, and knows first_port.") from exc


@dataclass(frozen=True)
class Ports:
    """The ports of the servers."""

    options: Options

    def of(self, server: Path, index: int) -> int:
        """The port of the server with this folder. A chosen port is kept in the folder, so it stays the same.

        The caller holds the server's lock, unless the server was used before.
        """
        if self.options.first_port is not None:
            return self.options.first_port + index
        said = files.read(server / "port.json", {"port": (int,)})
        if said is None:
            said = {"port": _free(index)}
            files.write(server / "port.json", said)
        return int(said["port"])


def _free(index: int) -> int:
    """A free port, below those that systems give to outgoing connections.

    Servers of one cluster choose at the same time, so each has its own ports to choose from. Clusters choose at random.
    """
    for start in random.sample(range(12_000, 32_000, _SPREAD), 200):
        port = start + index % _SPREAD
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise ClusterError("no free port was found for a server", "Let options.first_port name free ones.")
