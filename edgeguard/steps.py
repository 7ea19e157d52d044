"""The steps of a deploy. Each makes one state true, and can restore what was there before."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard import application, image
from edgeguard.cluster import Closure, Generation
from edgeguard.edge.confirm import confirm
from edgeguard.edge.grace import DEPLOY_SLOTS, FREE, Claim, new_nonce
from edgeguard.errors import ClusterError, EdgeError, HookFailed, OriginsUnhealthy, Refused
from edgeguard.probe import ask
from edgeguard.record import RENEWAL, Record, this_holder
from edgeguard.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edgeguard.cluster import ServerState
    from edgeguard.environment import Environment
    from edgeguard.errors import EdgeguardError
    from edgeguard.image import Release
    from edgeguard.saga import Facts
    from edgeguard.signals import Stop

ACCEPTABLE = ("no-previous-release", "mixed-releases", "origins-sick", "closed", "unguarded")
"""Refusals of preflight that a person may accept by name."""


@dataclass
class Deployment:
    """One deploy under way: what it was asked for, and what its steps have found out so far."""

    id: str
    environment: Environment
    stop: Stop
    say: Callable[..., None]
    ref: str | None = None
    purge_keys: tuple[str, ...] = ()
    accept: Collection[str] = ()
    record: Record = field(init=False)
    release: Release | None = None
    generation: Generation | None = None
    generations: set[str | None] = field(default_factory=set)  # that were current when this deploy began
    closed: bool = False  # whether the close has begun
    opened: bool = False  # whether the opening has begun
    sick: bool = False  # the origins were not healthy when an unwinding looked, and nothing had been closed
    renewals: list[Renewal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = Record(self.environment.cluster, self.environment.name)

    @property
    def first(self) -> bool:
        """Whether nothing was ever deployed here."""
        return self.generations == {None}

    @property
    def previous(self) -> str | None:
        """The generation that was current when this deploy began, if the servers agreed on one."""
        return _agreed(self.generations)

    @property
    def guarded(self) -> bool:
        """Whether this deploy claims grace; a person can accept to go without."""
        return "unguarded" not in self.accept

    @property
    def epoch(self) -> int:
        return self.record.epoch

    @property
    def target(self) -> Generation:
        if self.generation is None:
            raise AssertionError("build comes first")
        return self.generation

    def renew(self, name: str, interval: float, act: Callable[[], None]) -> Renewal:
        """Begin to renew something until the deploy ends; a renewal that fails is only told."""
        renewal = Renewal(name, interval, act, failed=self._renewal_failed).start()
        self.renewals.append(renewal)
        return renewal

    def _renewal_failed(self, name: str, failure: EdgeguardError) -> None:
        self.say("warning", text=f"renewing the {name} failed: {failure.message}")


@dataclass
class Step:
    """A step without memory: nothing to see before, nothing to restore."""

    deployment: Deployment

    name = ""

    def before(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> None:
        """Nothing to restore."""

    @property
    def environment(self) -> Environment:
        return self.deployment.environment


class Build(Step):
    """Build the image, or find the one that these inputs gave before."""

    name = "build"

    def do(self) -> Facts:
        deployment, settings = self.deployment, self.environment.settings
        release = image.build(
            settings.application,
            ref=deployment.ref,
            root=settings.cluster.root,
            cancelled=deployment.stop.asked,
            output=lambda line: deployment.say("output", text=self.environment.redact(line)),
        )
        for warning in application.warnings(release.application, settings.application):
            deployment.say("warning", text=warning)
        variables = application.runtime_variables(
            release.application,
            settings=settings.application,
            environment=self.environment.name,
            branch=settings.application.branch,
            tree=release.tree,
            image=release.folder,
        )
        deployment.release = release
        deployment.generation = Generation(deployment.id, release.digest, release.folder, variables)
        return {"release": release.digest, "ref": release.ref, "commit": release.commit, "reused": release.reused}


class Lock(Step):
    """Take the environment's lock on its servers, and show from then on that its holder lives."""

    name = "lock"

    def do(self) -> Facts:
        record = self.deployment.record
        record.take(self.deployment.id)
        self.deployment.renew("lock", RENEWAL, record.renew)
        return {"epoch": record.epoch}

    def undo(self, before: Facts) -> None:  # noqa: ARG002 (there is nothing to restore but "nobody's")
        if self.deployment.renewals:  # only where the lock was really taken
            self.deployment.renewals[0].stop()
            self.deployment.record.release()


