"""Each law is broken once by made-up observations, so each is known to be checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.crash.laws import Seen
from tests.observer import CLOSED, NO_RELEASE, STATUS, Answer

BEGAN = 1_800_000_000.0
OLD, NEW = "one release", "another"


def seen(gate: str = "", *, hooks: str = "", purged: float | None = None, claims: tuple[str, ...] = ()) -> Seen:
    """`gate`: what it answered in each second: o(ld), n(ew), s(ick and new), x (closed). `hooks`: its lines, with
    seconds. `claims`: between these seconds, until when and for how long deploy0 and deploy1 were claimed."""
    release = {"o": OLD, "n": NEW, "s": NEW, "x": CLOSED}
    answers = [
        Answer(at, at + 0.01, "/", 500 if letter in "sx" else 200, release[letter])
        for at, letter in enumerate(gate, int(BEGAN))
    ]
    lines = [line.split() for line in hooks.splitlines()]
    noted = [[datetime.fromtimestamp(BEGAN + float(at), UTC).isoformat(), *rest] for at, *rest in lines]
    asked: list[dict[str, Any]] = [{"at": BEGAN + purged, "method": "POST", "path": "/purge"}] if purged else []
    status = [shown(BEGAN + at + 0.5, *claim.split()) for at, claim in enumerate(claims)]
    return Seen((answers,), [], status, noted, asked)


def shown(at: float, *claims: str) -> Answer:
    slots = [tuple(map(int, claim.split(":"))) for claim in claims]
    said = {f"deploy{n}": f"{int(BEGAN) + until}%3A{grace}%3A0%3Aabcd" for n, (until, grace) in enumerate(slots)}
    grace = max([1, *(grace for until, grace in slots if BEGAN + until > at)])
    words = {"now": str(int(at)), "base": "1", "grace": str(grace), "deploy0": "0%3A0", "deploy1": "", **said}
    return Answer(at, at + 0.01, STATUS, 200, NO_RELEASE, words=words)


def wrong(found: Seen) -> str:
    return "; ".join(found.broken_laws())


def test_two_hooks_at_one_time_are_seen() -> None:
    after_another = "0 started on web1 for a\n1 done on web1 for a\n1 started on web1 for b\n2 done on web1 for b"
    within = "0 started on web1 for a\n1 started on web1 for b\n2 done on web1 for b\n3 done on web1 for a"
    never_ended = "0 started on web1 for a\n1 started on web1 for b\n2 done on web1 for b"
    assert not wrong(seen(hooks=after_another))
    assert "two hooks at one time" in wrong(seen(hooks=within))
    assert "two hooks at one time" in wrong(seen(hooks=never_ended))


def test_a_hook_on_two_servers_is_seen() -> None:
    again = "0 started on web1 for a\n1 done on web1 for a\n2 started on {} for a\n3 failed on {} for a"
    assert not wrong(seen(hooks=again.format("web1", "web1")))
    assert "ran on web1 and web2" in wrong(seen(hooks=again.format("web2", "web2")))


def test_an_open_cluster_over_a_hook_is_seen() -> None:
    assert not wrong(seen("oxxxn", hooks="1.5 started on web1 for a\n3.5 done on web1 for a"))
    assert "open while the hook ran" in wrong(seen("oxxxn", hooks="1.5 started on web1 for a\n4.5 done on web1 for a"))


def test_a_purge_before_another_release_is_healthy_is_seen() -> None:
    early = "before another release was open and healthy"
    assert not wrong(seen("oxn", purged=1.8))
    assert early in wrong(seen("oxn", purged=0.2)), "closed after it"
    assert early in wrong(seen("oxs", purged=1.8)), "it fails"
    assert early in wrong(seen("oxo", purged=1.8)), "nothing else was open"
    assert early in wrong(seen("oooo", purged=1.8))
    assert not list(seen("oxo", purged=1.8).broken_laws(unchanged=True))
    assert "while closed" in wrong(seen("oxxn", purged=1.8))


def test_a_purge_after_a_release_that_failed_waits_for_the_one_of_before() -> None:
    early = "before another release was open and healthy"
    taken_back = seen("oxsxo", purged=3.8)
    too_early = seen("oxsxo", purged=1.8)
    assert not list(taken_back.broken_laws(sick=True))
    assert early in "; ".join(too_early.broken_laws(sick=True))


def test_a_claim_that_gets_shorter_while_closed_is_seen() -> None:
    shorter = "not open, and a claim of"
    assert not wrong(seen("oxxxxo", claims=("9:9", "9:9", "19:9", "20:9", "20:9")))
    assert not wrong(seen("oxxxxo", claims=("9:9", "9:9", "9:9 19:9", "19:9", "19:9")))
    assert shorter in wrong(seen("oxxxxo", claims=("19:9", "19:9", "19:9", "9:9", "9:9"))), "it ends earlier"
    assert shorter in wrong(seen("oxxxxo", claims=("19:9", "19:9", "19:9 19:5", "0:0 19:5", "19:5"))), "it grants less"
    assert shorter in wrong(seen("oxxxxo", claims=("19:9", "19:9", "19:9", "0:0", "0:0"))), "it is gone"
    assert not wrong(seen("oxxoxxo", claims=("19:9", "19:9", "19:9", "0:0", "9:9", "9:9"))), "open between"


def test_a_claim_may_end_by_itself() -> None:
    assert "shorter" not in wrong(seen("oxxxxxxo", claims=("9:9", "3:9 9:9", "3:9 9:9", "3:9 9:9", "9:9", "9:9")))
