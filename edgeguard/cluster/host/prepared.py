"""What `edgeguard cluster prepare` has made ready on this server: facts that acts look up, in `prepared.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files
from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.host.units import Unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgeguard.cluster.host.generations import Task

_KINDS: dict[str, files.Kinds] = {"environment": (str,), "server": (str,), "port": (int,), "login?": (str,)}


@dataclass(frozen=True)
class Prepared:
    """The environment, the server's name, and the port of 127.0.0.1 on which its application listens. `login` is the
    user as whom the environment's users log in; None: it has none."""

    environment: str
    server: str
    port: int
    login: str | None = None

    @property
    def unit(self) -> Unit:
        """The unit of the web process."""
        return Unit(f"eg-{self.environment}-web.service")

    @property
    def gate_unit(self) -> Unit:
        """The unit of the gate."""
        return Unit(f"eg-{self.environment}-gate.service")

    @property
    def tasks_unit(self) -> Unit:
        """The unit that starts the background tasks with the server."""
        return Unit(f"eg-{self.environment}-tasks.service")

    @property
    def crons_timer(self) -> Unit:
        """The timer of `crons_unit`, which runs while the crons of this server may."""
        return Unit(f"eg-{self.environment}-crons.timer")

    @property
    def crons_unit(self) -> Unit:
        """The unit that starts the crons that are due."""
        return Unit(f"eg-{self.environment}-crons.service")

    def template(self, kind: str, instance: str = "") -> str:
        """The name of the unit of which every `worker`, or every `cron`, is an instance; or of one instance."""
        return f"eg-{self.environment}-{kind}@{instance}.service"

    def task_unit(self, task: Task) -> Unit:
        """The unit of a background task."""
        return Unit(self.template(task.kind, task.name))

    @classmethod
    def of(cls, folder: Path) -> Prepared:
        """What was made ready in this server's folder. Raises HostError where nothing was."""
        said = files.read(folder / "prepared.json", _KINDS)
        if said is None:
            raise HostError("this server is not prepared", "Run `edgeguard cluster prepare` for this environment.")
        return cls.told(said)

    @classmethod
    def told(cls, said: Mapping[str, Any]) -> Prepared:
        """From what JSON has; other keys are left alone."""
        login = said.get("login")
        return cls(
            str(said["environment"]), str(said["server"]), int(said["port"]), None if login is None else str(login)
        )

    def json(self) -> dict[str, Any]:
        """As JSON has it. A server that nobody logs in to has what earlier versions wrote."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def write(self, folder: Path) -> None:
        """Write it down."""
        files.write(folder / "prepared.json", self.json())