class Preflight(Step):
    """Look at everything that could make this deploy visible, before anything is touched."""

    name = "preflight"

    def do(self) -> Facts:
        servers = self.environment.cluster.state()
        self.deployment.generations = {server.generation for server in servers}
        reasons = [*self._cluster(servers), *self._edge()]
        if not reasons and self.deployment.previous is not None and "origins-sick" not in self.deployment.accept:
            try:
                ask_front_door(self.deployment, None)
            except OriginsUnhealthy as exc:
                reasons.append(("origins-sick", exc.message))
        refused = [(name, text) for name, text in reasons if name not in self.deployment.accept]
        if refused:
            raise Refused(
                "; ".join(text for _, text in refused),
                "To go on all the same: " + " ".join(f"--accept {name}" for name, _ in refused),
            )
        previous = _agreed(server.release for server in servers)
        return {"previous": previous, "servers": [server.name for server in servers]}

    def _cluster(self, servers: tuple[ServerState, ...]) -> list[tuple[str, str]]:
        if self.deployment.first:
            return [("no-previous-release", "nothing was ever deployed here, so there is nothing to go back to")]
        if self.deployment.previous is None or _agreed(server.running for server in servers) is None:
            said = ", ".join(
                f"{server.name} {short(server.release)} runs {short(server.running)}" for server in servers
            )
            return [("mixed-releases", f"the servers don't run one release: {said}")]
        if not all(server.open for server in servers):
            return [("closed", "the cluster is closed already")]
        return []

    def _edge(self) -> list[tuple[str, str]]:
        if not self.deployment.guarded:
            return []
        policy = self.environment.edge.policy()
        if policy.revision is None:
            return [("unguarded", "the policy is not installed in the service, so visitors would see the closure")]
        if policy.differences:
            return [("unguarded", f"the policy in the service is not ours: {', '.join(policy.differences)}")]
        return []


class Stage(Step):
    """Put the image and the variables beside what runs."""

    name = "stage"

    def do(self) -> Facts:
        self.environment.cluster.stage(self.deployment.epoch, self.deployment.target)
        return {}


