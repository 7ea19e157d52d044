"""The world of the driver `ssh`: three real hosts on this machine (tests/lab), used by one test after another."""

from __future__ import annotations

import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.ssh.driver import SshCluster
from edgeguard.testing import world
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

_SCRATCH = "/srv/scratch"


@cache
def lab() -> Lab:
    """The lab of this run, up."""
    made = Lab("contracts")
    made.down()
    made.up(world.SERVERS)
    return made


class World(world.World):
    """Every test has a `cluster.root` of its own on the hosts, prepared anew."""

    python = "/usr/bin/python3"

    def start(self) -> None:
        """Prepare the hosts."""
        self._lab = lab()
        self.address = self._lab.front_door()
        for server in world.SERVERS:
            self.shell(server, f"rm -rf {_SCRATCH}; mkdir -p {_SCRATCH}")
        self._prepared = SshCluster("test", self.cluster_settings())
        self._prepared.prepare(dry_run=False)

    def settings(self) -> dict[str, Any]:
        """The hosts by their names, as root."""
        return {"root": self.folder, "options": {"ssh_config": str(self._lab.ssh_config)}}

    def end(self) -> None:
        """Take all of it away again."""
        self._prepared.unprepare()
        self._prepared.end()
        for server in world.SERVERS:
            self.shell(server, f"rm -rf {shlex.quote(str(self.folder))}")

    @property
    def scratch(self) -> str:
        """A folder of each host's own."""
        return _SCRATCH

    def shell(self, server: str, script: str) -> str:
        """As root, over ssh."""
        return self._lab.ssh(server, script, limit=60).stdout

    def break_swap(self, server: str) -> Callable[[], None]:
        """Put a folder where the swap makes its link."""
        obstacle = shlex.quote(str(self.folder / "servers" / server / "current.next"))
        self.shell(server, f"mkdir -p {obstacle}/in-the-way")
        return lambda: _ignored(self.shell(server, f"rm -r {obstacle}"))

    def end_gate(self) -> None:
        """End HAProxy on every host. systemd starts it no more until it is told to."""
        for server in world.SERVERS:
            self.shell(server, "systemctl kill --signal=SIGKILL eg-test-gate; systemctl stop eg-test-gate")


def _ignored(_said: str) -> None:
    return None
