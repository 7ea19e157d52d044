"""The steps before anything visible changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgeguard.cluster import Generation
from edgeguard.cluster.host import images
from edgeguard.cluster.preparing import drift, unready
from edgeguard.cluster.tasks import RunsTasks
from edgeguard.cluster.users import named
from edgeguard.deploy.deployment import UNGUARDED
from edgeguard.deploy.steps.closure import empty_what_comes_back
from edgeguard.deploy.steps.step import Step, agreed, why_closed, why_mixed
from edgeguard.doctor import readiness
from edgeguard.errors import BuildFailed, ClusterError, Fenced, OriginsUnhealthy, Refused, UsageError
from edgeguard.findings import together
from edgeguard.release import application_file, entropy, given, image, process_variables
from edgeguard.release.fingerprint import fingerprint, of_users
from edgeguard.site import front_door
from edgeguard.times import short

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster import ServerState
    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.release.image import Release

CHANGED = "image-changed"
UNREADY = "not-ready"
ACCEPTABLE = (
    *("no-previous-release", "mixed-releases", "origins-sick", "closed", UNGUARDED, CHANGED, UNREADY),
    *readiness.REFUSED,
)
"""Refusals of preflight that a person may accept by name."""


class Build(Step):
    """Build the image, or find an earlier image of the same inputs that is still as it was built."""

    name = "build"

    def do(self) -> Facts:
        release = self.find(verify=True)
        self.deployment.variables = fingerprint(self.deployment.target.variables, self.environment.name)
        self.deployment.users = of_users(self.deployment.target.users)
        return {
            "release": release.digest,
            "ref": release.ref,
            "commit": release.commit,
            "reused": release.reused,
            "serves": self.deployment.serves_already(),
        }

    def find(self, *, verify: bool) -> Release:
        """The release, built if it has to be, as the target of this deploy. Without `verify` nobody looks whether an
        image that is there was changed. The fingerprint of the variables, which is slow to make, is left to `do`."""
        deployment, settings = self.deployment, self.environment.settings
        given.variables(settings.application)  # a value that is not there is found before a build that takes long
        given.relationships(settings.application)
        try:
            with deployment.output() as output:
                release = image.build(
                    settings.application,
                    ref=deployment.ref,
                    root=settings.cluster.root,
                    in_use=self._in_use,
                    cancelled=deployment.stop.asked,
                    output=output,
                    verify=verify,
                )
        except (UsageError, BuildFailed):
            deployment.stop.check()  # the signal may have killed Git, pip or npm too: then that is no failure of theirs
            raise
        for warning in application_file.warnings(release.application, settings.application):
            deployment.say("warning", text=warning)
        _target(deployment, release)
        if deployment.target.runs.tasks and not isinstance(self.environment.cluster, RunsTasks):
            text = f"workers, crons: the driver {settings.cluster.driver} starts none; your own commands have to"
            deployment.say("warning", text=text)
        deployment.ref = release.ref  # also if the person named none: other machines read it in the record
        return release

    def _in_use(self, release: Release) -> bool:
        """Whether a server runs this release, would go back to it, or gets it by an unfinished deploy."""
        cluster, record = self.environment.cluster, self.deployment.record.look()
        used = {there.release for there in (record.opened, record.deploy) if there}
        for server in cluster.without(record.left_out).state():
            used |= {server.release, server.running}
        return release.digest in used


class Earlier(Step):
    """In place of a build, take a release that is kept on the servers: its image and its variables."""

    name = "build"

    def do(self) -> Facts:
        deployment, cluster = self.deployment, self.environment.cluster
        wanted = deployment.back_to
        if wanted is None:
            raise AssertionError("nobody said which release to go back to")
        found = cluster.generation(wanted.generation)
        if found is None:
            raise UsageError(
                f"the release {short(wanted.release)} of {wanted.generation} is not on every server any more",
                f"Deploy the commit that you want: edgeguard deploy {self.environment.name} --ref REF",
            )
        deployment.release = image.find(self.environment.settings.cluster.root, found.release)
        deployment.differs = cluster.differences(found)
        deployment.changed = bool(deployment.differs)
        runs = replace(found.runs, user=self.environment.settings.cluster.user)  # a setting of today, as the others
        deployment.generation = replace(found, name=deployment.id, runs=runs, copy_of=found.name)
        deployment.variables, deployment.users, deployment.ref = wanted.variables, wanted.users, wanted.generation
        deployment.tell_who_comes_back(found.name)
        facts = {"release": found.release, "ref": wanted.generation, "commit": None, "reused": True}
        return {**facts, "serves": deployment.serves_already()}


class Lock(Step):
    """Take the environment's lock on its servers, write down the deploy, and renew the lock from then on.

    The lock is freed when the run ends, whether it succeeds or fails (Deployment.let_go).
    """

    name = "lock"
    restores = True

    def do(self) -> Facts:
        deployment, record = self.deployment, self.deployment.record
        superseded = record.look().deploy if deployment.supersede else None
        record.take(deployment.as_written(superseded), instead_of=deployment.supersede)
        deployment.renew("lock", record.renewal, record.renew)
        return {"epoch": record.epoch}

    def undo(self, before: Facts) -> None:
        record = self.deployment.record
        if record.held:
            record.note(deploy=None if self.deployment.closed else self.deployment.under_way.superseded)


class Preflight(Step):
    """Check everything that could make this deploy visible, before anything is changed."""

    name = "preflight"
    _mends = False  # whether this deploy supersedes one that left the cluster closed

    def do(self) -> Facts:
        servers = self.deployment.serving.state()
        self.deployment.generations = {server.generation for server in servers}
        for text in drift(self.deployment.serving, self.environment.name):
            self.deployment.say("warning", name="not-prepared", text=text)
        now_open = all(server.open for server in servers)
        mended = None if now_open else self.deployment.under_way.superseded
        self._mends = mended is not None
        self.deployment.see_closure(is_open=now_open)
        self.deployment.was_open = mended.was_open if mended else now_open
        self.deployment.pages = mended.pages if mended else {}
        reasons = [*self._cluster(servers), *self._ready(), *self._edge()]
        if not reasons and not self._mends and "origins-sick" not in self.deployment.accept:
            reasons += self._visitors()
        reasons += self._images()
        refused = [(name, text) for name, text in reasons if name not in self.deployment.accept]
        if refused:
            raise Refused(
                "; ".join(text for _, text in refused),
                "To go on all the same: " + " ".join(f"--accept {name}" for name, _ in refused),
            )
        opened = self.deployment.record.opened
        return {"previous": opened.release if opened else None, "servers": [server.name for server in servers]}

    def _cluster(self, servers: tuple[ServerState, ...]) -> list[tuple[str, str]]:
        if self._mends:
            return []  # the cluster is closed, perhaps half-way through a swap: this deploy is the repair
        if self.deployment.first:
            return [("no-previous-release", "nothing was ever deployed here, so there is nothing to go back to")]
        if agreed(self.deployment.generations) is None or agreed(server.running for server in servers) is None:
            return [("mixed-releases", why_mixed(servers, self.environment.name))]
        if not self.deployment.was_open:
            return [("closed", why_closed(servers, self.environment.name))]
        return []

    def _ready(self) -> list[tuple[str, str]]:
        """What keeps servers from taking the release. They would say so while it is staged, after it was carried."""
        deployment = self.deployment
        found = [] if UNREADY in deployment.accept else unready(self.environment.cluster, deployment.target)
        return [(UNREADY, "; ".join(found))] if found else []

    def _images(self) -> list[tuple[str, str]]:
        """The images that were changed since they were built. A person must hear of them before the close."""
        deployment, changed = self.deployment, []
        folder = deployment.target.image
        if deployment.differs:
            changed.append(
                f"the image {folder}, which this deploy would use, is not as it was built: "
                f"{images.in_short(deployment.differs)}. One that a server needs is not built anew; a commit that "
                "changes the tree gets one of its own"
            )
        name = deployment.previous
        previous = None if name is None else deployment.serving.generation(name)
        told = bool(changed) and previous is not None and previous.image == folder
        if previous is not None and not told and (differs := deployment.serving.differences(previous)):
            changed.append(
                f"the image {previous.image}, which serves, is not as it was built: {images.in_short(differs)}"
            )
        if changed and CHANGED in deployment.accept:
            deployment.say("warning", name=CHANGED, text="; ".join(changed))
        return [(CHANGED, "; ".join(changed))] if changed else []

    def _edge(self) -> list[tuple[str, str]]:
        if not self.deployment.guarded:
            return []
        policy = self.environment.edge.policy()
        if policy.revision is None:
            return [(UNGUARDED, "the policy is not installed in the service, so visitors would see the closure")]
        if policy.differences:
            return [
                (UNGUARDED, f"the policy in the service is not this environment's: {', '.join(policy.differences)}")
            ]
        return []

    def _visitors(self) -> list[tuple[str, str]]:
        """The reasons for which visitors would notice the deploy. A sick site has one reason: that it is sick."""
        deployment = self.deployment
        try:
            front_door.ask_once(self.environment.settings.edge, None, sleep=deployment.stop.sleep)
        except OriginsUnhealthy as exc:
            return [("origins-sick", exc.message)]
        pages = readiness.spread(readiness.urls(self.environment.settings), readiness.QUICK)
        deployment.pages = front_door.statuses(self.environment.settings.edge, pages, sleep=deployment.stop.sleep)
        if not deployment.guarded:
            return []
        reasons: list[tuple[str, str]] = []
        found = readiness.before_a_deploy(self.environment, deployment.serving, sleep=deployment.stop.sleep)
        for finding in together(found):
            critical = finding.severity == "critical" or finding.name not in readiness.OF_SERVICE
            if finding.name in readiness.REFUSED and critical and finding.name not in deployment.accept:
                reasons.append((finding.name, finding.text))
            elif finding.severity != "note":
                deployment.say("warning", text=finding.text)
        return reasons


class Stage(Step):
    """Put the image, the variables and the users on each server, beside the release that runs there. Then remove the
    generations and images of earlier deploys that never opened.

    On a server that comes back, this first ends the old processes.
    """

    name = "stage"

    def do(self) -> Facts:
        empty_what_comes_back(self.deployment)
        self.environment.cluster.stage(self.deployment.epoch, self.deployment.target, whole=not self.deployment.changed)
        self._prune()
        return {}

    def _prune(self) -> None:
        """Keep this deploy, the deploys that it supersedes, and the releases that can be gone back to."""
        deployment, record = self.deployment, self.deployment.record
        keep = [deployment.target.name, *(release.generation for release in record.releases)]
        left = deployment.under_way.superseded
        while left:
            keep.append(left.id)
            left = left.superseded
        try:
            self.environment.cluster.prune(deployment.epoch, keep)
        except Fenced:
            raise
        except ClusterError as exc:  # files that can't be removed must not stop a deploy
            deployment.say("warning", text=f"what deploys that never opened left can't be removed: {exc.message}")


def _kept_entropy(deployment: Deployment) -> str | None:
    """The environment's PLATFORM_PROJECT_ENTROPY as its servers keep it; None where they keep none, or where the driver
    leaves it on this machine. It is beyond the Protocol."""
    kept: Callable[[], str | None] | None = getattr(deployment.environment.cluster, "entropy", None)
    return None if kept is None else kept()


def _target(deployment: Deployment, release: Release) -> None:
    """Set the generation that this deploy will make current: an image with the variables of now."""
    settings = deployment.environment.settings.application
    variables = process_variables.runtime(
        release.application,
        settings=settings,
        environment=deployment.environment.name,
        branch=settings.branch,
        tree=release.tree,
        image=release.folder,
        front_door=deployment.environment.settings.edge.url,
        entropy=entropy.of(deployment.environment.settings.cluster.root, told=_kept_entropy(deployment)),
    )
    deployment.release = release
    deployment.differs = release.differs
    deployment.changed = bool(release.differs)
    runs = image.runs(release, settings, deployment.environment.settings.cluster.user)
    deployment.generation = Generation(
        deployment.id,
        release.digest,
        release.folder,
        runs,
        variables,
        named(deployment.environment.settings.cluster.users),
    )
