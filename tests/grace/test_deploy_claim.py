"""A deploy's own claim, on a stand-in that runs the policy and a record on servers in memory."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from edgeguard.cluster.lock import SharedRecord
from edgeguard.cluster.record import Phase, Unfinished
from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, Claim, parse
from edgeguard.errors import Fenced
from edgeguard.grace.deploy_claim import DeployClaim
from edgeguard.machine.renewal import Renewal
from edgeguard.machine.signals import Stop
from tests.cluster.servers import Servers
from tests.edge.standin_edge import BASE, StandinEdge
from tests.grace.edge_side import edge_side, in_force

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.cluster import Cluster

LASTING, HELD, HOLD = 600, 1200, 1
DEPLOY = "d1"


class Holder:
    """A holder of the lock with a claim, as a deployment has both."""

    def __init__(self, standin_edge: StandinEdge, servers: Servers) -> None:
        self.record = SharedRecord(cast("Cluster", servers), "site", lease=0.2)
        self.record.take(Unfinished.new(id=DEPLOY, phase=Phase.LOCK))
        self.renewals: list[Renewal] = []
        environment = edge_side(standin_edge, claim__duration=LASTING, claim__held=HELD, claim__hold=HOLD)
        self.claim = DeployClaim(
            environment, self.record, DEPLOY, stop=Stop(), say=lambda *_, **__: None, renew=self._renew
        )

    @property
    def slot(self) -> str:
        return self.claim.slot

    def _renew(self, name: str, interval: float, act: Callable[[], None]) -> Renewal:
        self.renewals.append(Renewal(name, interval, act, failed=lambda *_: None).start())
        return self.renewals[-1]


@contextmanager
def holder(standin_edge: StandinEdge, servers: Servers) -> Iterator[Holder]:
    found = Holder(standin_edge, servers)
    try:
        yield found
    finally:
        for renewal in found.renewals:
            renewal.stop()


def there(standin_edge: StandinEdge, slot: str) -> Claim:
    claim = parse(slot, standin_edge.edge.items()[slot])
    assert claim is not None
    return claim


def after_a_few_renewals(standin_edge: StandinEdge) -> dict[str, str]:
    time.sleep(HOLD)
    return {slot: value for slot, value in standin_edge.edge.items().items() if slot in DEPLOY_SLOTS}


def test_a_claim_raises_the_grace_and_goes_with_the_drop(standin_edge: StandinEdge) -> None:
    with holder(standin_edge, Servers()) as deploy:
        taken = deploy.claim.take()
        raised = in_force(standin_edge)
        deploy.claim.drop()

    assert (taken["base"], taken["claimed"], raised) == (BASE, BASE + LASTING, BASE + LASTING)
    assert in_force(standin_edge) == BASE


def test_a_claim_that_was_given_back_is_not_renewed_any_more(standin_edge: StandinEdge) -> None:
    """Also if its hold was set again in between, as a rollback from another machine does."""
    with holder(standin_edge, Servers()) as deploy:
        deploy.claim.take()
        deploy.claim.hold_again()
        deploy.claim.drop()

        assert after_a_few_renewals(standin_edge) == {deploy.slot: FREE}


def test_a_long_claim_is_in_both_slots_and_stays_as_long(standin_edge: StandinEdge) -> None:
    with holder(standin_edge, Servers()) as deploy:
        deploy.claim.take()
        deploy.claim.hold_again()
        deploy.claim.lengthen()
        long = {slot: there(standin_edge, slot).until for slot in DEPLOY_SLOTS}
        after_a_few_renewals(standin_edge)

        assert {slot: there(standin_edge, slot).until for slot in DEPLOY_SLOTS} == long
        assert min(long.values()) >= standin_edge.now() + HELD - 10


def test_a_long_claim_shortens_none_that_is_longer(standin_edge: StandinEdge) -> None:
    """A closure by hand of some days, whose opening fails, has its claim in the other slot."""
    with holder(standin_edge, Servers()) as deploy:
        other = next(slot for slot in DEPLOY_SLOTS if slot != deploy.slot)
        longer = standin_edge.now() + HELD + 5000
        standin_edge.edge.write({other: Claim(other, longer, BASE + HELD, "0123abcd").value()})
        deploy.claim.take()
        deploy.claim.lengthen()

        assert {slot: there(standin_edge, slot).until for slot in DEPLOY_SLOTS} == dict.fromkeys(DEPLOY_SLOTS, longer)


def test_a_claim_never_gets_shorter(standin_edge: StandinEdge) -> None:
    """Neither the claim that was found in the slot gets shorter, nor the deploy's own when its hold is given back."""
    with holder(standin_edge, Servers()) as deploy:
        found = Claim(deploy.slot, standin_edge.now() + 3000, BASE + 3000, "0123abcd")
        standin_edge.edge.write({deploy.slot: found.value()})
        deploy.claim.take()
        deploy.claim.let_go_of_hold()
        claim = there(standin_edge, deploy.slot)

    assert (claim.until, claim.grace, claim.hold_until) == (found.until, found.grace, 0)


def test_a_pipeline_s_claim_comes_back(standin_edge: StandinEdge) -> None:
    servers = Servers()
    with holder(standin_edge, servers) as deploy:
        pipeline = Claim(deploy.slot, standin_edge.now() + 300, BASE + 300, f"{HOOK}1234abcd")
        standin_edge.edge.write({deploy.slot: pipeline.value()})
        deploy.claim.take()
        beneath = deploy.record.beneath
        deploy.claim.drop()

        assert there(standin_edge, deploy.slot) == pipeline
        assert (beneath, deploy.record.beneath) == ({deploy.slot: pipeline.value()}, {})


def test_what_was_found_comes_back_where_nothing_is_proved(standin_edge: StandinEdge) -> None:
    with holder(standin_edge, Servers()) as deploy:
        found = Claim(deploy.slot, standin_edge.now() + 300, BASE + 300, "0123abcd")
        standin_edge.edge.write({deploy.slot: found.value()})
        deploy.claim.take()
        deploy.claim.undo(proved=False)

        assert after_a_few_renewals(standin_edge) == {deploy.slot: found.value()}


def test_a_holder_that_was_replaced_writes_nothing(standin_edge: StandinEdge) -> None:
    servers = Servers()
    with holder(standin_edge, servers) as deploy:
        deploy.claim.take()
        SharedRecord(cast("Cluster", servers), "site", lease=0.2).take_over(wait=time.sleep, say=lambda _: None)
        before = standin_edge.edge.items()
        for act in (deploy.claim.drop, deploy.claim.lengthen, deploy.claim.let_go_of_hold):
            with pytest.raises(Fenced):
                act()

        assert standin_edge.edge.items() == before
