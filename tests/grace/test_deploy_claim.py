"""A deploy's own claim, on a stand-in that runs the policy and a record on servers in memory."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from edgeguard.cluster.record import Record
from edgeguard.edge.claim import DEPLOY_SLOTS, FREE, HOOK, Claim, parse
from edgeguard.errors import Fenced
from edgeguard.grace.deploy_claim import DeployClaim
from edgeguard.machine.renewal import Renewal
from edgeguard.machine.signals import Stop
from tests.cluster.test_record import Servers
from tests.edge.stage import BASE, Stage, running
from tests.grace.edge_side import in_force, of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.cluster import Cluster

LASTING, HELD, HOLD = 600, 1200, 1
DEPLOY = "d1"


@pytest.fixture(scope="module")
def its_stage() -> Iterator[Stage]:
    with running() as found:
        found.install(found.policy())
        yield found


@pytest.fixture
def stage(its_stage: Stage) -> Stage:
    """With every slot free, no audit, and the edge's clock somewhere."""
    its_stage.reset()
    its_stage.edge.write(dict.fromkeys(its_stage.edge.items()))
    return its_stage


class Holder:
    """The holder of a lock, with a claim, as a deployment is."""

    def __init__(self, stage: Stage, servers: Servers) -> None:
        self.record = Record(cast("Cluster", servers), "site", lease=0.2)
        self.record.take({"id": DEPLOY, "phase": "lock"})
        self.renewals: list[Renewal] = []
        environment = of(stage, claim__duration=LASTING, claim__held=HELD, claim__hold=HOLD)
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
def holder(stage: Stage, servers: Servers) -> Iterator[Holder]:
    found = Holder(stage, servers)
    try:
        yield found
    finally:
        for renewal in found.renewals:
            renewal.stop()


def there(stage: Stage, slot: str) -> Claim:
    claim = parse(slot, stage.edge.items()[slot])
    assert claim is not None
    return claim


def after_a_few_renewals(stage: Stage) -> dict[str, str]:
    time.sleep(HOLD)
    return {slot: value for slot, value in stage.edge.items().items() if slot in DEPLOY_SLOTS}


def test_a_claim_raises_the_grace_and_goes_with_the_drop(stage: Stage) -> None:
    with holder(stage, Servers()) as deploy:
        taken = deploy.claim.take()
        raised = in_force(stage)
        deploy.claim.drop()

    assert (taken["base"], taken["claimed"], raised) == (BASE, BASE + LASTING, BASE + LASTING)
    assert in_force(stage) == BASE


def test_a_claim_that_was_given_back_is_not_renewed_any_more(stage: Stage) -> None:
    """Also if its hold was set again while it was held, as a rollback from another machine does."""
    with holder(stage, Servers()) as deploy:
        deploy.claim.take()
        deploy.claim.hold_again()
        deploy.claim.drop()

        assert after_a_few_renewals(stage) == {deploy.slot: FREE}


def test_a_long_claim_is_in_both_slots_and_stays_as_long(stage: Stage) -> None:
    with holder(stage, Servers()) as deploy:
        deploy.claim.take()
        deploy.claim.hold_again()
        deploy.claim.lengthen()
        long = {slot: there(stage, slot).until for slot in DEPLOY_SLOTS}
        after_a_few_renewals(stage)

        assert {slot: there(stage, slot).until for slot in DEPLOY_SLOTS} == long
        assert min(long.values()) >= stage.now() + HELD - 10


def test_a_claim_never_gets_shorter(stage: Stage) -> None:
    """Neither the claim that it finds in its slot, nor its own when hold is let go of."""
    with holder(stage, Servers()) as deploy:
        found = Claim(deploy.slot, stage.now() + 3000, BASE + 3000, "0123abcd")
        stage.edge.write({deploy.slot: found.value()})
        deploy.claim.take()
        deploy.claim.let_go_of_hold()
        claim = there(stage, deploy.slot)

    assert (claim.until, claim.grace, claim.hold_until) == (found.until, found.grace, 0)


def test_a_pipeline_s_claim_comes_back(stage: Stage) -> None:
    servers = Servers()
    with holder(stage, servers) as deploy:
        pipeline = Claim(deploy.slot, stage.now() + 300, BASE + 300, f"{HOOK}1234abcd")
        stage.edge.write({deploy.slot: pipeline.value()})
        deploy.claim.take()
        beneath = deploy.record.beneath
        deploy.claim.drop()

        assert there(stage, deploy.slot) == pipeline
        assert (beneath, deploy.record.beneath) == ({deploy.slot: pipeline.value()}, {})


def test_what_was_found_comes_back_where_nothing_is_proved(stage: Stage) -> None:
    with holder(stage, Servers()) as deploy:
        found = Claim(deploy.slot, stage.now() + 300, BASE + 300, "0123abcd")
        stage.edge.write({deploy.slot: found.value()})
        deploy.claim.take()
        deploy.claim.undo(proved=False)

        assert after_a_few_renewals(stage) == {deploy.slot: found.value()}


def test_a_holder_that_was_replaced_writes_nothing(stage: Stage) -> None:
    servers = Servers()
    with holder(stage, servers) as deploy:
        deploy.claim.take()
        Record(cast("Cluster", servers), "site", lease=0.2).take_over(wait=time.sleep, say=lambda _: None)
        before = stage.edge.items()
        for act in (deploy.claim.drop, deploy.claim.lengthen, deploy.claim.let_go_of_hold):
            with pytest.raises(Fenced):
                act()

        assert stage.edge.items() == before
