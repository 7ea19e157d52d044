"""The deploy's claim on the grace, and the proof that it is no longer needed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from edgeguard.deploy.deployment import UNGUARDED
from edgeguard.deploy.steps.after import purge
from edgeguard.deploy.steps.step import Step
from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, Claim, live, new_nonce, parse
from edgeguard.edge.clock import edge_clock
from edgeguard.errors import ClusterError, EdgeError, EdgeguardError, Fenced, OriginsUnhealthy
from edgeguard.grace import audit
from edgeguard.grace.confirm import confirm
from edgeguard.site import front_door
from edgeguard.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.deploy.deployment import Deployment
    from edgeguard.deploy.saga import Facts
    from edgeguard.machine.renewal import Renewal


class ClaimGrace(Step):
    """Raise the grace and set hold in one write; go on only when the edge shows it."""

    name = "claim"

    def __init__(self, deployment: Deployment, *, lasting: int | None = None) -> None:
        """`lasting`: how long the claim lasts if nobody renews it, in seconds (claim.duration by default)."""
        super().__init__(deployment)
        self._lasting = lasting or deployment.environment.settings.claim.duration
        self._nonce = new_nonce()
        self._now: Callable[[], float] = time.time  # the edge's clock, by which claims end
        self._renewal: Renewal | None = None
        self._found: dict[str, str] = {}  # what the deploy slots held before
        self._least: Claim | None = None  # what was in this slot, or was claimed since: it is never shortened

    @property
    def slot(self) -> str:
        return DEPLOY_SLOTS[self.deployment.epoch % 2]

    def do(self) -> Facts:
        if not self.deployment.claims:
            return self._unclaimed()
        settings = self.environment.settings
        self._now = edge_clock(self.environment.edge)
        self._refuse_if_replaced()
        items, why = self.environment.edge.items(), self.deployment.id
        self._look(items)
        claim = self._claim()
        line = audit.line(items, at=self._now(), did="deploy", why=why, slot=self.slot, claim=claim)
        self.environment.edge.write({self.slot: claim.value(), **line})
        confirmed = confirm(
            self.environment.edge,
            {self.slot: claim.value()},
            propagation=settings.edge.propagation,
            timeout=settings.edge.confirm_timeout,
            grace=claim.grace,
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

    def _look(self, items: Mapping[str, str]) -> None:
        """See what the deploy slots hold, once: no more than that is given back later. A pipeline's claim that will be
        written over goes into the record, so that it comes back whoever ends this deploy."""
        if self._found:
            return
        self._found = {slot: items.get(slot, "") for slot in DEPLOY_SLOTS}
        self._least = parse(self.slot, self._found[self.slot])
        if self._least is not None and self._least.of_pipeline:
            record = self.deployment.record
            record.note(beneath={**record.beneath, self.slot: self._least.without_hold().value()})

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
        """One long claim instead of the renewed one, since a person is needed. Returns until when (RFC 3339).

        Nobody will be there to write it anew. So it is in both slots (but over no pipeline's claim): a late write of a
        process that lost the lock can take away one of them.
        """
        if not self.deployment.claims:
            return None
        self._end_renewal()
        settings = self.environment.settings
        try:
            items = self.environment.edge.items()
            self._look(items)
            slots = [slot for slot in DEPLOY_SLOTS if slot == self.slot or not _of_pipeline(items, slot)]
            claim = self._claim(settings.claim.held)
            self._write(claim, *slots)
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
        """Give back this deploy's claim, and those that it found: one may be left from a deploy that died. Whoever lost
        the lock may not (Fenced). A claim that came since is a successor's, and stays. A pipeline's is given back by
        its own hook, and comes back where this deploy wrote over it."""
        self._end_renewal()
        if not self.deployment.claims:
            return
        self._refuse_if_replaced()
        items = self.environment.edge.items()
        self._look(items)
        ours = {self._nonce, *(claim.nonce for slot in DEPLOY_SLOTS if (claim := parse(slot, self._found[slot])))}
        there = {slot: claim for slot in DEPLOY_SLOTS if (claim := parse(slot, items.get(slot, "")))}
        record = self.deployment.record
        freed = {
            slot: record.beneath.get(slot, FREE)
            for slot, claim in there.items()
            if claim.nonce in ours and not claim.of_pipeline
        }
        if freed:
            self.environment.edge.write(freed)
        if record.beneath:
            record.note(beneath={})

    def _restore(self) -> None:
        """Put back what this slot held before, if it was not this deploy's own to give back: nothing was proved yet."""
        self._end_renewal()
        if self.deployment.claims and self._found:
            self._refuse_if_replaced()
            before = parse(self.slot, self._found[self.slot])
            alive = before is not None and before.until > self._now()
            self.environment.edge.write({self.slot: before.without_hold().value() if before and alive else FREE})

    def undo(self, before: Facts) -> None:
        if self.deployment.sick and self.deployment.claims:
            self._end_renewal()
            lasting = self.environment.settings.claim.duration
            self.deployment.say(
                "warning", text=f"the origins are not healthy: the claim stays, for at most {lasting} s"
            )
            return
        try:
            if self.deployment.proved:
                self.drop()
            else:
                self._restore()
        except EdgeError as exc:  # a claim that stays does no harm: it ends by itself
            text = f"a claim, if one was written, stays for at most {self._lasting} s: {exc.message}"
            self.deployment.say("warning", text=text)

    def _end_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()

    def _write(self, claim: Claim | None = None, *slots: str) -> None:
        """Write this claim, or the one of now, to these slots, or to its own."""
        self._refuse_if_replaced()
        claim = self._least = claim or self._claim()
        self.environment.edge.write({slot: replace(claim, slot=slot).value() for slot in slots or (self.slot,)})

    def _refuse_if_replaced(self) -> None:
        """Raise Fenced where somebody else took the lock: the edge is theirs, too, and a claim of ours would stay in
        force after they have given theirs back."""
        if self.deployment.record.lost:
            raise Fenced("a newer holder of the lock is at work: the claim is theirs", "Leave it to them.")

    def _claim(self, lasting: int | None = None) -> Claim:
        """The claim from now on; it ends no sooner, and grants no less, than what was in the slot."""
        settings, now = self.environment.settings, int(self._now())
        lasting = lasting or self._lasting
        until, grace = now + lasting, min(settings.edge.ceiling, settings.edge.base_grace + lasting)
        for least in live([self._least] if self._least else [], now=now, ceiling=settings.edge.ceiling):
            until, grace = max(until, least.until), max(grace, least.grace)
        return Claim(self.slot, until, grace, self._nonce, hold_until=now + settings.claim.hold)


def _of_pipeline(items: Mapping[str, str], slot: str) -> bool:
    """Whether a slot has the claim, in force or over, that a pipeline's hook made."""
    claim = parse(slot, items.get(slot, ""))
    return claim is not None and claim.of_pipeline


class Proof(Step):
    """Does nothing; taking it back waits for healthy origins. So an unwinding can't drop the claim over sick ones."""

    name = "proof"

    def undo(self, before: Facts) -> None:
        if self.deployment.first:
            self.deployment.proved = True  # nothing was ever served
            return
        if not self.deployment.was_open:  # closed before this deploy, and closed again: nothing to prove
            self.deployment.sick = True
            return
        if not self.deployment.closed:  # sick origins are not of this deploy's making, and waiting would not help
            try:
                front_door.ask_once(self.environment.settings.edge, None)
                self.deployment.proved = True
            except OriginsUnhealthy:
                self.deployment.sick = True
            return
        front_door.wait_healthy(self.environment.settings.edge, None, sleep=self.deployment.stop.sleep)
        self.deployment.proved = True
        if self.deployment.opened:  # pages of the release that failed may be cached; visitors come before that
            try:
                purge(self.deployment)
            except EdgeguardError as exc:
                self.deployment.say("warning", text=f"pages of the failed release may be cached: {exc.message}")
