"""The composition root: it makes an environment's cluster and edge, and finds its state folder, from its name.

A part is only imported if the environment has it and the command needs it, so that commands start fast.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edgeguard import settings as files
from edgeguard import user
from edgeguard.errors import UsageError
from edgeguard.machine import network, seclusion
from edgeguard.machine.redaction import redacted
from edgeguard.release import entropy, given

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edgeguard.cluster import Cluster
    from edgeguard.cluster.lock import SharedRecord
    from edgeguard.edge import Ask, Edge, VisibleEdge
    from edgeguard.settings import EdgeOnlySettings, EdgeSettings, Settings


def config_folder(given: Path | None) -> Path:
    """The folder of the environments' files: --config, else $EDGEGUARD_CONFIG, else ./config."""
    return given or Path(os.environ.get("EDGEGUARD_CONFIG") or "config")


def state_folder(given: Path | None) -> Path:
    """The folder of this machine's journals: --state, else $EDGEGUARD_STATE, else the platform's state folder.

    Raises:
        UsageError: none is named, and this user has no home.
    """
    if given is not None:
        return given
    if named := os.environ.get("EDGEGUARD_STATE"):
        return Path(named)
    platform = os.environ.get("XDG_STATE_HOME", "")
    if platform.startswith("/"):  # the specification has a relative one ignored
        return Path(platform, "edgeguard")
    home = user.home()
    if home is None:
        raise UsageError("this user has no home for the journals", "Name a folder with --state or EDGEGUARD_STATE.")
    return home / ".local" / "state" / "edgeguard"


@dataclass(frozen=True, kw_only=True)
class EdgeSide:
    """The edge of an environment, with its settings. Making this sends no request.

    `state` is the state folder that the command line names; None: the usual one.
    """

    name: str
    settings: EdgeOnlySettings
    edge: Edge
    state: Path | None

    @property
    def argument(self) -> str:
        """The argument that names this environment on a command line."""
        return self.name

    @classmethod
    def open(cls, name: str, *, config: Path | None = None, state: Path | None = None) -> EdgeSide:
        """Read the environment's file, which needs no [cluster].

        Raises:
            UsageError: the file can't be used, or there is no token.
        """
        settings = files.load_edge_only(name, config_folder(config))
        token = _token(settings.edge)
        introduce(name, settings, token)
        return cls(
            name=name,
            settings=settings,
            edge=_edge(settings.edge, token),
            state=state,
        )


@dataclass(frozen=True, kw_only=True)
class ServiceOnly(EdgeSide):
    """A Fastly service with the policy in it, but without a file for it here."""

    @property
    def argument(self) -> str:
        """The option that names this service on a command line."""
        return f"--service {self.name}"

    @classmethod
    def read(cls, service: str, *, state: Path | None = None) -> ServiceOnly:
        """Read everything from the service: base, ceiling and names from its policy, the front door from its domains.

        Raises:
            UsageError: this can't be a service's id, there is no token, or the service has no policy.
            EdgeError: the service can't be read, or none of its domains shows the policy.
        """
        from edgeguard.edge.fastly.discovery import discover  # noqa: PLC0415 (only with --service)
        from edgeguard.site.light import ask  # noqa: PLC0415

        given = files.for_service(service)
        token = _token(given.edge)
        introduce(service, given, token)
        settings = files.for_service(service, **discover(given.edge, token, ask))
        return cls(
            name=service,
            settings=settings,
            edge=_edge(settings.edge, token),
            state=state,
        )


@dataclass(frozen=True, kw_only=True)
class Environment(EdgeSide):
    """One environment with its edge and its cluster."""

    settings: Settings
    cluster: Cluster

    @classmethod
    def open(cls, name: str, *, config: Path | None = None, state: Path | None = None) -> Environment:
        """Read the environment's file and make the parts that it names.

        Raises:
            UsageError: the file can't be used, there is no such driver, or there is no token.
        """
        settings = files.load(name, config_folder(config))
        token = _token(settings.edge)
        return cls(
            name=name,
            settings=settings,
            cluster=_cluster(name, settings, token),
            edge=_edge(settings.edge, token),
            state=state,
        )

    @property
    def journals(self) -> Path:
        """The folder of this environment's journals on this machine. Raises UsageError as `state_folder` does."""
        return state_folder(self.state) / self.name

    def record(self) -> SharedRecord:
        """The record on this environment's servers."""
        from edgeguard.cluster.lock import SharedRecord  # noqa: PLC0415 (not every command reads it)

        cluster = self.settings.cluster
        return SharedRecord(self.cluster, self.name, lease=cluster.lease, history=cluster.keep_history)