class ClaimGrace(Step):
    """Raise the grace and set hold in one write; go on only when the edge shows it."""

    name = "claim"

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self._nonce = new_nonce()
        self._renewal: Renewal | None = None

    @property
    def slot(self) -> str:
        return DEPLOY_SLOTS[self.deployment.epoch % 2]

    def do(self) -> Facts:
        if not self.deployment.guarded:
            self.deployment.say("warning", text="no grace is claimed, as accepted: visitors will see the closure")
            return {}
        settings = self.environment.settings
        claim = self._claim()
        audit = {"who": this_holder(), "why": f"deploy {self.deployment.id}", "grace": claim.grace}
        self.environment.edge.write({self.slot: claim.value(), audit_key(): json.dumps(audit)})
        confirmed = confirm(
            self.environment.edge,
            {self.slot: claim.value()},
            written_at=time.monotonic(),
            propagation=settings.edge.propagation,
            timeout=settings.edge.confirm_timeout,
            clock=time.monotonic,
            sleep=self.deployment.stop.sleep,
        )
        self._write()  # confirming has taken part of the hold's life
        self.hold()
        if self._moved():
            raise ClusterError("the servers changed while the claim was confirmed", "See `edgeguard status`.")
        return {
            "base": settings.edge.base_grace,
            "claimed": claim.grace,
            "until": claim.until,
            "confirmed_seconds": round(confirmed.seconds, 3),
            "nodes": sorted(confirmed.nodes),
        }

    def _moved(self) -> bool:
        """The cheap part of preflight once more: whether the servers are not as they were then."""
        return {server.generation for server in self.environment.cluster.state()} != self.deployment.generations

    def hold(self) -> None:
        """Renew claim and hold from now on."""
        if self.deployment.guarded:
            self._renewal = self.deployment.renew("claim", self.environment.settings.claim.hold / 3, self._write)

    def hold_again(self) -> None:
        """Set hold at once, as good as it goes, and renew it: before a cluster that was opened is closed again."""
        if self.deployment.guarded:
            try:
                self._write()
            except EdgeError as exc:  # the claim is in force all the same
                self.deployment.say("warning", text=f"hold is not set again yet: {exc.message}")
            self.hold()

    def let_go_of_hold(self) -> None:
        """The claim stays in force; the edge asks the origin first again. A hold that stays ends by itself soon."""
        if self.deployment.guarded:
            self._end_renewal()
            try:
                self.environment.edge.write({self.slot: self._claim().without_hold().value()})
            except EdgeError as exc:
                lasting = self.environment.settings.claim.hold
                self.deployment.say("warning", text=f"hold stays for at most {lasting} s: {exc.message}")

    def drop(self) -> None:
        """Whoever holds the lock may clear both deploy slots: one may be left from a deploy that died. Whoever lost
        the lock may not, as the other slot may be its successor's."""
        self._end_renewal()
        if self.deployment.guarded:
            slots: tuple[str, ...] = DEPLOY_SLOTS
            try:
                self.deployment.record.renew()
            except ClusterError:
                slots = (self.slot,)
            self.environment.edge.write(dict.fromkeys(slots, FREE))

    def undo(self, before: Facts) -> None:  # noqa: ARG002 (a slot of one's own was free)
        if self.deployment.sick:
            self._end_renewal()
            lasting = self.environment.settings.claim.duration
            self.deployment.say(
                "warning", text=f"the origins are not healthy: the claim stays, for at most {lasting} s"
            )
            return
        try:
            self.drop()
        except EdgeError as exc:  # a claim that stays does no harm: it ends by itself
            lasting = self.environment.settings.claim.duration
            self.deployment.say("warning", text=f"the claim stays for at most {lasting} s: {exc.message}")

    def _end_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()

    def _write(self) -> None:
        self.environment.edge.write({self.slot: self._claim().value()})

    def _claim(self) -> Claim:
        claim, edge, now = self.environment.settings.claim, self.environment.settings.edge, int(time.time())
        grace = min(edge.ceiling, edge.base_grace + claim.duration)
        return Claim(self.slot, now + claim.duration, grace, self._nonce, hold_until=now + claim.hold)


class Proof(Step):
    """Does nothing; taking it back waits for healthy origins. So an unwinding can't drop the claim over sick ones."""

    name = "proof"

    def do(self) -> Facts:
        return {}

    def undo(self, before: Facts) -> None:  # noqa: ARG002
        if self.deployment.first:
            return
        if not self.deployment.closed:  # sick origins are not of this deploy's making, and waiting would not help
            try:
                ask_front_door(self.deployment, None)
            except OriginsUnhealthy:
                self.deployment.sick = True
            return
        wait_healthy(self.deployment, None)
        if self.deployment.opened:
            purge(self.deployment)


class StopTasks(Step):
    """Terminate background tasks. They start again when the cluster opens."""

    name = "stop-tasks"

    def do(self) -> Facts:
        return {"tasks": self.environment.cluster.stop_tasks(self.deployment.epoch)}


