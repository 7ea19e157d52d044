"""The scenarios: those of the moments that are known to be delicate, or one for every moment there is."""

from __future__ import annotations

import random
from itertools import cycle, product
from typing import TYPE_CHECKING, Literal

from tests.crash.kinds import GOOD, KINDS, POLICIES, SIGNALS, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    Moments = Mapping[tuple[str, str], Sequence[str]]
    """The moments of each kind of deploy under each policy: phase, act."""

DELICATE: tuple[tuple[str, str, str, int, Literal["resume", "rollback"]], ...] = (
    # the kind, the phase, the beginning of the act's name, which of these acts, and the next command
    ("good", "lock", "rename web1/", 1, "resume"),  # the lock is on one server only
    ("good", "claim", 'ask {"items"', 1, "resume"),
    ("good", "close", "rename gate/", 1, "rollback"),  # the close is written down, and not done
    ("good", "close", "kill ", 1, "resume"),  # the gate's order is written, and the gate has not read it
    ("good", "swap", "rename web2/current.next", 1, "rollback"),  # one server is swapped, or two
    ("good", "hook", "order ", 1, "resume"),  # "started" is written down, and nothing started
    ("good", "open", "rename gate/", 1, "resume"),
    ("good", "open", "rename tasks/", 2, "rollback"),  # open, and its tasks run on one server
    ("good", "healthy", "rename web2/", 1, "rollback"),  # one server knows that it has committed
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
    Scenario(at="committed|fsync|1", felled="host"),  # committed, and no server runs
    Scenario(at="stage|fsync|1", then="rollback", felled="gate"),  # nothing was closed, and nothing serves
    Scenario(at="purge|answer unread|1", then="rollback", felled="gate"),  # open by the record, and refused by nobody
    Scenario(at="swap|rename web2/current.next|1", signals="INT TERM HUP"),
    Scenario(at="release||1", signals="INT INT INT"),  # all is done but to say so
    Scenario(at="open|write |1", felled="application", lives=True, ends=0),  # it is checked once more
    Scenario(at="healthy|write |1", felled="application", lives=True, ends=11),
    Scenario(at="release|write |1", felled="gate", lives=True, ends=11),  # no claim is given back over a dead gate
    Scenario("daemon", at="hook|order |1"),
    Scenario(felled="host"),  # nothing is unfinished: cluster open
)


def every(moments: Moments, step: int, kinds: Collection[str], family: str) -> Iterator[Scenario]:
    """The scenarios of a family (FAMILIES) at every `step`-th moment."""
    return FAMILIES[family](moments, step, kinds)


def _deploys(moments: Moments, step: int, kinds: Collection[str]) -> Iterator[Scenario]:
    """Deploys die: good ones at each moment, failing ones from shortly before their failure on, under both policies."""
    for kind, policy in product(kinds, POLICIES):
        if kind in GOOD and policy != POLICIES[0]:
            continue  # nothing depends on it
        own = moments[kind, policy]
        first = 1
        if kind not in GOOD:
            first = next(n for n, moment in enumerate(own, 1) if moment.startswith("undoing")) - 6
        for number in range(first, len(own) + 1, step):
            for then in ("resume", "rollback"):
                yield Scenario(kind, policy, number, then)


def _signals(moments: Moments, step: int, _kinds: Collection[str]) -> Iterator[Scenario]:
    """A good deploy gets signals at each moment, and ends by itself."""
    policies, which = cycle(POLICIES), cycle(SIGNALS)
    for number in range(1, len(moments["good", POLICIES[0]]) + 1, step):
        for _ in range(2):
            yield Scenario(policy=next(policies), at=number, signals=next(which))


def _servers(moments: Moments, step: int, _kinds: Collection[str]) -> Iterator[Scenario]:
    """Processes of the servers are killed at each moment, beside a good deploy that dies or lives, or once all is over.
    A deploy that lives does not begin over a dead application."""
    own = moments["good", POLICIES[0]]
    claimed = next(n for n, moment in enumerate(own, 1) if moment.startswith("claim"))
    dead: Iterator[tuple[str, Literal["resume", "rollback"]]] = cycle(
        product(("host", "gate", "supervisors"), ("resume", "rollback"))
    )
    alive = cycle(("application", "host", "gate", "application", "supervisors"))
    yield Scenario(felled="host")
    for number in range(1, len(own) + 1, step):
        for _ in range(2):
            what, then = next(dead)
            yield Scenario(at=number, then=then, felled=what)
        if number >= claimed:
            yield Scenario(at=number, felled=next(alive), lives=True)


def by_chance(moments: Moments, count: int, seed: int, kinds: Collection[str]) -> Iterator[Scenario]:
    """So many deaths, with the seed's own choice: every second one of a good deploy, and the others of the failing
    kinds in turns; a phase, and one of its moments. They are finished and undone in turns."""
    chance = random.Random(seed)
    failing = cycle(product([kind for kind in kinds if kind != KINDS[0]], POLICIES))
    for number in range(count):
        kind, policy = next(failing) if number % 2 else (KINDS[0], POLICIES[0])
        phases: dict[str, int] = {}
        for moment in moments[kind, policy]:
            phase = moment.partition("\t")[0]
            phases[phase] = phases.get(phase, 0) + 1
        phase = chance.choice(list(phases))
        at = f"{phase}||{chance.randint(1, phases[phase])}"
        yield Scenario(kind, policy, at, chance.choice(("resume", "rollback")))


FAMILIES: dict[str, Callable[[Moments, int, Collection[str]], Iterator[Scenario]]] = {
    "deploys": _deploys,
    "signals": _signals,
    "servers": _servers,
}
