"""A deploy's own claim on the grace: taken before the cluster closes, held while it is closed, then given back."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, Claim, live, new_nonce, parse
from edgeguard.edge.clock import edge_clock
from edgeguard.errors import EdgeError, Fenced, Interrupted
from edgeguard.grace import audit, claims
from edgeguard.times import duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.cluster.lock import SharedRecord
    from edgeguard.environment import EdgeSide
    from edgeguard.machine.renewal import Renewal
    from edgeguard.machine.signals import Stop

    Renew = Callable[[str, float, Callable[[], None]], Renewal]
    """A function that calls an act at an interval in seconds, under a name, until the deploy ends."""


class DeployClaim:
    """The claim of one deploy. Its slot follows from the lock's epoch, so two holders in a row never share a slot.

    Only the holder of the lock may write to it: each write raises Fenced if somebody else took the lock. A pipeline's
    claim (`hook pre`, `wrap`) knows no lock and may be in the slot already. The deploy writes over it, keeps it in the
    record (`beneath`), and puts it back in the end, whichever process ends the deploy.
    """

    def __init__(
        self,
        environment: EdgeSide,
        record: SharedRecord,
        deploy: str,
        *,
        stop: Stop,
        say: Callable[..., None],
        renew: Renew,
    ) -> None:
        """`deploy` is the deploy's id, for the audit. Warnings go to `say`, as `say("warning", text=…)`."""
        self._environment = environment
        self._edge = environment.edge
        self._settings = environment.settings
        self._record = record
        self._deploy = deploy
        self._stop = stop
        self._say = say
        self._renew = renew
        self._lasting = environment.settings.claim.duration  # seconds, if nobody renews it
        self.long = False  # whether this process has made one long claim of it
        self._nonce = new_nonce()
        self._clock: Callable[[], float] | None = None  # the edge's, once it was asked
        self._renewal: Renewal | None = None
        self._told: set[str] = set()  # the slots of which the audit says that this deploy holds them
        self._found: dict[str, str] = {}  # what the deploys' slots held before this deploy wrote to them
        self._least: Claim | None = None  # the claim that was in the slot before, or the one that was written last

    @property
    def slot(self) -> str:
        """The deploys' slot that belongs to this epoch."""
        return DEPLOY_SLOTS[self._record.epoch % 2]

    def now(self) -> float:
        """Unix time by the edge's clock, which is asked once. Without an answer, by this machine's."""
        if self._clock is None:
            self._clock = edge_clock(self._edge)
        return self._clock()

    def take(self, *, lasting: int | None = None) -> dict[str, Any]:
        """Raise the grace and set hold in one write, wait until the edge shows it, and renew both from then on.

        The claim lasts `lasting` seconds if nobody renews it (claim.duration by default). Returns the report's facts
        about it: durations in seconds, `until` as Unix time of the edge's clock.

        Raises:
            EdgeError: the claim could not be written.
            NotConfirmed: it is written, but the edge does not show it, or grants less.
            Fenced: somebody else took the lock.
        """
        self._lasting = lasting or self._lasting
        seen = claims.look(self._environment, say=lambda text: self._say("warning", text=text))
        self._clock = seen.clock
        self._refuse_if_replaced()
        self._remember(seen.items)
        claim = self._from_now()
        claims.write(self._environment, seen, self.slot, claim, did="deploy", why=self._deploy)
        self._told.add(self.slot)
        confirmed = claims.wait_until_shown(self._environment, self.slot, claim, sleep=self._stop.sleep)
        self._write()  # part of the hold's time has passed while the claim was confirmed
        self._hold()
        return {
            "base": self._settings.edge.base_grace,
            "claimed": claim.grace,
            "until": claim.until,
            "confirmed_seconds": round(confirmed.seconds, 3),
            "nodes": sorted(confirmed.nodes),
        }

    def hold_again(self) -> None:
        """Set hold at once and renew it, before a cluster that was opened is closed again. A failure is a warning."""
        try:
            self._write()
        except EdgeError as exc:  # the claim is in force all the same
            self._say("warning", text=f"hold is not set again yet: {exc.message}")
        self._hold()

    def let_go_of_hold(self) -> None:
        """Let the edge ask the origin first again; the claim stays in force. If this fails, hold ends by itself."""
        self._end_renewal()
        try:
            self._write(self._from_now().without_hold())
        except EdgeError as exc:
            self._say("warning", text=f"hold stays for at most {duration(self._settings.claim.hold)}: {exc.message}")

    def lengthen(self) -> str | None:
        """Make one long claim (claim.held) in place of the renewed one, since a person has to decide.

        It is written to both slots, since a process that lost the lock may still write to one of them, and nobody will
        renew this claim. A slot with a pipeline's claim is left alone, unless it is this deploy's own slot.

        Returns its end (RFC 3339). None: it could not be written, and the claim is as it was.
        """
        self._end_renewal()
        try:
            items = self._edge.items()
            self._remember(items)
            slots = [slot for slot in DEPLOY_SLOTS if slot == self.slot or not _of_pipeline(items, slot)]
            claim = self._from_now(self._settings.claim.held)
            replaced = [found for found in _in_deploy_slots(items) if found.slot in slots]
            for earlier in live(replaced, now=self.now(), ceiling=self._settings.edge.ceiling):
                claim = claims.no_shorter(claim, than=earlier)
            self._write(claim, *slots)
        except EdgeError as exc:
            lasting = self._settings.claim.duration
            self._say("warning", text=f"the claim stays as it was, for at most {duration(lasting)}: {exc.message}")
            return None
        self.long = True
        return rfc3339(claim.until)

    def keep(self, *, until: Callable[[], bool], every: float) -> None:
        """Renew the long claim well before its end, until `until()` is true. `until` is called every `every` seconds.

        Raises:
            Interrupted: a signal came.
        """
        renewed = time.monotonic()
        while not until():
            self._stop.sleep(every)
            if time.monotonic() - renewed > self._settings.claim.held / 3:
                self.lengthen()
                renewed = time.monotonic()

    def drop(self) -> None:
        """Give back this deploy's claim, and the deploys' claims that it found: a deploy that died may have left one.

        A claim that was written since then belongs to a successor, and stays. A pipeline's claim stays, too: its own
        `hook post` gives it back. If this deploy wrote over one, it puts that one back.

        Raises:
            EdgeError: the claim could not be given back, and ends by itself.
            Fenced: somebody else took the lock.
        """
        self._end_renewal()
        self._refuse_if_replaced()
        items = self._edge.items()
        self._remember(items)
        ours = {self._nonce, *(claim.nonce for claim in _in_deploy_slots(self._found))}
        freed = {
            claim.slot: self._record.beneath.get(claim.slot, FREE)
            for claim in _in_deploy_slots(items)
            if claim.nonce in ours and not claim.of_pipeline
        }
        if freed:
            held = {slot: parse(slot, value) for slot, value in freed.items()}
            self._edge.write({**freed, **self._lines(items, held, "given back")})
        if self._record.beneath:
            self._record.note(beneath={})

    def undo(self, *, proved: bool) -> str | None:
        """Take the claim back. A failure is a warning: a claim that stays does no harm, and ends by itself.

        `proved` says that the origins were seen healthy. Then the deploys' claims that were found are given back, too.
        Returns that warning, if the claim may have stayed.

        Raises:
            Fenced: somebody else took the lock.
        """
        try:
            if proved:
                self.drop()
            else:
                self._restore()
        except (EdgeError, Interrupted) as exc:
            return self._warned(
                f"a claim, if one was written, stays for at most {duration(self._lasting)}: {exc.message}"
            )
        return None

    def leave(self, why: str) -> str | None:
        """Let the claim end by itself, and warn why it is not given back. Returns that warning."""
        self._end_renewal()
        return self._warned(f"{why}: the claim stays, for at most {duration(self._settings.claim.duration)}")

    def _warned(self, text: str) -> str:
        self._say("warning", text=text)
        return text

    def _restore(self) -> None:
        """Write the claim that was found in the slot back, without its hold. Free the slot if that claim has ended."""
        self._end_renewal()
        if self._found:
            self._refuse_if_replaced()
            before = parse(self.slot, self._found[self.slot])
            back = before.without_hold() if before is not None and before.until > self.now() else None
            line = self._lines(self._edge.items(), {self.slot: back}, "taken back")
            self._edge.write({self.slot: back.value() if back else FREE, **line})

    def _remember(self, items: Mapping[str, str]) -> None:
        """Remember the values of the deploys' slots at the first call: only these claims are given back later. A
        pipeline's claim in this deploy's slot, which will be written over, goes into the record."""
        if self._found:
            return
        self._found = {slot: items.get(slot, "") for slot in DEPLOY_SLOTS}
        self._least = parse(self.slot, self._found[self.slot])
        if self._least is not None and self._least.of_pipeline:
            beneath = {**self._record.beneath, self.slot: self._least.without_hold().value()}
            self._record.note(beneath=beneath)

    def _hold(self) -> None:
        """Renew claim and hold from now on."""
        self._end_renewal()
        self._renewal = self._renew("claim", self._settings.claim.hold / 3, self._write)

    def _end_renewal(self) -> None:
        if self._renewal is not None:
            self._renewal.stop()

    def _from_now(self, lasting: int | None = None) -> Claim:
        """The claim that begins now, with its hold. It is no shorter than the claim that it replaces, if that is in
        force."""
        edge, now = self._settings.edge, int(self.now())
        lasting = lasting or self._lasting
        grace = min(edge.ceiling, edge.base_grace + lasting)
        claim = Claim(self.slot, now + lasting, grace, self._nonce, hold_until=now + self._settings.claim.hold)
        in_force = live([self._least] if self._least else [], now=now, ceiling=edge.ceiling)
        return claims.no_shorter(claim, than=in_force[0] if in_force else None)

    def _write(self, claim: Claim | None = None, *slots: str) -> None:
        """Write a claim of this deploy (by default one that begins now) to these slots (by default its own)."""
        self._refuse_if_replaced()
        claim = self._least = claim or self._from_now()
        held = {slot: replace(claim, slot=slot) for slot in slots or (self.slot,)}
        lines: dict[str, str | None] = {}
        if new := {slot: held[slot] for slot in held if slot not in self._told}:
            with suppress(EdgeError):  # the claim matters more than its line
                lines = self._lines(self._edge.items(), new, "held")
        self._edge.write({**{slot: one.value() for slot, one in held.items()}, **lines})
        self._told |= new.keys()

    def _lines(self, items: Mapping[str, str], held: Mapping[str, Claim | None], why: str) -> dict[str, str | None]:
        """The lines of the audit that say what these slots hold from now on (None: nothing)."""
        lines: dict[str, str | None] = {}
        for slot, claim in held.items():
            there = {**items, **dict.fromkeys(lines, "")}
            said = f"{self._deploy}: {why}"
            lines |= audit.line(there, at=self.now(), did="deploy", why=said, slot=slot, claim=claim)
        return lines

    def _refuse_if_replaced(self) -> None:
        """Raise Fenced if another process took the lock. Then the edge is its business, too: a claim that this deploy
        wrote now would stay in force after that process has given its own back."""
        if self._record.lost:
            raise Fenced("a newer holder of the lock is at work: the claim is theirs", "Leave it to them.")


