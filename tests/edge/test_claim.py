from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.edge.claim import (
    DAY,
    DEPLOY_SLOTS,
    FREE,
    SLOTS,
    SUPPORT_SLOTS,
    Claim,
    Grace,
    in_force,
    live,
    new_nonce,
    parse,
    parse_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW, BASE, CEILING = 1_800_000_000, 3600, 7 * DAY
moments = st.integers(0, 9_999_999_999)
nonces = st.from_regex(r"[a-z0-9]{4,12}", fullmatch=True)


@st.composite
def claims(draw: Callable[..., int], near: bool = True) -> Claim:  # noqa: FBT001, FBT002 - as hypothesis calls it
    slot = SLOTS[draw(st.integers(0, len(SLOTS) - 1))]
    until = draw(st.integers(NOW - 100, NOW + CEILING + DAY + 100) if near else moments)
    hold = draw(st.integers(NOW - 100, NOW + 100) if near else moments) if slot in DEPLOY_SLOTS else 0
    return Claim(slot, until, draw(st.integers(0, 9_999_999)), str(draw(nonces)), hold)


@given(claims(near=False))
def test_what_is_written_is_read_back(claim: Claim) -> None:
    assert parse(claim.slot, claim.value()) == claim
    assert len(claim.value()) <= 8000


@given(st.sampled_from(SLOTS), st.text() | st.from_regex(r"[0-9]{9,11}:[0-9]*(:[0-9]*)?:[a-z]*"))
def test_what_is_read_is_what_was_written_or_garbage(slot: str, value: str) -> None:
    claim = parse(slot, value)
    if claim is not None:
        assert parse(slot, claim.value()) == claim


@pytest.mark.parametrize("slot", SLOTS)
def test_a_free_slot_holds_no_claim(slot: str) -> None:
    assert (parse(slot, FREE), parse(slot, "")) == (None, None)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_claim_in_the_form_of_the_other_kind_of_slot_is_garbage(slot: str) -> None:
    other = SUPPORT_SLOTS[0] if slot in DEPLOY_SLOTS else DEPLOY_SLOTS[0]
    assert parse(slot, Claim(other, NOW, 60, "abcd").value()) is None


@given(st.lists(claims()), st.randoms())
def test_the_order_of_claims_does_not_matter(some: list[Claim], random: object) -> None:
    shuffled = some.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert in_force(shuffled, base=BASE, ceiling=CEILING, now=NOW) == in_force(
        some, base=BASE, ceiling=CEILING, now=NOW
    )


@given(st.lists(claims()), claims())
def test_another_claim_never_shortens(some: list[Claim], one: Claim) -> None:
    before = in_force(some, base=BASE, ceiling=CEILING, now=NOW)
    after = in_force([*some, one], base=BASE, ceiling=CEILING, now=NOW)
    assert BASE <= before.seconds <= after.seconds <= CEILING
    assert after.hold >= before.hold


@given(st.lists(claims()))
def test_every_claim_ends_by_itself(some: list[Claim]) -> None:
    later = max([NOW, *(claim.until for claim in some)])
    assert in_force(some, base=BASE, ceiling=CEILING, now=later) == Grace(BASE, hold=False)


@given(claims(near=False))
def test_a_claim_lives_until_its_end_and_not_if_that_is_too_far(claim: Claim) -> None:
    alive = live([claim], now=NOW, ceiling=CEILING) == (claim,)
    assert alive == (NOW < claim.until < NOW + CEILING + DAY)


@given(claims())
def test_without_hold_the_grace_stays(claim: Claim) -> None:
    now = in_force([claim], base=BASE, ceiling=CEILING, now=NOW)
    without = in_force([claim.without_hold()], base=BASE, ceiling=CEILING, now=NOW)
    assert without == Grace(now.seconds, hold=False)


@given(st.dictionaries(st.sampled_from(SLOTS) | st.text(), st.text()))
def test_items_of_other_kinds_are_no_claims(items: dict[str, str]) -> None:
    items["deploy1"] = Claim("deploy1", NOW + 10, 100, "abcd", NOW + 5).value()
    found = parse_all(items)
    assert [claim.slot for claim in found] == sorted((claim.slot for claim in found), key=SLOTS.index)
    assert "deploy1" in {claim.slot for claim in found} <= set(SLOTS)


def test_nonces_differ_and_fit() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(parse("support1", Claim("support1", NOW, 1, nonce).value()) for nonce in nonces)