class Close(Step):
    """The gate refuses. To take it back, the previous release must be whole on every server."""

    name = "close"

    def before(self) -> Facts:
        return {"open": all(server.open for server in self.environment.cluster.state())}

    def do(self) -> Facts:
        until = time.time() + self.environment.settings.cluster.planned_closure
        self.deployment.closed = True
        self.deployment.record.note(deploy={"id": self.deployment.id})
        self.environment.cluster.close(self.deployment.epoch, Closure(self.deployment.id, until))
        return {}

    def undo(self, before: Facts) -> None:
        previous = self.deployment.previous
        if before["open"] and previous is not None:
            self.environment.cluster.check(previous_generation(self.deployment))
            self.environment.cluster.open(self.deployment.epoch, previous)
        self.deployment.record.note(deploy=None)


class Drain(Step):
    """Wait until the requests that were let through are answered, then cut the rest."""

    name = "drain"

    def do(self) -> Facts:
        limit = self.environment.settings.cluster.drain_timeout
        return {"cut": self.environment.cluster.drain(self.deployment.epoch, limit)}


class Swap(Step):
    """Stop the old processes, make the new generation current, start the new ones; on every server."""

    name = "swap"

    def before(self) -> Facts:
        return {"generation": self.deployment.previous}

    def do(self) -> Facts:
        self.environment.cluster.swap(self.deployment.epoch, self.deployment.target.name)
        return {}

    def undo(self, before: Facts) -> None:
        if before["generation"] is None and not self.deployment.first:
            raise ClusterError(
                "the servers ran different releases before, so there is none to go back to",
                "The cluster stays closed; free the lock with `edgeguard unlock` and deploy a release that works.",
            )
        self.environment.cluster.swap(self.deployment.epoch, before["generation"])


class Hook(Step):
    """The deploy hook, on one server."""

    name = "hook"
    hook = "deploy"

    def do(self) -> Facts:
        settings = self.environment.settings.cluster
        result = self.environment.cluster.run_hook(
            self.deployment.epoch,
            self.hook,
            settings.hook_server or settings.servers[0],
            limit=settings.hook_timeout,
            cancelled=self.deployment.stop.asked,
        )
        output = self.environment.redact(result.output)
        for line in output.splitlines():
            self.deployment.say("output", text=line)
        if result.code != 0:
            self.deployment.stop.check()
            ended, remedy = f"exited {result.code}", "Mend the hook, commit it, and deploy again."
            if result.code is None:
                ended = f"was ended at its limit of {settings.hook_timeout:g} s"
                remedy = "Find out what it waited for, or raise cluster.hook_timeout, and deploy again."
            last = output.strip().splitlines()[-1:] or ["no output"]
            raise HookFailed(f"the {self.hook} hook {ended} on {result.server}: {last[0]}", remedy)
        return {"server": result.server}


class Check(Step):
    """Each server, asked behind the gate, is healthy and runs the new release only."""

    name = "check"

    def do(self) -> Facts:
        self.environment.cluster.check(self.deployment.target)
        return {}


class Open(Step):
    """The gate lets requests through; hold is given back."""

    name = "open"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def do(self) -> Facts:
        self.deployment.opened = True
        self.environment.cluster.open(self.deployment.epoch, self.deployment.target.name)
        self._claim.let_go_of_hold()
        return {}

    def undo(self, before: Facts) -> None:  # noqa: ARG002
        until = time.time() + self.environment.settings.cluster.planned_closure
        self._claim.hold_again()
        self.environment.cluster.close(self.deployment.epoch, Closure(self.deployment.id, until))
        self.environment.cluster.drain(self.deployment.epoch, self.environment.settings.cluster.drain_timeout)


class Healthy(Step):
    """Good rounds through the front door, at a URL that no cache can answer."""

    name = "healthy"

    def do(self) -> Facts:
        wait_healthy(self.deployment, self.deployment.target.release)
        return {}


class Purge(Step):
    """Soft-purge the keys that were given and the application's release key."""

    name = "purge"

    def do(self) -> Facts:
        return purge(self.deployment)


class ReleaseClaim(Step):
    """Drop this deploy's claim, and no other."""

    name = "release"

    def __init__(self, deployment: Deployment, claim: ClaimGrace) -> None:
        super().__init__(deployment)
        self._claim = claim

    def do(self) -> Facts:
        self._claim.drop()
        return {}