class NoClaim:
    """A deploy without a claim of its own, because a person accepted that, or because the edge takes no claims.

    It has the methods of DeployClaim, and there is nothing to hold, to renew or to give back.
    """

    def __init__(self, environment: EdgeSide, *, stop: Stop, say: Callable[..., None]) -> None:
        self._environment = environment
        self._stop = stop
        self._say = say
        self._clock: Callable[[], float] | None = None

    long = False

    def now(self) -> float:
        """As DeployClaim. Without an edge that takes claims there is only this machine's clock."""
        if self._clock is None:
            self._clock = edge_clock(self._environment.edge) if self._environment.edge.claims else time.time
        return self._clock()

    def take(self, *, lasting: int | None = None) -> dict[str, Any]:  # noqa: ARG002 (as DeployClaim)
        """Check that the service's own setting gives the wanted grace, and warn what visitors can expect.

        Raises:
            EdgeError: the setting is another one.
        """
        edge, mechanism = self._environment.edge, self._environment.settings.edge.mechanism
        if wrong := edge.policy().differences:
            raise EdgeError(
                f"the service's own grace is not as edge.mechanism wants it: {', '.join(wrong)}",
                f"edgeguard edge install {self._environment.name}, long before anything is closed.",
            )
        self._say(
            "warning",
            text=f"no claim is made (edge.mechanism is {mechanism}): the edge asks the origin for each page, then "
            f"serves what it has, at most {duration(edge.base)} past its time; nothing can be confirmed",
        )
        return {"mechanism": mechanism, "base": edge.base}

    def hold_again(self) -> None:
        """Nothing is held."""

    def let_go_of_hold(self) -> None:
        """Nothing is held."""

    def lengthen(self) -> str | None:
        """There is nothing to lengthen."""
        return None

    def keep(self, *, until: Callable[[], bool], every: float) -> None:
        """Wait until `until()` is true. Raises Interrupted when a signal comes."""
        while not until():
            self._stop.sleep(every)

    def drop(self) -> None:
        """There is nothing to give back."""

    def undo(self, *, proved: bool) -> str | None:  # noqa: ARG002 (as DeployClaim)
        """There is nothing to take back."""
        return None

    def leave(self, why: str) -> str | None:  # noqa: ARG002 (as DeployClaim)
        """There is nothing that stays."""
        return None


def _in_deploy_slots(items: Mapping[str, str]) -> list[Claim]:
    """The claims in the deploys' slots, in force or not."""
    found = (parse(slot, items.get(slot, "")) for slot in DEPLOY_SLOTS)
    return [claim for claim in found if claim is not None]


def _of_pipeline(items: Mapping[str, str], slot: str) -> bool:
    """Whether a slot has a claim, in force or not, that a pipeline's hook made."""
    claim = parse(slot, items.get(slot, ""))
    return claim is not None and claim.of_pipeline
