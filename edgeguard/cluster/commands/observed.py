"""What the command `observe` prints: every server as it is now, as JSON.

The JSON Schema of it, observe.schema.json, is made from the classes below:

    python -c 'from edgeguard.cluster.commands import observed; observed.write_schema()'
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeguard.cluster import ServerState
from edgeguard.cluster.host import generations, strict_json
from edgeguard.errors import ClusterError, NotStaged

SCHEMA = Path(__file__).with_name("observe.schema.json")
_REMEDY = "Run the command by hand, and compare what it prints with the schema in docs/scripts.md."


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Person(_Told):
    """A person who may log in on the servers."""

    name: str
    keys: list[str]
    role: str


class Staged(_Told):
    """A staged generation: the file EDGEGUARD_DESCRIPTION of its stage, handed back as it was."""

    release: str = Field(description="The digest of the image's content.")
    image: str = Field(pattern="^/", description="The absolute path of the image.")
    cwd: str = Field(pattern="^/", description="The folder in which the application's commands run.")
    start: list[str] = Field(description="The argument vector of the web process.")
    hooks: dict[str, list[str]] = Field(description="The argument vectors of the application's hooks.")
    folders: list[str] = Field(description="Folders that outlive releases and exist before anything starts.")
    socket: bool = Field(default=False, description="Whether the web process listens on a unix socket.")
    users: list[Person] = Field(default=[], description="People who may log in on the servers.")

    def described(self, name: str) -> generations.Generation:
        """The generation of this name that is staged so."""
        return generations.described(name, Path(self.image), self.model_dump())


class Server(_Told):
    """One server as it is now."""

    generation: str | None = Field(description="The generation that is current (null: none). It is among `staged`.")
    running: str | None = Field(
        description="The generation from which every process of the application runs (null: no process runs, or they "
        "run from different generations)."
    )
    open: bool = Field(description="Whether the gate lets requests through to this server.")
    staged: dict[str, Staged] = Field(description="The generations that are on this server, by their names.")
    deaths: int = Field(
        default=0, ge=0, description="How often the current generation's web process ended that nobody had ended."
    )
    gate: bool | None = Field(default=None, description="Whether the gate is alive (null: unknown).")
    supervisor: bool | None = Field(
        default=None, description="Whether the program is alive that starts a dead web process again (null: unknown)."
    )

    def state(self, name: str) -> ServerState:
        """What the Protocol calls the state of the server with this name."""
        release = {generation: staged.release for generation, staged in self.staged.items()}
        return ServerState(
            name=name,
            generation=self.generation,
            release=release.get(self.generation or ""),
            running=release.get(self.running or ""),
            open=self.open,
            deaths=self.deaths,
            gate=self.gate,
            supervisor=self.supervisor,
        )

    def find(self, name: str, generation: str) -> generations.Generation:
        """A generation that is staged on the server with this name. Raises NotStaged."""
        if generation not in self.staged:
            raise NotStaged(
                f"{name}: {generation} is not on this server: it was never staged, or was pruned",
                "Deploy again.",
                server=name,
            )
        return self.staged[generation].described(generation)


class Observed(_Told):
    """What the command `observe` of edgeguard's driver `commands` prints."""

    servers: dict[str, Server] = Field(
        description="Every server of EDGEGUARD_SERVERS, by its name; others are passed over."
    )


def read(said: str, servers: tuple[str, ...]) -> dict[str, Server]:
    """These servers, as `observe` printed them.

    Raises:
        ClusterError: it is no JSON, or not as the schema says; or it lacks a server, or what is current is not staged.
    """
    try:
        found = Observed.model_validate(strict_json.read(said))
    except strict_json.Fault as exc:
        raise ClusterError(f"observe printed what can't be used: {exc}", _REMEDY) from exc
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ClusterError(
            f"observe printed what can't be used: {where + ': ' if where else ''}{fault['msg']}", _REMEDY
        ) from exc
    for server in servers:
        if server not in found.servers:
            raise ClusterError(f"{server}: observe says nothing of it", _REMEDY, server=server)
        current = found.servers[server].generation
        if current is not None and current not in found.servers[server].staged:
            raise ClusterError(
                f"{server}: observe says that {current} is current, but not that it is staged", _REMEDY, server=server
            )
    return {server: found.servers[server] for server in servers}


def schema() -> dict[str, Any]:
    """The JSON Schema of what `observe` prints."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Observed.model_json_schema()}


def write_schema() -> None:
    """Write the schema to its file, after a change of the classes."""
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
