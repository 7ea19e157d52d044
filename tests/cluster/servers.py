"""Three servers in memory, which fence as every driver does (tests/contracts)."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

from edgeguard.errors import ClusterError, Fenced

if TYPE_CHECKING:
    from collections.abc import Collection

SERVERS = ("web1", "web2", "web3")


class Servers:
    """Three servers, each of which holds a record and nothing else. Some may be unreadable, or full."""

    def __init__(self) -> None:
        self.servers: tuple[str, ...] = SERVERS
        self.left_out: tuple[str, ...] = ()
        self.records: dict[str, dict[str, Any] | None] = dict.fromkeys(SERVERS)
        self.unreadable: set[str] = set()
        self.full: set[str] = set()
        self._mutex = threading.Lock()

    def without(self, servers: Collection[str]) -> Servers:
        fewer = copy.copy(self)
        fewer.servers = tuple(server for server in self.servers if server not in servers)
        fewer.left_out = tuple(server for server in SERVERS if server not in fewer.servers)
        return fewer

    def read_record(self) -> dict[str, dict[str, Any] | None]:
        if torn := self.unreadable & set(self.servers):
            raise ClusterError(f"the record of {min(torn)} is torn", "Mend it.")
        return {server: copy.deepcopy(self.records[server]) for server in self.servers}

    def write_record(self, epoch: int, record: dict[str, Any], *, expected: int | None = None) -> None:
        for server in self.servers:
            with self._mutex:
                if server in self.full:
                    raise ClusterError(f"{server}: no space left", "Make room.")
                found = (self.records[server] or {}).get("epoch", 0)
                if found != epoch if expected is None else found > expected:
                    raise Fenced(f"{server}: a newer holder has taken over")
                self.records[server] = copy.deepcopy({**record, "epoch": epoch})
