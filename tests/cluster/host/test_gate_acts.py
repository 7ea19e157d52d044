"""A caller over a connection closes, drains and opens a host's gate, and an older one can't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster.host.haproxy_world import CLOSED, UNTIL, host, tunnel
from tests.cluster.host.test_session import session

if TYPE_CHECKING:
    from tests.cluster.host.test_session import Caller


def begun(caller: Caller) -> int:
    caller.ask("write_record", caller=[1, caller.ask("begin", epoch=1), 1], record={"serial": 1}, expected=0)
    return int(caller.ask("begin", epoch=1))


def test_a_gate_is_closed_cut_and_opened_over_a_connection() -> None:
    with host() as web, session(web.folder) as caller:
        number = begun(caller)
        assert caller.ask("gate") == {"alive": True, "open": False, "in_flight": 0}
        noted = {"epoch": 1, "serial": 7, "phase": "open"}
        assert caller.ask("open_gate", caller=[1, number, 1], release="one", note=noted) is None
        assert caller.ask("read_record") == noted
        with tunnel(web):
            assert caller.ask("gate") == {"alive": True, "open": True, "in_flight": 1}
            assert caller.ask("cut", caller=[1, number, 2]) == "not-closed"
            assert caller.ask("close_gate", caller=[1, number, 3], deploy="d-42", until=UNTIL) is None
            assert web.ask()[1]["edgeguard-closed"] == CLOSED
            assert caller.ask("gate") == {"alive": True, "open": False, "in_flight": 1}
            assert caller.ask("cut", caller=[1, number, 4]) == 1
        assert caller.ask("gate") == {"alive": True, "open": False, "in_flight": 0}
        web.end()
        assert caller.ask("gate") == {"alive": False, "open": False, "in_flight": 0}


def test_an_act_of_an_older_holder_or_one_that_comes_late_leaves_the_gate_as_it_is() -> None:
    with host() as web, session(web.folder) as caller:
        number = begun(caller)
        assert caller.ask("close_gate", caller=[1, number, 2], deploy="d-42", until=UNTIL) is None
        late = {"caller": [1, number, 1], "release": "one", "note": {"epoch": 1, "serial": 9}}
        assert caller.ask("open_gate", **late) == "fenced"
        assert caller.ask("write_record", caller=[2, number, 3], record={"serial": 1}, expected=1) is None
        assert caller.ask("open_gate", caller=[1, number, 4], release="one") == "fenced"
        assert caller.ask("read_record") == {"epoch": 2, "serial": 1}
        assert web.ask()[1]["edgeguard-closed"] == CLOSED
