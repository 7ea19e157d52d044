"""The lines of `status`, from what was found. Nothing is asked here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgeguard.cluster import ServerState
from edgeguard.cluster.record import Record
from edgeguard.deploy.status import Status, servers_text, text

OPENED = {"generation": "g1", "release": "r1"}
LEFT = {"id": "d2", "phase": "hook"}
LOCK = {"deploy": "d2", "holder": "ann@runner", "since": "10:00", "counter": 1}
CLOSURE = {"id": "d3", "who": "ann", "why": "the database moves", "until": "12:00"}


def status(*, running: str | None = "r1", **record: Any) -> str:  # noqa: ANN401 (keys of Record)
    """The text about one server that is open, with this record."""
    server = ServerState("web1", "g1", "r1", running, open=True)
    return text(Status("live", Record.of({"opened": OPENED, **record}), (server,), {}, {"error": "-"}, None))


@pytest.mark.parametrize(
    ("found", "lock", "then"),
    [
        ({}, "free", ""),
        ({"deploy": LEFT}, "free, but d2 is unfinished: resume or rollback takes it over", "edgeguard resume live"),
        ({"closure": CLOSURE}, "free, but the cluster is closed by hand: no deploy may come", "cluster open live"),
        ({"running": None}, "free, but not everything runs", "cluster open live"),
        (
            {"deploy": LEFT, "lock": LOCK},
            "d2 (ann@runner, since 10:00)",
            "if its process is gone: edgeguard resume live",
        ),
        (
            {"lock": LOCK},
            "d2 (ann@runner, since 10:00)",
            "if its process is gone: edgeguard resume live frees the lock",
        ),
        ({"lock": {**LOCK, "by_hand": True}}, "d2 (ann@runner, since 10:00)", "is gone: edgeguard cluster open live"),
    ],
)
def test_a_free_lock_is_not_called_so_as_if_all_were_well(found: dict[str, Any], lock: str, then: str) -> None:
    said = status(**found)
    assert [lock] == re.findall("^  lock +(.*)$", said, re.MULTILINE)
    assert then in said


def test_a_gate_that_is_dead_is_not_called_closed() -> None:
    servers = [
        ServerState("web1", "g1", "r1", "r1", open=False, gate=False),
        ServerState("web2", "g1", "r1", "r1", open=False, gate=True),
        ServerState("web3", None, None, None, open=False, gate=False),
    ]
    lines = [" ".join(line.split()[:2]) for line in servers_text(servers)]
    assert lines == ["web1 no", "web2 closed", "web3 closed"]


def test_a_server_with_another_release_is_named_while_no_deploy_is_under_way() -> None:
    servers = (ServerState("web1", "g1", "r1", "r1", open=True), ServerState("web2", "g0", "r0", "r0", open=True))
    for record, named in (({}, True), ({"lock": LOCK}, False)):
        found = Status("live", Record.of({"opened": OPENED, **record}), servers, {}, {"error": "-"}, None)
        assert ("the servers have not one release (web1: r1; web2: r0)" in text(found)) is named
