"""Where the record is kept: by the commands `record_read` and `record_write`, or in a folder of this machine.

A command keeps one record for each server if it says EDGEGUARD_SERVER, else one for all of them.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from edgeguard.cluster.errors import on
from edgeguard.cluster.host import fence, files, strict_json
from edgeguard.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeguard.cluster.commands.command import Commands, Printed


class Records(Protocol):
    """The record of each server; edgeguard.cluster.Cluster says what reading and writing mean."""

    shared: bool
    """Whether other machines see the same records."""

    def read(self, servers: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Each server's record, None where there is none yet."""

    def write(self, servers: Sequence[str], epoch: int, record: Mapping[str, Any], expected: int | None) -> None:
        """Write the record on every server, one after the other."""


@dataclass(frozen=True)
class InFolder:
    """A record for each server in a folder of this machine, `folders`/SERVER. Then no other machine can finish a
    deploy."""

    folders: Path
    shared = False

    def read(self, servers: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Read the files."""
        found = {}
        for server in servers:
            with on(server):
                found[server] = files.read(self.folders / server / "record.json")
        return found

    def write(self, servers: Sequence[str], epoch: int, record: Mapping[str, Any], expected: int | None) -> None:
        """Write the files, each under its lock."""
        for server in servers:
            folder = self.folders / server
            with on(server), fence.fenced(folder, fence.Caller(epoch), after=expected):
                fence.write_record(folder, epoch, record)


@dataclass(frozen=True)
class ByCommands:
    """The commands compare and set.

    `record_write` is told EDGEGUARD_EXPECTED, and exits 75 if the record that is there has a greater epoch. The driver
    reads the record before, and refuses what a longer rule forbids: whoever holds the lock finds exactly that epoch,
    and in one epoch no record replaces one of a higher serial. Epochs only rise, so the short rule is enough for what
    another machine writes in between.
    """

    commands: Commands
    shared = True
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def read(self, servers: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Run `record_read`. It prints the record, or nothing where there is none."""
        found: dict[str, dict[str, Any] | None] = {}
        for printed in self.commands.each("record_read", {}, servers):
            record = _record(printed)
            found |= dict.fromkeys(servers, record) if printed.server is None else {printed.server: record}
        return found

    def write(self, servers: Sequence[str], epoch: int, record: Mapping[str, Any], expected: int | None) -> None:
        """Run `record_write`, which reads the record from the file EDGEGUARD_RECORD: one line that begins with
        {"epoch": 7, so that a script can tell the epoch without reading JSON."""
        per_server = self.commands.per_server("record_write")
        with self._one_at_a_time, TemporaryDirectory(prefix="edgeguard-") as folder:
            file = Path(folder, "record.json")
            file.write_text(
                json.dumps({"epoch": epoch, **{name: record[name] for name in record if name != "epoch"}}),
                encoding="utf-8",
            )
            after = epoch if expected is None else min(epoch, expected)
            facts = {"RECORD": str(file), "EPOCH": str(epoch), "EXPECTED": str(after)}
            for server, held in self.read(servers).items():
                with on(server):
                    fence.check(held, epoch, expected)
                if fence.older(record, epoch, held):
                    continue
                self.commands.run("record_write", facts, servers, server=server if per_server else None)
                if not per_server:
                    return


def _record(printed: Printed) -> dict[str, Any] | None:
    """The record that `record_read` printed; None where it printed nothing."""
    found: Any = None
    with suppress(strict_json.Fault):
        found = strict_json.read(printed.text) if printed.text.strip() else {"epoch": 0}
    if not isinstance(found, dict) or type(found.get("epoch")) is not int:
        raise ClusterError(
            f"{printed.server + ': ' if printed.server else ''}record_read printed what is no record",
            "Let it print what record_write was given, or nothing where there is no record.",
            server=printed.server,
        )
    return found if printed.text.strip() else None
