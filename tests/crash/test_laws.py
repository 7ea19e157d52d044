"""Each law is broken once by made-up observations, so each is known to be checked."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import Any

from tests.crash.laws import Beat, Seen
from tests.observer import CLOSED, NO_RELEASE, STATUS, Answer

BEGAN = 1_800_000_000.0
OLD, NEW = "one release", "another"


def seen(
    gate: str = "",
    *,
    edge: str = "",
    hooks: str = "",
    purged: float | None = None,
    claims: tuple[str, ...] = (),
    felled: float = -inf,
    beats: tuple[tuple[float, str], ...] = (),
) -> Seen:
    """`gate`, `edge`: each second's answer: o(ld), n(ew), s(ick and new), x (closed), - (none). `hooks`: its lines,
    with seconds. `claims`: between these seconds, until when and for how long deploy0 and deploy1 were claimed.
    `felled`: the second in which processes were killed. `beats`: when a worker of which release ran on web1."""
    lines = [line.split() for line in hooks.splitlines()]
    noted = [[datetime.fromtimestamp(BEGAN + float(at), UTC).isoformat(), *rest] for at, *rest in lines]
    asked: list[dict[str, Any]] = [{"at": BEGAN + purged, "method": "POST", "path": "/purge"}] if purged else []
    status = [shown(BEGAN + at + 0.5, *claim.split()) for at, claim in enumerate(claims)]
    ran = [Beat(BEGAN + at, "worker", "web1", release) for at, release in beats]
    return Seen((answered(gate),), answered(edge), status, noted, asked, BEGAN + felled, ran)


def answered(letters: str) -> list[Answer]:
    release = {"o": OLD, "n": NEW, "s": NEW, "x": CLOSED, "-": NO_RELEASE}
    status = {"s": 500, "x": 500, "-": None}
    return [
        Answer(at, at + 0.01, "/", status.get(letter, 200), release[letter])
        for at, letter in enumerate(letters, int(BEGAN))
    ]


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


def test_a_task_that_runs_while_closed_or_of_another_release_than_the_open_one_is_seen() -> None:
    assert not wrong(seen("ooxxxnn", beats=((0.5, OLD), (1.9, OLD), (5.5, NEW))))
    assert "a worker ran on web1 while closed" in wrong(seen("ooxxxnn", beats=((3, OLD),)))
    assert f"a worker of {OLD} ran on web1 while {NEW} was open" in wrong(seen("ooxxxnn", beats=((5.5, OLD),)))


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


def test_a_claim_that_is_given_back_over_a_dead_gate_is_seen() -> None:
    shorter = "not open, and a claim of"
    kept, gone = ("19:9", "19:9", "19:9", "19:9", "19:9"), ("19:9", "19:9", "19:9", "0:0", "0:0")
    assert shorter not in wrong(seen("oo---o", claims=kept, felled=1.1))
    assert shorter in wrong(seen("oo---o", claims=gone, felled=1.1))
    assert shorter not in wrong(seen("oo---o", claims=gone, felled=3.2)), "it could not be known yet"


def test_a_purge_over_a_dead_gate_is_seen() -> None:
    dead = "while the gate is dead"
    assert dead in wrong(seen("oxn---n", purged=4.2, felled=2.1))
    assert dead not in wrong(seen("oxn---n", purged=2.2, felled=2.1)), "it could not be known yet"


def test_an_edge_owes_copies_over_a_dead_gate_while_a_claim_is_in_force() -> None:
    dark = "anonymous visitors got"
    claimed, bare = ("19:9",) * 6, ("0:0",) * 6
    assert dark not in wrong(seen("oo---o", edge="oooooo", claims=claimed, felled=1.1))
    assert dark in wrong(seen("oo---o", edge="ooo--o", claims=claimed, felled=1.1))
    assert dark not in wrong(seen("oo---o", edge="ooo--o", claims=bare, felled=1.1))


def test_a_hook_that_was_killed_with_its_server_has_ended() -> None:
    hooks = "1.5 started on web1 for a"
    assert "open while the hook ran" in wrong(seen("oxxxn", hooks=hooks))
    assert not wrong(seen("oxxxn", hooks=hooks, felled=2.5))
