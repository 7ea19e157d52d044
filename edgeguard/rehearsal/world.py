"""The world of one rehearsal on this machine: a stand-in for Fastly, a cluster, a repository, and visitors.

Every part is the product itself, used as in production. The world only sets the scene, and plants failures.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import files
from edgeguard.deploy.attempt import Wish
from edgeguard.deploy.deploy import deploy
from edgeguard.deploy.steps import UNGUARDED
from edgeguard.doctor import readiness
from edgeguard.environment import Environment
from edgeguard.errors import EdgeguardError, UsageError
from edgeguard.machine import process
from edgeguard.rehearsal import configuration
from edgeguard.rehearsal import repository as repositories
from edgeguard.rehearsal.configuration import NAME
from edgeguard.rehearsal.standin import StandIn
from edgeguard.release import choice, git
from edgeguard.release import remote as remotes
from edgeguard.release.source import clone, resolve
from edgeguard.site.visitors import Visitors

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from edgeguard.deploy.journal import Entry
    from edgeguard.rehearsal.scene import Scene


class World:
    """The world of one rehearsal. `end` leaves nothing of it: every process is ended by its own pid."""

    def __init__(self, scene: Scene, listen: Callable[[Entry], None]) -> None:
        self.scene = scene
        self._listen = listen
        self.folder = Path(tempfile.mkdtemp(prefix="edgeguard-rehearsal-"))
        self.config = self.folder / "config"
        self.repository = self.folder / "repository"
        self.standin: StandIn | None = None
        self.environment: Environment | None = None
        self.ref: str | None = None

    def begin(self) -> None:
        """Start everything, and deploy the repository as it is.

        This process's environment may hold the settings and the token of a real site: they are forgotten first.
        """
        process.forget()
        first, self.ref = self._releases()
        self._say("the stand-in for Fastly starts")
        self.standin = StandIn.start(self.scene.driver.origin, self.folder / "standin.log")
        configuration.write(self.folder, self.scene, self.standin)
        self.environment = Environment.open(NAME, config=self.config, state=self.folder / "state")
        if self.environment.settings.cluster.user is not None:
            files.let_pass(self.folder)
        self.standin.add_site_snippet()
        if self.scene.unguarded != "edge":
            self._say("the policy is installed")
            self.environment.edge.install("rehearsal")
        if self.scene.driver.remains is not None:
            self._say(self.scene.driver.remains)
        if hasattr(self.environment.cluster, "prepare"):  # it is beyond the Protocol
            self._say("the servers are prepared")
            self.environment.cluster.prepare(dry_run=False)
        self._say("the first release is deployed")
        self._deploy_first(first)

    def _deploy_first(self, ref: str) -> None:
        """Deploy the first release, with a state of its own, and without a claim: nothing is cached yet."""
        environment = Environment.open(NAME, config=self.config, state=self.folder / "first")
        wish = Wish(ref=ref, accept=("no-previous-release", UNGUARDED))
        report = deploy(environment, wish, listen=self._only_output)
        if report["exit_code"] != 0:
            error = UsageError if report["exit_code"] == UsageError.exit_code else EdgeguardError
            failure = error(f"the first release can't be deployed: {report['error']}", report["remedy"] or "")
            failure.exit_code = report["exit_code"]
            raise failure

    def deploy(self) -> dict[str, Any]:
        """Let visitors fill the cache, then deploy the next release while they go on. Returns the report."""
        environment, _ = self._begun()
        self._say("visitors fill the cache")
        settings = environment.settings.visitors
        early = Visitors(settings, environment.settings.edge, self.folder / "early.jsonl")
        early.start()
        threading.Event().wait(len(settings.anonymous) / settings.rate + 0.5)
        early.stop()
        self._plant_failure()
        accept: tuple[str, ...] = () if self.scene.unguarded is None else (UNGUARDED,)
        if self.scene.repository is not None:  # a page with a defect is reported, and must not stop the rehearsal
            accept += readiness.REFUSED
        report = deploy(environment, Wish(ref=self.ref, accept=accept, last=True), listen=self._listen)
        if report["outcome"] == "held":
            self._say(
                "this world ends now, with its files. The commands above work in a world that stays: "
                "`edgeguard rehearse --stay` with the same options, and a deploy in it"
            )
        return report

    def ready(self) -> dict[str, Any]:
        """The addresses and folders of this world, for somebody who works in it."""
        _, standin = self._begun()
        return {
            "event": "ready",
            "config": str(self.config),
            "environment": NAME,
            **standin.addresses(),
            "repository": str(self.repository),
        }

    def end(self) -> None:
        """End every process of this world and remove its folder. Harmless twice."""
        try:
            self.scene.driver.end(self.folder, self.environment)
        finally:
            if self.standin is not None:
                self.standin.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _begun(self) -> tuple[Environment, StandIn]:
        if self.environment is None or self.standin is None:
            raise AssertionError("begin comes first")
        return self.environment, self.standin

    def _releases(self) -> tuple[str, str]:
        """The refs of two releases: the one that serves first, and the one that the rehearsal deploys."""
        given = self.scene.repository
        if given is None:
            repositories.bundled(self.repository)
            first = _git(self.repository, "rev-parse", "HEAD")
            following = repositories.next_release(self.repository)
        else:
            if not given.exists():
                raise UsageError(f"{given} does not exist", "Name a Git repository on this machine.")
            _answer("clone", clone(given.absolute(), self.repository))
            origin = remotes.of(_git(given, "config", "remote.origin.url", otherwise="")).address
            if git.is_url(origin):  # its submodules may be beside it
                _git(self.repository, "config", "remote.origin.url", origin)
            following = _git(self.repository, "rev-parse", "--verify", f"{self.scene.ref or 'HEAD'}^{{commit}}")
            _git(self.repository, "checkout", "--quiet", "-B", NAME, following)
            first = _before(self.repository, following)
        if self.scene.fail in ("hook", "check", "healthy"):
            following = repositories.plant(
                self.repository,
                self.scene.fail,
                server=self.scene.failing_server,
                application=self.scene.application.get("name"),
            )
        return first, following

    def _plant_failure(self) -> None:
        """Plant the cause of a failure that is not in the repository."""
        if self.scene.fail == "claim":
            self._begun()[1].refuse_dictionary_writes()
        if self.scene.fail == "swap":
            self.scene.driver.break_swap(self.folder, self.scene.failing_server)

    def _say(self, text: str) -> None:
        self._listen({"event": "scene", "at": time.time(), "text": text})

    def _only_output(self, entry: Entry) -> None:
        if entry["event"] in ("output", "warning") and entry.get("name") != UNGUARDED:
            self._listen(entry)


def _before(repository: Path, commit: str) -> str:
    """The commit before this one, which serves first; the same one where there is none, or none that can be served."""
    before = _git(repository, "rev-parse", "--verify", f"{commit}~1^{{commit}}", otherwise=commit)
    return before if choice.files(resolve(str(repository), before, cache=repository.parent).paths()) else commit


def _git(folder: Path, *arguments: str, otherwise: str | None = None) -> str:
    done = process.answer(["git", "-C", str(folder), *arguments], env=git.environment())
    if done.returncode and otherwise is not None:
        return otherwise
    return _answer(arguments[0], done)


def _answer(command: str, done: subprocess.CompletedProcess[bytes]) -> str:
    """What Git printed. Raises UsageError if it failed."""
    if done.returncode == 0:
        return done.stdout.decode(errors="replace").strip()
    said = done.stderr.decode(errors="replace").strip().splitlines()
    raise UsageError(f"git {command}: {said[-1] if said else 'it failed'}", "Look at the repository and --ref.")
