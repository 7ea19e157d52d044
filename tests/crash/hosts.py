"""A rehearsal on three real hosts (tests/lab) in which deploys die. It is watched over ssh, as root, with no code of
edgeguard's."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.crash.rehearsal import QUICK, SERVERS, Rehearsal, beats, furnished
from tests.lab.lab import Lab
from tests.observer import PATIENCE
from tests.staying_rehearsal import staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tests.crash.laws import Beat

KINDS = ("good", "swap", "hook", "check", "healthy", "fix")
"""Of the kinds of deploys, those that are played on hosts."""
_LEASE = 2  # seconds; a renewal goes to three hosts
_ENDING = 20.0
"""Seconds until a host knows that a caller is gone, and has done what that had told it to do."""
# Crons come and go by the clock, and so do their units.
_PRESENT = """\
systemctl list-units --all --plain --no-legend 'eg-*' | awk '$1 !~ /-crons?[@.]/ {print $1, $3}'
pgrep -af '[.]pyz (session|receive|hook|run|wrap)' || true
ls /run/systemd/transient 2>/dev/null | grep '^eg-' || true
"""


@dataclass
class OnHosts(Rehearsal):
    """The rehearsal. Its root is a folder of this machine, where images are built, and one of each host."""

    lab: Lab = field(default_factory=Lab)
    python: str = "/usr/bin/python3"
    before: set[str] = field(default_factory=set)
    """What is there while nothing is under way: the rehearsal keeps connections of its own."""

    @property
    def gate_url(self) -> str:
        """The hosts in turns, as a balancer would ask them."""
        return self._door()

    @property
    def gate_urls(self) -> tuple[str, ...]:
        """The gate of each host."""
        return tuple(self.server_urls().values())

    def server_urls(self) -> dict[str, str]:
        """Each host by its own gate: what is behind it can't be asked from elsewhere."""
        return {name: self._door(name) for name in SERVERS}

    def records(self) -> list[dict[str, Any]]:
        """Each host's record."""
        return [json.loads(said) for said in self._all(f"cat {self.root}/servers/*/record.json")]

    def hooks(self) -> list[list[str]]:
        """What deploy hooks noted on all hosts, in the order of time."""
        noted = self._all(f"cat {self.root}/mounts/var/hooks.log 2>/dev/null || true")
        return sorted(line.split() for said in noted for line in said.splitlines())

    def beats(self) -> list[Beat]:
        """What tasks said on all hosts."""
        return [beat for said in self._all(f"cat {self._beats} 2>/dev/null || true") for beat in beats(said)]

    def forget_beats(self) -> None:
        self._all(f"rm -f {self._beats}")

    def daemons(self) -> list[int]:
        """None: hooks that leave daemons behind are not played on hosts."""
        return []

    def shown(self, since: int) -> list[str]:
        """The files with a secret, on this machine and in the folders of the hosts' servers."""
        words = " ".join(f"-e {shlex.quote(secret)}" for secret in self.secrets)
        found = self._all(f"grep -lF {words} {self.root}/servers/*/*.* {self.root}/servers/*/gate/* 2>/dev/null; true")
        return [*super().shown(since), *(line for said in found for line in said.splitlines())]

    def sick(self, *, now: bool) -> None:
        """The switch lies on each host."""
        self._all(f"{'touch' if now else 'rm -f'} {self.root}/mounts/var/sick")

    def obstruct(self) -> None:
        """Put something in the way of the rename on the second host."""
        self._ssh("web2", f"mkdir -p {self._obstacle}/in-the-way")

    def clear(self) -> None:
        """Remove everything that a scenario has put there."""
        self._ssh("web2", f"test -L {self._obstacle} || rm -rf {self._obstacle}")
        self.sick(now=False)
        self.control("DELETE", "faults")

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Take the images that were built on this machine out of the way: another machine has none."""
        here, away = self.root / "releases", self.root / "releases.away"
        here.rename(away)
        try:
            yield
        finally:
            shutil.rmtree(here, ignore_errors=True)
            away.rename(here)

    def left_behind(self) -> list[str]:
        """What is running, or isn't, other than when nothing was under way, once there was time for it to end."""
        deadline = time.monotonic() + _ENDING
        while True:
            now = self.present()
            wrong = [f"still there: {line}" for line in sorted(now - self.before)]
            wrong += [f"no more there: {line}" for line in sorted(self.before - now)]
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(0.2)

    def present(self) -> set[str]:
        """The units and the host programs on each host, and the connections of this machine, in words."""
        on_hosts = zip(SERVERS, self._all(_PRESENT), strict=True)
        return {f"{server}: {line}" for server, said in on_hosts for line in said.splitlines()} | self._connections()

    def _connections(self) -> set[str]:
        found = set()
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = place.read_bytes().decode(errors="replace").split("\0")
            except OSError:  # it has just ended
                continue
            if words[:2] == ["ssh", "-T"] and any(str(self.lab.ssh_config) in word for word in words):
                found.add(f"this machine: ssh, as process {place.parent.name}")
        return found

    @property
    def _obstacle(self) -> Path:
        return self.root / "servers" / "web2" / "current.next"

    def _door(self, *host: str) -> str:
        address, port = self.lab.front_door(*host)
        return f"http://{address}:{port}"

    def _all(self, script: str) -> list[str]:
        """What the script prints on each host, in the order of SERVERS."""
        with ThreadPoolExecutor() as threads:
            return list(threads.map(lambda server: self._ssh(server, script), SERVERS))

    def _ssh(self, server: str, script: str) -> str:
        done = self.lab.ssh(server, script, limit=60, shared=True)
        assert done.returncode == 0, (server, script, done.stderr)
        return done.stdout


def _work(rehearsal: OnHosts) -> None:
    """Wait until a worker runs on every host."""
    deadline = time.monotonic() + PATIENCE
    while {beat.server for beat in rehearsal.beats()} != set(SERVERS):
        assert time.monotonic() < deadline, "not every host has a worker"
        time.sleep(0.1)


@contextmanager
def rehearsing_on_hosts(
    folder: Path, name: str, kinds: Collection[str] = KINDS, deployed: Sequence[str] = ("second", "first")
) -> Iterator[OnHosts]:
    """A rehearsal on a lab of this name, made anew, with these releases."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab(name)
    lab.down()
    lab.up(SERVERS)
    try:
        options = ("--hook-seconds", "0.3", "--driver", "ssh", "--driver-config", str(lab.driver_config))
        environment = {**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}"}  # the hosts have Debian's Python
        with staying_rehearsal(folder / "log", *options, environment=environment) as found:
            quick = {**QUICK, "EDGEGUARD_CLUSTER__LEASE": str(_LEASE)}
            made = OnHosts(found.process, found.ready, folder, folder / "config", quick=quick, lab=lab)
            furnished(made, kinds, deployed)
            _work(made)
            made.before = made.present()
            yield made
    finally:
        lab.down()
