"""The process that a lab lives and dies with: `python -m tests.lab.keeper FOLDER HOST…`.

It is process 1 of a process namespace, and has a mount and a network namespace of its own. So the kernel ends every
host, and takes away every mount and interface, whatever ends this process. It starts each host that boots again, plugs
its cables in, and does what the lines on its socket say:

    off HOST      as if somebody had pulled the plug
    on HOST       start it
    unplug CABLE  take a cable out (`adm-web1`, `vis-web1`)
    plug CABLE    put it in again
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from tests.lab import network

REBOOT = 133
"""systemd-nspawn's exit code where the host asks for a reboot."""
_TICK = 0.1
_HIERARCHIES = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")


class Host:
    """One host: a container whose process 1 is systemd, over the base and a disk of its own."""

    def __init__(self, folder: Path, name: str, base: Path) -> None:
        self.name = name
        self._folder = folder
        self._group = f"edgeguard-lab-{folder.parent.parent.name}-{name}"
        self._process: subprocess.Popen[bytes] | None = None
        self.wanted = True
        root = folder / "root"
        root.mkdir(exist_ok=True)
        layers = f"lowerdir={base},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "lab", "-o", layers, root], check=True)

    @property
    def pid(self) -> int:
        """Of its container's program; 0 where it is off."""
        return self._process.pid if self._process else 0

    def look(self) -> None:
        """Start the host where it is wanted and does not run."""
        if self._process is not None and self._process.poll() is not None:
            self.wanted = self.wanted and self._process.returncode == REBOOT
            self._process = None
        if self.wanted and self._process is None:
            self._start()

    def off(self) -> None:
        """Kill everything on the host, and forget what it had not written."""
        self.wanted = False
        if self._process is not None:
            while members := self._members():  # the container's program alone would leave the rest running
                for pid in members:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _members(self) -> list[int]:
        """Every process of the host."""
        listed = [group for top in self._groups() for group in top.rglob("cgroup.procs")]
        return [int(pid) for path in listed for pid in path.read_text(encoding="ascii").split()]

    def _groups(self) -> list[Path]:
        """The host's control group, in each hierarchy. Hosts that share one would end each other's processes."""
        return [Path(top, self._group) for top in _HIERARCHIES if Path(top, "cgroup.procs").exists()]

    def _start(self) -> None:
        groups = self._groups()
        for group in groups:
            group.mkdir(exist_ok=True)

        def enter() -> None:
            for group in groups:
                (group / "cgroup.procs").write_text("0", encoding="ascii")

        cables = [
            f"--network-veth-extra={network.interface(net, self.name)}:{inside}"
            for net, inside in network.INSIDE.items()
        ]
        with (self._folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *("systemd-nspawn", "-q", "-D", self._folder / "root", "-M", self.name, "--boot"),
                    *("--register=no", "--keep-unit", "--private-network", *cables),
                    *("--resolv-conf=off", "--timezone=off", "--kill-signal=SIGRTMIN+3"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                preexec_fn=enter,  # noqa: PLW1509 (this process has one thread)
            )


def keep(folder: Path, base: Path, names: list[str]) -> NoReturn:
    """Keep the hosts until SIGTERM, which ends this process and so everything."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # nspawn refuses where /run belongs to another process 1 than systemd.
    subprocess.run(["mount", "-t", "tmpfs", "lab", "/run"], check=True)
    Path("/run/systemd").mkdir()
    network.lay()
    hosts = {name: Host(folder / "hosts" / name, name, base) for name in names}
    unplugged: set[str] = set()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "control"))
    listener.listen()
    while True:
        for host in hosts.values():
            host.look()
        network.plug(unplugged)
        _reap({host.pid for host in hosts.values()})
        if select.select([listener], [], [], _TICK)[0]:
            connection, _ = listener.accept()
            with connection:
                word, _, what = connection.recv(200).decode().strip().partition(" ")
                if word in ("on", "off"):
                    hosts[what].wanted = word == "on"
                    if word == "off":
                        hosts[what].off()
                elif word == "unplug":
                    unplugged.add(what)
                elif word == "plug":
                    unplugged.discard(what)
                network.plug(unplugged)
                connection.sendall(b"done\n")


def _reap(own: set[int]) -> None:
    """Collect orphans, which come to process 1. The hosts' own processes are collected where their codes are read."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, 0)


def main() -> None:
    """Keep a lab."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    folder, base, *names = sys.argv[1:]
    keep(Path(folder), Path(base), names)


if __name__ == "__main__":
    main()
