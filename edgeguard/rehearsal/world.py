"""A world on this machine: a stand-in for Fastly, a local cluster, a repository, and visitors.

Everything in it is the product itself, reached as in earnest; the world only sets the scene, and plants causes.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeguard.cluster.host import manifest
from edgeguard.cluster.local import LocalCluster
from edgeguard.deploy.attempt import Wish
from edgeguard.deploy.deploy import deploy
from edgeguard.deploy.steps import UNGUARDED
from edgeguard.doctor import readiness
from edgeguard.environment import Environment
from edgeguard.errors import EdgeguardError, UsageError
from edgeguard.machine import process
from edgeguard.rehearsal import repository as repositories
from edgeguard.release import source
from edgeguard.site.visitors import Visitors

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry

NAME = "rehearsal"
SITE_SNIPPET = "if (req.http.Cookie || req.http.Authorization) { return(pass); }"
"""Fastly does not pass such requests by itself; sites with a login have a snippet like this."""


@dataclass(frozen=True)
class Scene:
    """What somebody wants to rehearse."""

    repository: Path | None = None
    ref: str | None = None
    servers: int = 3
    hook_seconds: float = 5
    unguarded: Literal["edge", "claim"] | None = None
    fail: str | None = None
    pages: tuple[str, ...] = ()
    after_hook_failure: Literal["stay-closed", "rollback"] = "stay-closed"


class World:
    """The world of one rehearsal. `end` leaves nothing of it: every process is ended by its own pid."""

    def __init__(self, scene: Scene, listen: Callable[[Entry], None]) -> None:
        self.scene = scene
        self._listen = listen
        self.folder = Path(tempfile.mkdtemp(prefix="edgeguard-rehearsal-"))
        self.config = self.folder / "config"
        self.repository = self.folder / "repository"
        self._standin: subprocess.Popen[str] | None = None
        self.standin: dict[str, str] = {}
        self.environment: Environment | None = None
        self.ref: str | None = None

    def begin(self) -> None:
        """Start everything, and deploy the repository as it is. Whatever this process's environment says of another
        one, live perhaps, is forgotten: its settings, and a real token."""
        process.forget()
        first, self.ref = self._releases()
        self._say("the stand-in for Fastly starts")
        gate_port = _free_port()
        self._start_standin(gate_port)
        self._write_config(gate_port)
        self.environment = Environment.open(NAME, config=self.config, state=self.folder / "state")
        self._snippet()
        if self.scene.unguarded != "edge":
            self._say("the policy is installed")
            self.environment.edge.install("rehearsal")
        self._say("the first release is deployed")
        quiet = Environment.open(NAME, config=self.config, state=self.folder / "first")
        report = deploy(quiet, Wish(ref=first, accept=("no-previous-release", UNGUARDED)), listen=self._only_output)
        if report["exit_code"] != 0:
            error = UsageError if report["exit_code"] == UsageError.exit_code else EdgeguardError
            failure = error(f"the first release can't be deployed: {report['error']}", report["remedy"] or "")
            failure.exit_code = report["exit_code"]
            raise failure

    def deploy(self) -> dict[str, Any]:
        """Let visitors fill the cache, then deploy the next release while they go on. Returns the report."""
        environment = self._ready()
        self._say("visitors fill the cache")
        settings = environment.settings.visitors
        early = Visitors(settings, environment.settings.edge, self.folder / "early.jsonl")
        early.start()
        threading.Event().wait(len(settings.anonymous) / settings.rate + 0.5)
        early.stop()
        self._plant()
        accept: tuple[str, ...] = () if self.scene.unguarded is None else (UNGUARDED,)
        if self.scene.repository is not None:  # what a page of theirs lacks is to be seen, not to be in the way
            accept += readiness.REFUSED
        report = deploy(environment, Wish(ref=self.ref, accept=accept), listen=self._listen)
        if report["outcome"] == "held":
            self._say(
                "this world ends now, with its files; where the commands named can be called is one that stays: "
                "`edgeguard rehearse --stay` with the same options, and a deploy in it"
            )
        return report

    def ready(self) -> dict[str, Any]:
        """Where everything is, for whoever plays in this world."""
        return {
            "event": "ready",
            "config": str(self.config),
            "environment": NAME,
            **{key: self.standin[key] for key in ("api_url", "edge_url", "control_url", "service_id", "token")},
            "repository": str(self.repository),
        }

    def end(self) -> None:
        """End every process of this world and remove its folder. Harmless twice."""
        try:
            self._dismantle()
        finally:
            if self._standin is not None:
                self._standin.terminate()
                self._standin.wait()
                if self._standin.stdout is not None:
                    self._standin.stdout.close()
        releases = self.folder / "cluster" / "releases"
        for image in releases.iterdir() if releases.exists() else ():
            if image.is_dir():
                manifest.remove(image)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _dismantle(self) -> None:
        """End the servers that are below this world's folder, and no others, whatever any settings say of them."""
        root = self.folder / "cluster"
        servers = tuple(sorted(path.name for path in (root / "servers").glob("*/")))
        if self.environment is not None and servers:
            there = {"root": root, "servers": servers}
            LocalCluster(NAME, self.environment.settings.cluster.model_copy(update=there)).dismantle()

    def _ready(self) -> Environment:
        if self.environment is None:
            raise AssertionError("begin comes first")
        return self.environment

    def _releases(self) -> tuple[str, str]:
        """The refs of the release that is there first and of the one that follows."""
        given = self.scene.repository
        if given is None:
            repositories.bundled(self.repository)
            first = _git(self.repository, "rev-parse", "HEAD")
            following = repositories.next_release(self.repository)
        else:
            if not given.exists():
                raise UsageError(f"{given} does not exist", "Name a Git repository on this machine.")
            _git(self.folder, "clone", "--quiet", str(given.absolute()), str(self.repository))
            following = _git(self.repository, "rev-parse", "--verify", f"{self.scene.ref or 'HEAD'}^{{commit}}")
            _git(self.repository, "checkout", "--quiet", "-B", NAME, following)
            first = _git(self.repository, "rev-parse", "--verify", f"{following}~1^{{commit}}", otherwise=following)
        if self.scene.fail in ("hook", "check", "healthy"):
            following = repositories.plant(self.repository, self.scene.fail, server=self._servers()[-2:][0])  # type: ignore[arg-type]
        return first, following

    def _servers(self) -> list[str]:
        return [f"web{number}" for number in range(1, self.scene.servers + 1)]

    def _start_standin(self, gate_port: int) -> None:
        command = [sys.executable, "-m", "edgeguard.standin", "--origin", f"http://127.0.0.1:{gate_port}", "--json"]
        log = (self.folder / "standin.log").open("w")
        with log:
            self._standin = subprocess.Popen(
                command,
                env=process.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        line = self._standin.stdout.readline() if self._standin.stdout else ""
        if not line:
            said = (self.folder / "standin.log").read_text().strip()
            raise EdgeguardError(f"the stand-in did not start: {said}")
        self.standin = json.loads(line)

    def _write_config(self, gate_port: int) -> None:
        self.config.mkdir()
        token = self.folder / "token"
        token.touch(mode=0o600)
        token.write_text(self.standin["token"])
        bundled = self.scene.repository is None
        pages = self.scene.pages or (("/", *(f"/page/{n}" for n in range(1, 24))) if bundled else ("/",))
        health = "/health" if bundled else pages[0]
        gate = f"http://127.0.0.1:{gate_port}"
        tables: dict[str, dict[str, Any]] = {
            "application": {
                "repository": str(self.repository),
                "branch": repositories.BRANCH,
                "variables": {"env:HOOK_SECONDS": str(self.scene.hook_seconds)},
            },
            "cluster": {
                "driver": "local",
                "servers": self._servers(),
                "root": str(self.folder / "cluster"),
                "after_hook_failure": self.scene.after_hook_failure,
                "lease": 3,
                "health_path": health,
                "start_timeout": 10 if bundled else 30,
                "planned_closure": self.scene.hook_seconds + 30,
                "options": {"gate_port": gate_port},
            },
            "edge": {
                "service": self.standin["service_id"],
                "url": self.standin["edge_url"],
                "health_url": self.standin["edge_url"] + health,
                "api_url": self.standin["api_url"],
                "token_file": str(token),
                "base_grace": 1,  # shorter than the closure, so that a claim that does nothing is seen
                "propagation": 1,
                "confirm_timeout": 20,
                "healthy_timeout": 10,
                "release_header": "Edgeguard-Release",
            },
            "claim": {"duration": self.scene.hook_seconds + 115, "hold": 10},
            "purge": {"release_key": "release"} if bundled else {"pace": 0.1},
            "visitors": {
                "anonymous": list(pages),
                "authenticated": [pages[0]],
                "origin": [gate + pages[0]],
                "rate": 25,
            },
        }
        path = self.config / f"{NAME}.toml"
        path.write_text("# Written by `edgeguard rehearse`; config/rehearsal.toml explains it.\n" + _toml(tables))

    def _snippet(self) -> None:
        """Add the site's own snippet to the service, as its owner would have done long ago."""
        service = f"{self.standin['api_url']}/service/{self.standin['service_id']}"
        draft = self._api("PUT", f"{service}/version/1/clone")["number"]
        body = {"name": "site_pass", "type": "recv", "dynamic": "0", "priority": "100", "content": SITE_SNIPPET}
        self._api("POST", f"{service}/version/{draft}/snippet", body)
        self._api("PUT", f"{service}/version/{draft}/activate")

    def _api(self, method: str, url: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {"Fastly-Key": self.standin["token"], "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 (the stand-in's own URL)
            url, method=method, headers=headers, data=json.dumps(body or {}).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            content: dict[str, Any] = json.load(answer)
        return content

    def _plant(self) -> None:
        """Plant the cause of a failure that no commit can carry."""
        if self.scene.fail == "claim":
            fault = {"api": {"status": 503, "match": {"method": "PATCH"}}}
            self._api("POST", f"{self.standin['control_url']}/faults", fault)  # type: ignore[arg-type]
        if self.scene.fail == "swap":
            server = self._servers()[-2:][0]
            obstacle = self.folder / "cluster" / "servers" / server / "current.next"
            obstacle.mkdir()
            (obstacle / "in the way").touch()

    def _say(self, text: str) -> None:
        self._listen({"event": "scene", "at": time.time(), "text": text})

    def _only_output(self, entry: Entry) -> None:
        if entry["event"] in ("output", "warning") and entry.get("name") != UNGUARDED:
            self._listen(entry)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _git(folder: Path, *arguments: str, otherwise: str | None = None) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, env=source.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout.strip()
    if otherwise is not None:
        return otherwise
    raise UsageError(
        f"git {arguments[0]}: {done.stderr.strip().splitlines()[-1:]}", "Look at the repository and --ref."
    )


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    """Tables of strings, numbers and lists as TOML; JSON's forms of these are TOML's."""
    lines = []
    for table, content in tables.items():
        lines.append(f"\n[{table}]")
        nested = {key: value for key, value in content.items() if isinstance(value, dict)}
        lines += [f"{key} = {json.dumps(value)}" for key, value in content.items() if key not in nested]
        for name, inner in nested.items():
            lines.append(f"[{table}.{name}]")
            lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in inner.items()]
    return "\n".join(lines) + "\n"
