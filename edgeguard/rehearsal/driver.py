"""The driver of a rehearsal: where its cluster is, which failures can be planted in it, and how it ends.

A rehearsal knows the driver `local`: it makes servers and a gate of its own. Every other driver gets the settings of a
file. Its servers and its gate are the user's, and the file says where the gate answers.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import ValidationError

from edgeguard import settings, texts
from edgeguard.cluster import load
from edgeguard.cluster.host import manifest
from edgeguard.cluster.local import LocalCluster
from edgeguard.errors import UsageError
from edgeguard.settings import ClusterSettings, DoctorSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeguard.environment import Environment

Phase = Literal["claim", "swap", "hook", "check", "healthy"]
"""A phase in which a rehearsal can be made to fail."""

WITH_ANY_DRIVER: tuple[Phase, ...] = ("claim", "hook", "check", "healthy")
"""The failures that need no driver's help: the edge's API refuses the claim, or the release itself is at fault."""


_PLACE = (("cluster", "root"), ("doctor", "origin"))
"""The keys that the rehearsal chooses itself for `local`, and that the file has to say for every other driver."""


class Driver(Protocol):
    """A driver as the rehearsal uses it. `folder` is always the rehearsal's own."""

    @property
    def name(self) -> str:
        """The name in `cluster.driver`."""

    @property
    def plantable(self) -> tuple[Phase, ...]:
        """The phases in which a failure can be planted."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The keys of [cluster] that the user's file has."""

    @property
    def doctor(self) -> Mapping[str, Any]:
        """The table [doctor] of the user's file."""

    @property
    def origin(self) -> str:
        """The gate's address, http://HOST:PORT: the stand-in's edge asks there."""

    @property
    def release_header(self) -> str | None:
        """The header with which the gate names the release in the site's answers; None if it may have none."""

    @property
    def remains(self) -> str | None:
        """A sentence that says what the end of the rehearsal leaves of the servers; None if it leaves nothing."""

    def cluster(self, folder: Path) -> dict[str, Any]:
        """The keys of the table [cluster] that the rehearsal doesn't choose for every driver."""

    def break_swap(self, folder: Path, server: str) -> None:
        """Let the next swap fail on this server. Only called if "swap" is plantable."""

    def end(self, folder: Path, environment: Environment | None) -> None:
        """End what the driver has started. Without an environment the rehearsal ended before it started anything."""


class Local:
    """The driver `local`. Its servers and its gate are below the rehearsal's folder, and end with it."""

    name = "local"
    plantable: tuple[Phase, ...] = (*WITH_ANY_DRIVER, "swap")
    doctor: Mapping[str, Any] = {}
    release_header = "Edgeguard-Release"
    remains = None

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self.given = given or {}
        self._options = {"gate_port": _free_port(), **self.given.get("options", {})}

    @property
    def origin(self) -> str:
        """The gate listens on loopback."""
        return f"http://127.0.0.1:{self._options['gate_port']}"

    def cluster(self, folder: Path) -> dict[str, Any]:
        """The file's keys, and a root below the rehearsal's folder."""
        return {**self.given, "driver": self.name, "root": str(self._root(folder)), "options": self._options}

    def break_swap(self, folder: Path, server: str) -> None:
        """Put a folder where the swap makes its link."""
        obstacle = self._root(folder) / "servers" / server / "current.next"
        obstacle.mkdir()
        (obstacle / "in the way").touch()

    def end(self, folder: Path, environment: Environment | None) -> None:
        """End the servers below this folder, and no others, even if somebody has changed the settings. Remove the
        images, which are read-only."""
        root = self._root(folder)
        servers = tuple(sorted(path.name for path in (root / "servers").glob("*/")))
        if environment is not None and servers:
            ours = {"root": root, "servers": servers}
            LocalCluster(environment.name, environment.settings.cluster.model_copy(update=ours)).dismantle()
        releases = root / "releases"
        for image in releases.iterdir() if releases.exists() else ():
            if image.is_dir():
                manifest.remove(image)

    def _root(self, folder: Path) -> Path:
        return folder / "cluster"