def cluster_alone(name: str, *, config: Path | None = None) -> tuple[Settings, Cluster]:
    """The settings of an environment, and its cluster. It needs no token. Raises UsageError where the file can't be
    used."""
    settings = files.load(name, config_folder(config))
    return settings, _cluster(name, settings, "")


def _cluster(name: str, settings: Settings, token: str) -> Cluster:
    """The cluster, with all secrets of the environment known to this process."""
    from edgeguard import cluster as drivers  # noqa: PLC0415 (not every environment has a cluster)

    introduce(name, settings, token)
    entropy.hide(settings.cluster.root)
    cluster = drivers.load(settings.cluster.driver)(name, settings.cluster, ceiling=settings.edge.ceiling)
    if hasattr(cluster, "secret_values"):  # of generations that are on the servers already; it is beyond the Protocol
        redacted.learn(cluster.secret_values())
    return cluster


def as_far_as_it_goes(name: str, *, config: Path | None, state: Path | None) -> tuple[EdgeSide, Cluster | None]:
    """An environment, and its cluster if its file has one. Raises UsageError, as `open` does."""
    edge_side = EdgeSide.open(name, config=config, state=state)
    if edge_side.settings.cluster is None or edge_side.settings.application is None:
        return edge_side, None
    whole = Environment.open(name, config=config, state=state)
    return whole, whole.cluster


def _token(settings: EdgeSettings) -> str:
    """The Fastly token. From here on, other processes of this user can't read this one's environment."""
    seclusion.hide()
    if not network.is_private(settings.api_url):
        said = f"edge.api_url: the token would go to {settings.api_url} in the clear"
        raise UsageError(said, "Write https://. Only this machine, or a proxy on it, may be asked by http://.")
    return files.token(settings)


def visible_edge(settings: EdgeSettings, ask: Ask) -> VisibleEdge:
    """The edge without a token, asked by `ask`. This imports no API."""
    from edgeguard.edge.mechanisms import MECHANISMS  # noqa: PLC0415 (not every command has an edge)

    return MECHANISMS[settings.mechanism](settings, None, ask)


def _edge(settings: EdgeSettings, token: str) -> Edge:
    from edgeguard.edge.mechanisms import MECHANISMS  # noqa: PLC0415 (not every command has an edge)
    from edgeguard.site.light import ask  # noqa: PLC0415

    return MECHANISMS[settings.mechanism](settings, token, ask)


def introduce(name: str, settings: EdgeOnlySettings, token: str) -> None:
    """Let this process know an environment's secrets: sites are asked with their passwords, and all that is written
    hides these, the token, the values of the application's variables, and the visitors' cookie.

    Words that the file also has in the clear are not hidden: many variables have the environment's name as value.
    """
    application, cookie = settings.application, settings.visitors.cookie
    secrets = [token, *_passwords_of_urls(os.environ.values())]
    if application is not None:
        secrets += given.secrets(application)
        secrets += [os.environ.get(name, "") for name in application.build_environment]
        secrets += _passwords_of_urls([application.repository])
    if cookie != type(settings.visitors).model_fields["cookie"].default:
        secrets += [cookie, *(part.partition("=")[2] for part in cookie.split(";"))]
    private: Any = {"application": {"variables", "relationships", "repository"}, "visitors": {"cookie"}}
    shown = [name] if application is None else [name, re.sub("//[^/]*@", "//", application.repository)]
    sign_in(settings)
    redacted.learn(secrets, clear=[*shown, *_strings(settings.model_dump(mode="json", exclude=private))])


def _passwords_of_urls(values: Iterable[str]) -> Iterator[str]:
    """The URLs with a user or a password in these values: registries and proxies that a build or Git is told of."""
    for value in values:
        if "@" in value:
            yield from re.findall(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@]*@[^\s,;\"']*", value)


def sign_in(settings: EdgeOnlySettings) -> None:
    """Ask the sites of these settings with their passwords from now on, and hide these in all that is written."""
    network.sign_in(settings.passwords)
    for said in settings.passwords.values():
        secret = said.partition(":")[2]
        redacted.learn([said, unquote(said), secret, unquote(secret)])


def _strings(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _strings(value)
