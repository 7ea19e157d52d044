"""Each law is broken once, by what somebody might have seen; so it is known to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.crash.laws import CLOSED, Answer, Seen

BEGAN = 1_800_000_000.0
OLD, NEW = "one release", "another"


def seen(gate: str = "", *, hooks: str = "") -> Seen:
    """`gate`: what it answered in each second: o(ld), n(ew), s(ick and new), x (closed). `hooks`: its lines, with
    seconds."""
    release = {"o": OLD, "n": NEW, "s": NEW, "x": CLOSED}
    answers = [
        Answer(at, at + 0.01, "/", 500 if letter in "sx" else 200, release[letter], {})
        for at, letter in enumerate(gate, int(BEGAN))
    ]
    lines = [line.split() for line in hooks.splitlines()]
    noted = [[datetime.fromtimestamp(BEGAN + float(at), UTC).isoformat(), *rest] for at, *rest in lines]
    return Seen((answers,), [], [], noted, [])


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
