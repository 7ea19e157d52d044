"""One lab: its folder, its keeper, and what people do to its hosts."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import background, base, front_door, network, way_out
from tests.lab.base import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_READY_SECONDS = 180.0
_START_SECONDS = 10.0


@dataclass(frozen=True)
class Lab:
    """A lab of this name, up or down. Two labs never meet: each has networks of its own, with the same addresses."""

    name: str = "lab"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}", self.name):
            raise LabError("A lab's name has small letters, digits and dashes.")

    @property
    def folder(self) -> Path:
        """What the lab writes: disks, keys, logs. `down` removes it."""
        return base.KEPT / "labs" / self.name

    @property
    def hosts(self) -> list[str]:
        """The names of its hosts, in their order."""
        return sorted(path.name for path in (self.folder / "hosts").glob("*/"))

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: the hosts' addresses, the key, and the host keys."""
        return self.folder / "ssh_config"

    # Up and down

    def up(self, hosts: Sequence[str]) -> None:
        """Boot the hosts and wait until they can be reached. A lab that is up stays as it is.

        Raises:
            LabError: a host could not be reached in time; everything is down again.
        """
        with base.alone(base.KEPT / f"{self.name}.lock"):
            if self.pid() is not None:
                return
            self._clear()
            lowest = base.made()
            self._furnish(hosts, lowest)
            unshared = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net"]
            keeper: list[str | Path] = [sys.executable, "-P", "-m", "tests.lab.keeper", self.folder, lowest, *hosts]
            pid = background.start([*unshared, *keeper], self.folder / "keeper.log")
            try:
                self._note(self._listening(pid))
                self._write_ssh_config(hosts)
                way_out.start(self.folder, self._pid_or_fail())
                ports = front_door.start(self.folder, self._pid_or_fail(), hosts)
                self._note(self._pid_or_fail(), ports)
                self._write_driver_config(hosts, ports[front_door.ALL])
                self.wait(hosts)
            except BaseException:
                self._end(pid)
                raise

    def down(self) -> None:
        """End everything of this lab, and remove its files. Repeating it is harmless."""
        with base.alone(base.KEPT / f"{self.name}.lock"):
            self._clear()

    def pid(self) -> int | None:
        """The keeper's process id; None where the lab is down."""
        with suppress(OSError, ValueError, KeyError):
            known = json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))
            if background.began(known["pid"]) == known["began"]:
                return int(known["pid"])
        return None

    @property
    def driver_config(self) -> Path:
        """For `edgeguard rehearse --driver ssh --driver-config`: the hosts as a cluster, and where visitors find it."""
        return self.folder / "driver.toml"

    def front_door(self, host: str = front_door.ALL) -> tuple[str, int]:
        """Where visitors reach the hosts in turns, or one of them, from this machine: an address and a port."""
        return "127.0.0.1", int(json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))["front_door"][host])

    # Acts

    def run(self, argv: Sequence[str]) -> int:
        """Run a command where the hosts can be reached. It finds the registries through the lab's way out."""
        return subprocess.call(self.inside(argv), env={**os.environ, **way_out.VARIABLES})

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a command in the lab's network."""
        return ["nsenter", "--target", str(self._pid_or_fail()), "--net", "--", *argv]

    def ssh(
        self, host: str, command: str, *, user: str = "root", limit: float = 20.0, shared: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on a host. A `shared` connection is kept for the next one, which is faster; it is for
        hosts that nobody reboots or cuts off."""
        kept = ["ControlMaster=auto", f"ControlPath={self.folder}/%h-%r", "ControlPersist=60"] if shared else []
        options = [word for option in ("ConnectTimeout=2", *kept) for word in ("-o", option)]
        argv = ["ssh", "-F", str(self.ssh_config), *options, "-l", user, host, command]
        return subprocess.run(
            self.inside(argv), capture_output=True, text=True, timeout=limit, check=False, stdin=subprocess.DEVNULL
        )

    def tell(self, words: str) -> None:
        """Let the keeper do something; see its docstring."""
        self._pid_or_fail()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.folder / "control"))
            connection.sendall(words.encode())
            if connection.recv(100) != b"done\n":
                raise LabError(f"The lab did not understand {words!r}.")

    def wait(self, hosts: Sequence[str]) -> None:
        """Wait until these hosts have booted and can be reached."""
        deadline = time.monotonic() + _READY_SECONDS
        for host in hosts:
            while (said := self.booted(host)) not in ("running", "degraded"):
                if time.monotonic() > deadline:
                    raise LabError(f"{host} can't be reached ({said}); see {self.folder / 'hosts' / host / 'console'}.")
                time.sleep(0.1)

    def reboot(self, host: str) -> None:
        """Reboot a host in an orderly way, and wait until it is back."""
        before = self.ssh(host, "cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22").stdout
        self.ssh(host, "systemctl reboot")
        deadline = time.monotonic() + _READY_SECONDS
        while self.ssh(host, "cat /proc/sys/kernel/random/boot_id; cat /proc/1/stat | cut -d' ' -f22").stdout in (
            "",
            before,
        ):
            if time.monotonic() > deadline:
                raise LabError(f"{host} does not come back; see {self.folder / 'hosts' / host / 'console'}.")
            time.sleep(0.1)
        self.wait([host])

    def memory(self) -> int:
        """Bytes of memory that the lab's processes have for themselves."""
        mine = f"edgeguard-lab-{self.name}-"
        used = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                if mine in (process / "cgroup").read_text(encoding="ascii"):
                    used += sum(
                        int(line.split()[1]) * 1024
                        for line in (process / "smaps_rollup").read_text(encoding="ascii").splitlines()
                        if line.startswith("Private_")
                    )
        return used

    # Its parts

    def booted(self, host: str) -> str:
        """What a host says of itself (`running`, `starting`, …), or why it says nothing."""
        try:
            done = self.ssh(host, "systemctl is-system-running", limit=5)
        except subprocess.TimeoutExpired:
            return "no answer"
        return done.stdout.strip() or done.stderr.strip()[-200:]

    def _furnish(self, hosts: Sequence[str], lowest: Path) -> None:
        """Write the hosts' disks, and what this machine needs to reach them."""
        self.folder.mkdir(parents=True, mode=0o700)
        key = self.folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key], check=True)
        known = []
        for number, host in enumerate(hosts, 1):
            disk = self.folder / "hosts" / host / "upper"
            disk.mkdir(parents=True)
            disk.chmod(0o755)
            (self.folder / "hosts" / host / "work").mkdir()
            _write(disk / "etc/hostname", f"{host}\n")
            for net, inside in network.INSIDE.items():
                address = network.address(net, number)
                _write(
                    disk / f"etc/systemd/network/10-{inside}.network",
                    f"[Match]\nName={inside}\n[Network]\nAddress={address}/24\nLinkLocalAddressing=no\n",
                )
            for home in ("root", "home/deploy"):
                keys = disk / home / ".ssh/authorized_keys"
                _write(keys, key.with_suffix(".pub").read_text(encoding="utf-8"))
                owner = (lowest / home).stat()  # sshd demands that the key's file is the user's own
                for path in (disk / home, keys.parent, keys):
                    os.chown(path, owner.st_uid, owner.st_gid)
                (disk / home).chmod(owner.st_mode & 0o777)
            host_key = disk / "etc/ssh/ssh_host_ed25519_key"
            host_key.parent.mkdir(parents=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host, "-f", host_key], check=True)
            public = host_key.with_suffix(".pub").read_text(encoding="utf-8").split()
            known.append(f"{host},{network.address(network.ADMIN, number)} {public[0]} {public[1]}\n")
        (self.folder / "known_hosts").write_text("".join(known), encoding="utf-8")

    def _write_ssh_config(self, hosts: Sequence[str]) -> None:
        """Let `ssh -F` reach the hosts, from this machine and from the lab's own network alike."""
        blocks = [
            f"Host {host}\n  HostName {network.address(network.ADMIN, number)}\n"
            for number, host in enumerate(hosts, 1)
        ]
        way = f"nsenter --target {self._pid_or_fail()} --net -- socat - TCP:%h:%p,nodelay"
        self.ssh_config.write_text(
            "".join(blocks)
            + "Host *\n  User root\n  BatchMode yes\n  StrictHostKeyChecking yes\n  IdentitiesOnly yes\n"
            + f"  IdentityFile {self.folder / 'key'}\n  UserKnownHostsFile {self.folder / 'known_hosts'}\n"
            + f"  GlobalKnownHostsFile none\n  ProxyCommand {way}\n",
            encoding="utf-8",
        )

    def _write_driver_config(self, hosts: Sequence[str], port: int) -> None:
        """Let a rehearsal find the hosts."""
        self.driver_config.write_text(
            f"[cluster]\nservers = {json.dumps(list(hosts))}\nroot = {json.dumps(str(self.folder / 'cluster'))}\n"
            f"[cluster.options]\nssh_config = {json.dumps(str(self.ssh_config))}\n"
            f'[doctor]\norigin = "http://127.0.0.1:{port}"\n',
            encoding="utf-8",
        )

    def _listening(self, unshare: int) -> int:
        """The keeper's process id, as this machine counts, once it listens."""
        children = Path(f"/proc/{unshare}/task/{unshare}/children")
        deadline = time.monotonic() + _START_SECONDS
        while not (self.folder / "control").exists():
            if background.began(unshare) is None or time.monotonic() > deadline:
                raise LabError(f"The lab does not start; see {self.folder / 'keeper.log'}.")
            time.sleep(0.01)
        return int(children.read_text(encoding="ascii"))

    def _note(self, pid: int, ports: Mapping[str, int] | None = None) -> None:
        """Write down what tells others of this lab."""
        note = {"pid": pid, "began": background.began(pid), "front_door": ports}
        (self.folder / "lab.json").write_text(json.dumps(note), encoding="utf-8")

    def _pid_or_fail(self) -> int:
        pid = self.pid()
        if pid is None:
            raise LabError(f"The lab {self.name!r} is down. `scripts/lab up` starts it.")
        return pid

    def _end(self, unshare: int | None = None) -> None:
        for pid in filter(None, (self.pid(), unshare)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while background.began(pid) is not None:
                time.sleep(0.01)

    def _clear(self) -> None:
        self._end()
        way_out.end(self.folder)
        front_door.end(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        for top in ("unified", "systemd", "."):
            for group in Path("/sys/fs/cgroup", top).glob(f"edgeguard-lab-{self.name}-*"):
                for inner in sorted(group.rglob("*/"), reverse=True):
                    with suppress(OSError):
                        inner.rmdir()
                with suppress(OSError):
                    group.rmdir()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
