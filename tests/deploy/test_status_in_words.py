"""The lines of `status`, from what was found. Nothing is asked here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edgeguard.cluster import ServerState
from edgeguard.cluster.record import Record
from edgeguard.deploy.status import Status, text

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
