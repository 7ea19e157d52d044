from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge import Status
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.errors import EdgeUnavailable, Interrupted, NotConfirmed
from edgeguard.grace.confirm import Confirmed, confirm
from edgeguard.site.asking import ask
from tests.edge.standin_edge import TOKEN, StandinEdge

if TYPE_CHECKING:
    from collections.abc import Callable

NEW, OLD = {"deploy0": "new"}, {"deploy0": "old", "support1": ""}


@dataclass
class Nodes:
    """An edge with prepared answers, of which the last one repeats for ever. Only `sleep` moves its clock."""

    answers: list[Status | EdgeUnavailable]
    time: float = 1000.0
    ahead: float = 0.0
    asked: list[float] = field(default_factory=list)

    def status(self, *, timeout: float) -> Status:  # noqa: ARG002 (nothing waits here)
        self.asked.append(self.time)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, EdgeUnavailable):
            raise answer
        return Status(answer.node, "r", int(self.time + self.ahead), 60, 60, hold=False, slots=answer.slots)

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def shows(slots: dict[str, str], node: str = "n1") -> Status:
    return Status(node, "r", 0, 60, 60, hold=False, slots=slots)


def run(
    nodes: Nodes,
    *,
    expected: dict[str, str] | None = None,
    propagation: float = 30,
    timeout: float = 60,
    sleep: Callable[[float], None] | None = None,
) -> Confirmed:
    return confirm(
        nodes,  # type: ignore[arg-type]  # the one method that confirm needs
        expected or NEW,
        propagation=propagation,
        timeout=timeout,
        clock=lambda: nodes.time,
        sleep=sleep or nodes.sleep,
        wall=lambda: nodes.time,
    )


def test_seeing_the_value_is_not_enough() -> None:
    """The time of propagation must pass, too, even if the new value is seen many times."""
    nodes = Nodes([shows(NEW)])
    assert run(nodes).seconds == pytest.approx(30, abs=1)
    assert len(nodes.asked) > 10


def test_time_alone_is_not_enough() -> None:
    """After an old answer, even a late one, ten new answers in a row are needed again."""
    nodes = Nodes([*[shows(NEW)] * 60, shows(OLD, "slow"), shows(NEW)])
    confirmed = run(nodes)
    assert len(nodes.asked) == 60 + 1 + 10
    assert (confirmed.nodes, confirmed.seconds > 30) == (("n1", "slow"), True)


def test_an_answer_that_fails_counts_as_one_that_does_not_show_it() -> None:
    nodes = Nodes([*[shows(NEW)] * 9, EdgeUnavailable("no answer"), shows(NEW)])
    run(nodes, propagation=0)
    assert len(nodes.asked) == 9 + 1 + 10


def test_every_slot_that_was_written_has_to_show_exactly() -> None:
    with pytest.raises(NotConfirmed, match="deploy1 is '0:0' instead of '0:1'"):
        run(Nodes([shows({"deploy0": "new", "deploy1": "0:0"})]), expected={"deploy0": "new", "deploy1": "0:1"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [(shows(OLD), "n1 shows that deploy0 is 'old'"), (EdgeUnavailable("nobody there"), "nobody there")],
)
def test_what_was_seen_last_is_told_when_time_is_up(answer: Status | EdgeUnavailable, said: str) -> None:
    nodes = Nodes([answer])
    with pytest.raises(NotConfirmed, match=said):
        run(nodes)
    assert nodes.time == pytest.approx(1060, abs=1)


def test_too_short_a_time_out_is_told_as_such() -> None:
    with pytest.raises(NotConfirmed, match="s had passed since the write"):
        run(Nodes([shows(NEW)]), timeout=10)


@pytest.mark.parametrize("ahead", [0.0, 120.0, -7.5])
def test_the_difference_of_the_clocks_is_found_to_within_a_second(ahead: float) -> None:
    assert run(Nodes([shows(NEW)], ahead=ahead)).clock_difference == pytest.approx(ahead, abs=1)


def test_an_interruption_passes_through() -> None:
    def interrupted(_: float) -> None:
        raise Interrupted("SIGTERM")

    with pytest.raises(Interrupted):
        run(Nodes([shows(OLD)]), sleep=interrupted)


def test_a_write_is_confirmed_at_a_real_edge_once_it_is_there(standin_edge: StandinEdge) -> None:
    standin_edge.install(standin_edge.policy())
    edge = ByVcl(standin_edge.settings, TOKEN, ask)
    standin_edge.control("POST", "/propagation", {"seconds": 0.4})
    standin_edge.write({})
    edge.write({"deploy0": "0:1"})
    written = time.monotonic()
    confirmed = confirm(edge, {"deploy0": "0:1"}, propagation=0.2, timeout=20)
    assert 0.2 <= confirmed.seconds <= time.monotonic() - written
    assert confirmed.clock_difference == pytest.approx(standin_edge.skew, abs=1.5)
    with pytest.raises(NotConfirmed):
        confirm(edge, {"deploy0": "0:2"}, propagation=0, timeout=0.2)