class Other:
    """Any other driver, with the settings of the user's file."""

    plantable = WITH_ANY_DRIVER
    release_header = None

    def __init__(self, name: str, given: Mapping[str, Any], doctor: Mapping[str, Any]) -> None:
        self.name = name
        self.given = given
        self.doctor = doctor
        self._dismantles = hasattr(load(name), "dismantle")

    @property
    def origin(self) -> str:
        """As the file says."""
        return str(self.doctor["origin"])

    @property
    def remains(self) -> str:
        """The rehearsal can't end servers that it doesn't know."""
        if self._dismantles:
            return f"at the end the driver {self.name} dismantles what it can; the rest of its servers stays as it is"
        return f"at the end the servers of the driver {self.name} stay as they are"

    def cluster(self, folder: Path) -> dict[str, Any]:
        """The file's keys."""
        del folder
        return {**self.given, "driver": self.name}

    def break_swap(self, folder: Path, server: str) -> None:
        """This is never called: the rehearsal doesn't know how this driver swaps."""
        raise NotImplementedError

    def end(self, folder: Path, environment: Environment | None) -> None:
        """Call the driver's `dismantle`, if it has one."""
        del folder
        if environment is not None and self._dismantles:
            environment.cluster.dismantle()  # type: ignore[attr-defined] # it is beyond the Protocol


class _File(settings.Table):
    """The user's file: the tables of an environment's file that concern the servers."""

    cluster: ClusterSettings
    doctor: DoctorSettings = DoctorSettings()


def choose(name: str | None, file: Path | None) -> Driver:
    """The driver with this name and the settings of this file. Without a name it is the file's, or else `local`.

    Raises:
        UsageError: there is no such driver, or the file is missing or can't be used.
    """
    content = {} if file is None else _read(file)
    cluster, doctor = content.get("cluster", {}), content.get("doctor", {})
    said = cluster.pop("driver", None)
    if name is not None and said not in (None, name):
        raise UsageError(f"{file} is for the driver {said!r}, and --driver is {name!r}", "Leave one of the two out.")
    name = name or said or "local"
    chosen = [f"{table}.{key}" for table, key in _PLACE if key in content.get(table, {})]
    if name == "local":
        if chosen:
            raise UsageError(
                f"{file} has {' and '.join(chosen)}: a rehearsal chooses these itself for the driver local",
                "Leave them out.",
            )
        return Local(cluster)
    if file is None:
        load(name)  # an unknown name is told first
        raise UsageError(
            f"a rehearsal doesn't know the settings of the driver {name}",
            "Name a file that has its table [cluster], and the gate's address as doctor.origin: --driver-config FILE.",
        )
    if len(chosen) < len(_PLACE):
        raise UsageError(
            f"{file} needs cluster.root and doctor.origin",
            "cluster.root is the folder of the images, and outlives the rehearsal. doctor.origin is the address of the "
            'gate, which the edge of the rehearsal asks: "http://127.0.0.1:8080".',
        )
    if re.match("[^/?#]*//[^/?#]*@", str(doctor["origin"])):
        raise UsageError(f"{file}: doctor.origin has a user or a password in it", "Let a rehearsal's gate do without.")
    return Other(name, cluster, doctor)


def _read(file: Path) -> dict[str, Any]:
    """The content of the user's file. Its values are checked, but a missing cluster.root is no fault yet."""
    try:
        content = texts.toml(file)
    except (OSError, ValueError) as exc:
        raise UsageError(f"--driver-config: {file} can't be read: {exc}", "Name a file that is TOML.") from exc
    cluster = content.get("cluster", {})
    try:
        _File.model_validate({**content, "cluster": {"root": ".", **cluster} if isinstance(cluster, dict) else cluster})
    except ValidationError as exc:
        raise UsageError(
            f"--driver-config: {file} can't be used: {settings.explain(exc)}",
            "It has the tables [cluster] and [doctor] of an environment's file, and no others.",
        ) from exc
    return content


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
