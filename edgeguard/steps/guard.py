"""The deploy's claim on the grace, and the proof that it is no longer needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard import front_door
from edgeguard.edge import audit
from edgeguard.edge.confirm import clock_difference, confirm
from edgeguard.edge.grace import DEPLOY_SLOTS, FREE, Claim, new_nonce, parse
from edgeguard.errors import ClusterError, EdgeError, EdgeguardError, Fenced, OriginsUnhealthy
from edgeguard.moments import rfc3339
from edgeguard.steps.after import purge
from edgeguard.steps.deployment import UNGUARDED, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.renewal import Renewal
    from edgeguard.saga import Facts
    from edgeguard.steps.deployment import Deployment


class ClaimGrace(Step):
    """Raise the grace and set hold in one write; go on only when the edge shows it."""

    name = "claim"

    def __init__(self, deployment: Deployment, *, lasting: int | None = None) -> None:
        """`lasting`: how long the claim lasts if nobody renews it, in seconds (claim.duration by default)."""
        super().__init__(deployment)
        self._lasting = lasting or deployment.environment.settings.claim.duration
        self._nonce = new_nonce()
        self._ahead = 0.0  # the edge's clock, by which claims end, of this machine's
        self._renewal: Renewal | None = None
        self._beneath: Claim | None = None  # a pipeline's, which was in the slot before

    @property
    def slot(self) -> str:
        return DEPLOY_SLOTS[self.deployment.epoch % 2]

    def do(self) -> Facts:
        if not self.deployment.claims:
            return self._unclaimed()
        settings = self.environment.settings
        self._ahead = clock_difference(self.environment.edge) or 0.0
        self._refuse_if_replaced()
        items, why = self.environment.edge.items(), self.deployment.id
        self._beneath = _of_pipeline(items, self.slot)
        claim = self._claim()
        line = audit.line(items, at=time.time() + self._ahead, did="deploy", why=why, slot=self.slot, claim=claim)
        self.environment.edge.write({self.slot: claim.value(), **line})
        confirmed = confirm(
            self.environment.edge,
            {self.slot: claim.value()},
            propagation=settings.edge.propagation,
            timeout=settings.edge.confirm_timeout,
            sleep=self.deployment.stop.sleep,
        )
        self._write()  # confirming has taken part of the hold's life
        self.hold()
        if self.deployment.generations and self._moved():
            raise ClusterError("the servers changed while the claim was confirmed", "See `edgeguard status`.")
        return {
            "base": settings.edge.base_grace,
            "claimed": claim.grace,
            "until": claim.until,
            "confirmed_seconds": round(confirmed.seconds, 3),
            "nodes": sorted(confirmed.nodes),
        }

    def _unclaimed(self) -> Facts:
        """Nothing is written, and nothing can be confirmed. EdgeError where the setting is not as it has to be."""
        edge = self.environment.settings.edge
        if not self.deployment.guarded:
            text = "no grace is claimed (--accept unguarded): visitors will see the closure"
            self.deployment.say("warning", name=UNGUARDED, text=text)
            return {}
        if wrong := self.environment.edge.policy().differences:
            raise EdgeError(
                f"the service's own grace is not as edge.mechanism wants it: {', '.join(wrong)}",
                f"edgeguard edge install {self.environment.name}, long before anything is closed.",
            )
        self.deployment.say(
            "warning",
            text="no claim is made (edge.mechanism is settings): the edge asks the origin for each page, then serves "
            f"what it has, at most {edge.ceiling} s past its time; nothing can be confirmed",
        )
        return {"mechanism": edge.mechanism, "base": edge.ceiling}

    def _moved(self) -> bool:
        """The cheap part of preflight once more: whether the servers are not as they were then."""
        return {server.generation for server in self.deployment.serving.state()} != self.deployment.generations

    def hold(self) -> None:
        """Renew claim and hold from now on."""
        if self.deployment.claims:
            self._renewal = self.deployment.renew("claim", self.environment.settings.claim.hold / 3, self._write)

    def hold_again(self) -> None:
        """Set hold at once, as good as it goes, and renew it: before a cluster that was opened is closed again."""
        if self.deployment.claims:
            try:
                self._write()
            except EdgeError as exc:  # the claim is in force all the same
                self.deployment.say("warning", text=f"hold is not set again yet: {exc.message}")
            self.hold()

    def let_go_of_hold(self) -> None:
        """The claim stays in force; the edge asks the origin first again. A hold that stays ends by itself soon."""
        if self.deployment.claims:
            self._end_renewal()
            try:
                self._write(self._claim().without_hold())
            except EdgeError as exc:
                lasting = self.environment.settings.claim.hold
                self.deployment.say("warning", text=f"hold stays for at most {lasting} s: {exc.message}")

    def lengthen(self) -> str | None:
        """One long claim instead of the renewed one, since a person is needed. Returns until when (RFC 3339)."""
        if not self.deployment.claims:
            return None
        self._end_renewal()
        settings = self.environment.settings
        claim = self._claim(settings.claim.held)
        try:
            self._write(claim)
        except EdgeError as exc:
            lasting = settings.claim.duration
            self.deployment.say("warning", text=f"the claim stays as it was, for at most {lasting} s: {exc.message}")
            return None
        return rfc3339(claim.until)

    def keep_long(self, *, until: Callable[[], bool]) -> None:
        """Renew the long claim ahead of its end, until that is so. Interrupted when a signal comes."""
        settings = self.environment.settings
        renewed = time.monotonic()
        while not until():
            self.deployment.stop.sleep(settings.cluster.lease)
            if time.monotonic() - renewed > settings.claim.held / 3:
                self.lengthen()
                renewed = time.monotonic()

    def drop(self) -> None:
        """Whoever holds the lock may clear both deploy slots: one may be left from a deploy that died. Whoever lost
        the lock may not (Fenced), as either may be a successor's; who can't tell clears its own. A pipeline's claim is
        given back by its own hook."""
        self._end_renewal()
        if self.deployment.claims:
            slots: tuple[str, ...] = DEPLOY_SLOTS
            try:
                self.deployment.record.renew()
            except Fenced:
                raise
            except ClusterError:
                slots = (self.slot,)
            items = self.environment.edge.items()
            freed = {slot: FREE for slot in slots if not _of_pipeline(items, slot)}
            if self._beneath and self.slot in freed:
                freed[self.slot] = self._beneath.without_hold().value()
            self.environment.edge.write(freed)

    def undo(self, before: Facts) -> None:
        if self.deployment.sick and self.deployment.claims:
            self._end_renewal()
            lasting = self.environment.settings.claim.duration
            self.deployment.say(
                "warning", text=f"the origins are not healthy: the claim stays, for at most {lasting} s"
            )
            return
        try:
            self.drop()
        except EdgeError as exc:  # a claim that stays does no harm: it ends by itself
            text = f"a claim, if one was written, stays for at most {self._lasting} s: {exc.message}"
            self.deployment.say("warning", text=text)

    def _end_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()

    def _write(self, claim: Claim | None = None) -> None:
        """Write this claim, or the one of now."""
        self._refuse_if_replaced()
        self.environment.edge.write({self.slot: (claim or self._claim()).value()})

    def _refuse_if_replaced(self) -> None:
        """Raise Fenced where somebody else took the lock: the edge is theirs, too, and a claim of ours would stay in
        force after they have given theirs back."""
        if self.deployment.record.lost:
            raise Fenced("a newer holder of the lock is at work: the claim is theirs", "Leave it to them.")

    def _claim(self, lasting: int | None = None) -> Claim:
        claim, edge, now = (
            self.environment.settings.claim,
            self.environment.settings.edge,
            int(time.time() + self._ahead),
        )
        lasting = lasting or self._lasting
        until, grace = now + lasting, min(edge.ceiling, edge.base_grace + lasting)
        if self._beneath:  # what a pipeline has claimed is not shortened meanwhile
            until, grace = max(until, self._beneath.until), max(grace, self._beneath.grace)
        return Claim(self.slot, until, grace, self._nonce, hold_until=now + claim.hold)


def _of_pipeline(items: Mapping[str, str], slot: str) -> Claim | None:
    """The claim in a slot, in force or over, if `hook` or `wrap` made it."""
    claim = parse(slot, items.get(slot, ""))
    return claim if claim is not None and claim.of_pipeline else None


class Proof(Step):
    """Does nothing; taking it back waits for healthy origins. So an unwinding can't drop the claim over sick ones."""

    name = "proof"

    def undo(self, before: Facts) -> None:
        if self.deployment.first:
            return
        if not self.deployment.was_open:  # closed before this deploy, and closed again: nothing to prove
            self.deployment.sick = True
            return
        if not self.deployment.closed:  # sick origins are not of this deploy's making, and waiting would not help
            try:
                front_door.ask_once(self.environment.settings.edge, None)
            except OriginsUnhealthy:
                self.deployment.sick = True
            return
        front_door.wait_healthy(self.environment.settings.edge, None, sleep=self.deployment.stop.sleep)
        if self.deployment.opened:  # pages of the release that failed may be cached; visitors come before that
            try:
                purge(self.deployment)
            except EdgeguardError as exc:
                self.deployment.say("warning", text=f"pages of the failed release may be cached: {exc.message}")
