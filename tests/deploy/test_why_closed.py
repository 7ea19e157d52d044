"""What a deploy says of servers that are not open, or not on one release."""

from __future__ import annotations

import pytest

from edgeguard.cluster import ServerState
from edgeguard.deploy.steps.step import why_closed, why_mixed


def server(name: str, *, is_open: bool = False, gate: bool | None = True) -> ServerState:
    return ServerState(name, "g1", "r1", "r1", open=is_open, gate=gate)


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ((server("web1"), server("web2", gate=None)), "the cluster is closed already"),
        (
            (server("web1", is_open=True), server("web2")),
            "web2: the gate is closed, and others are open; see `edgeguard status live`",
        ),
        (
            (server("web1", is_open=True), server("web2", gate=False), server("web3")),
            "web2: the gate is dead; `edgeguard cluster open live` starts it",
        ),
    ],
)
def test_a_dead_gate_is_told_from_a_closed_one(servers: tuple[ServerState, ...], said: str) -> None:
    assert why_closed(servers, "live") == said


def test_a_server_that_was_made_anew_is_left_out_at_first() -> None:
    empty = ServerState("web2", None, None, None, open=False, gate=True)
    said = why_mixed((server("web1", is_open=True), empty), "live")
    assert "web1 r1 runs r1, web2 none runs none" in said
    assert "`edgeguard deploy live --without web2 --i-have-fenced web2`" in said


def test_what_was_opened_last_can_be_started_where_it_is() -> None:
    other = ServerState("web2", "g0", "r0", "r0", open=True)
    assert why_mixed((server("web1", is_open=True), other), "live").endswith(
        "web1 r1 runs r1, web2 r0 runs r0; `edgeguard cluster open live` starts what was opened last"
    )