class PostDeploy(Hook):
    """The post-deploy hook, on one server, while the cluster is open."""

    name = "post-deploy"
    hook = "post_deploy"


class Finish(Step):
    """Write down what serves now, remove what nothing uses, let go of the lock."""

    name = "finish"

    def do(self) -> Facts:
        deployment = self.deployment
        keep = [name for name in (deployment.target.name, deployment.previous) if name]
        try:
            self.environment.cluster.prune(deployment.epoch, keep)
        finally:  # what can't be removed must not keep the lock
            opened = {"generation": deployment.target.name, "release": deployment.target.release}
            deployment.record.note(deploy=None, opened=opened)
            for renewal in deployment.renewals:
                renewal.stop()
            deployment.record.release()
        return {}


def purge(deployment: Deployment) -> Facts:
    """Softly purge this deploy's keys; says how many keys in how many requests, and the edge's ids."""
    release_key = deployment.environment.settings.purge.release_key
    keys = list(dict.fromkeys([*deployment.purge_keys, *([release_key] if release_key else [])]))
    purged = deployment.environment.edge.purge(keys) if keys else ()
    ids = [name for call in purged for name in call.ids]
    return {"keys": sum(call.keys for call in purged), "requests": len(purged), "ids": ids}


def wait_healthy(deployment: Deployment, release: str | None) -> None:
    """Wait for good rounds in a row through the front door.

    Raises:
        OriginsUnhealthy: there were not enough within `edge.healthy_timeout`; says what the last bad one was.
    """
    settings = deployment.environment.settings.edge
    deadline = time.monotonic() + settings.healthy_timeout
    good = 0
    while good < settings.healthy_rounds:
        try:
            ask_front_door(deployment, release)
            good += 1
        except OriginsUnhealthy:
            if time.monotonic() > deadline:
                raise
            good = 0
            deployment.stop.sleep(0.2)


def ask_front_door(deployment: Deployment, release: str | None) -> None:
    """One question at a URL that is a sure miss: 200, not stale, and (where it can be told) from this release.

    Raises:
        OriginsUnhealthy: the answer is another.
    """
    settings = deployment.environment.settings.edge
    separator = "&" if "?" in settings.health_url else "?"
    url = f"{settings.health_url}{separator}edgeguard={secrets.token_hex(8)}"
    answer = ask(url, headers={"Edgeguard-Show": settings.status_name}, timeout=10)
    if answer.status != 200:  # noqa: PLR2004 (HTTP)
        raise OriginsUnhealthy(f"{settings.health_url} answers {answer.status} through the front door")
    if "edgeguard-stale" in answer.headers:
        raise OriginsUnhealthy(f"{settings.health_url} is answered with a stale copy")
    if release is not None and settings.release_header is not None:
        found = answer.headers.get(settings.release_header.lower())
        if found != release:
            raise OriginsUnhealthy(f"{settings.health_url} is answered by release {short(found)}, not {short(release)}")


def previous_generation(deployment: Deployment) -> Generation:
    """What was current before, as the servers hold it."""
    previous = deployment.previous or ""
    state = deployment.environment.cluster.state()
    release = _agreed(server.release for server in state)
    if release is None:
        raise OriginsUnhealthy("the servers don't agree on one release")
    root = deployment.environment.settings.cluster.root
    return Generation(previous, release, root / "servers" / state[0].name / "generations" / previous / "image")


def audit_key() -> str:
    """The dictionary key of an audit line: its time, and something that no other writer has."""
    return f"audit-{int(time.time())}-{new_nonce()}"


def short(release: str | None) -> str:
    """A digest as people read it."""
    return release[:12] if release else "none"


def _agreed(values: Any) -> str | None:  # noqa: ANN401 (any iterable of names)
    different = set(values)
    return different.pop() if len(different) == 1 else None
