"""The world of the driver `ssh`: three real hosts on this machine (tests/lab), used by one test after another."""

from __future__ import annotations

import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.ssh.driver import SshCluster
from edgeguard.testing import world
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path("/var/lib/edgeguard-lab/contracts")
"""`cluster.root` of every test, here and on the hosts."""
_SCRATCH = "/srv/scratch"
_KEPT = " ".join(f"! -name {name}" for name in ("program", "prepared.json", "gate"))
_CLEAN = f"""\
rm -f {_ROOT}/servers/*/tasks-allowed
systemctl stop eg-test-crons.timer 'eg-test-worker@*' 'eg-test-cron@*' eg-test-web eg-test-gate 'eg-test-hook-*'
cd {_ROOT}/servers/* && find . -mindepth 1 -maxdepth 1 {_KEPT} -exec rm -rf {{}} +
echo 'gate closed none; until=1970-01-01T00:00:00Z' > gate/state
rm -rf {_SCRATCH}; mkdir -p {_SCRATCH}
systemctl start eg-test-gate
"""


@cache
def lab() -> Lab:
    """The lab of this run, up."""
    made = Lab("contracts")
    made.down()
    made.up(world.SERVERS)
    return made


class World(world.World):
    """Every test finds the hosts as `cluster prepare` leaves them."""

    python = "/usr/bin/python3"

    def start(self) -> None:
        """Take away what the test before has left."""
        self._lab = lab()
        self._clusters: list[SshCluster] = []
        self.address = self._lab.front_door()
        _prepared(self._lab)
        shutil.rmtree(_ROOT / "releases", ignore_errors=True)
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda server: self.shell(server, _CLEAN), world.SERVERS))

    def again(self, **settings: object) -> SshCluster:
        """A second driver object. Settings of the gate need another configuration there, so the hosts are prepared."""
        cluster = SshCluster("test", self.cluster_settings(**settings))
        if settings:
            cluster.prepare(dry_run=False)
            _prepared.cache_clear()
        self._clusters.append(cluster)
        return cluster

    def settings(self) -> dict[str, Any]:
        """The hosts by their names, as root."""
        return _settings(self._lab)

    def end(self) -> None:
        """End the driver's connections; the next test cleans the hosts, and the lab's end ends all."""
        for cluster in self._clusters:
            cluster.end()

    @property
    def releases(self) -> Path:
        """The folder of images below `cluster.root`."""
        return _ROOT / "releases"

    @property
    def scratch(self) -> str:
        """A folder of each host's own."""
        return _SCRATCH

    def shell(self, server: str, script: str) -> str:
        """As root, over ssh."""
        return self._lab.ssh(server, script, limit=60, shared=True).stdout

    def break_swap(self, server: str) -> Callable[[], None]:
        """Put a folder where the swap makes its link."""
        obstacle = shlex.quote(str(_ROOT / "servers" / server / "current.next"))
        self.shell(server, f"mkdir -p {obstacle}/in-the-way")

        def mend() -> None:
            self.shell(server, f"rm -r {obstacle}")

        return mend

    def end_gate(self) -> None:
        """End HAProxy on every host. systemd starts it no more until it is told to."""
        for server in world.SERVERS:
            self.shell(server, "systemctl kill --signal=SIGKILL eg-test-gate; systemctl stop eg-test-gate")


def _settings(lab: Lab) -> dict[str, Any]:
    return {"root": _ROOT, "options": {"ssh_config": str(lab.ssh_config)}}


@cache
def _prepared(lab: Lab) -> None:
    from edgeguard.settings import ClusterSettings  # noqa: PLC0415 (heavy)

    cluster = SshCluster("test", ClusterSettings(driver="ssh", servers=world.SERVERS, **_settings(lab)))
    cluster.prepare(dry_run=False)
    cluster.end()
