"""The moments at which a deploy dies: some that are known to be delicate, or all."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

from tests.crash.kinds import POLICIES, Scenario

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

DELICATE: tuple[tuple[str, str, str, int, Literal["resume", "rollback"]], ...] = (
    # the kind, the phase, the beginning of the act's name, which of these acts, and the next command
    ("good", "lock", "rename web1/", 1, "resume"),  # the lock is on one server only
    ("good", "claim", 'ask {"items"', 1, "resume"),
    ("good", "close", "rename gate/", 1, "rollback"),  # the close is written down, and not done
    ("good", "close", "kill ", 1, "resume"),  # the gate's order is written, and the gate has not read it
    ("good", "swap", "rename web2/current.next", 1, "rollback"),  # one server is swapped, or two
    ("good", "hook", "start ", 1, "resume"),  # "started" is written down, and nothing started
    ("good", "open", "rename gate/", 1, "resume"),
    ("good", "committed", "fsync", 1, "rollback"),
    ("hook", "undoing swap", "ask ", 1, "resume"),
    ("healthy", "undoing open", "rename gate/", 1, "rollback"),
    ("fix", "stage", "fsync", 1, "resume"),  # its image is nowhere yet
)


def delicate() -> Iterator[Scenario]:
    """A scenario for each delicate moment. A deploy that is unwound dies under the policy that unwinds it."""
    for kind, phase, act, which, then in DELICATE:
        policy = "rollback" if phase.startswith("undoing") and kind != "hook" else "stay-closed"
        yield Scenario(kind, policy, f"{phase}|{act}|{which}", then)
    yield from MORE


MORE = (
    Scenario(at="purge|answer unread|1", fault="down", lasting=10),  # 12: a claim is left, and ends by itself
    Scenario(paused="swap|rename web2/current.next|1"),  # asleep while it holds that server's own lock
)


def every(moments: Mapping[tuple[str, str], Sequence[str]], step: int, kinds: Collection[str]) -> Iterator[Scenario]:
    """Each moment of a good deploy; of one that fails, each from shortly before its failure on, under both policies."""
    for kind, policy in product(kinds, POLICIES):
        if kind in {"good", "fix"} and policy != POLICIES[0]:
            continue  # nothing depends on it
        own = moments[kind, policy]
        first = (
            1
            if kind in {"good", "fix"}
            else next(n for n, moment in enumerate(own, 1) if moment.startswith("undoing")) - 6
        )
        for number in range(first, len(own) + 1, step):
            for then in ("resume", "rollback"):
                yield Scenario(kind, policy, number, then)
