"""An sshd of the tests' own: on a loopback port, with keys and files of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.ssh.connection import Connection, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "/usr/sbin/sshd"


def keygen(path: Path) -> Path:
    """A new key pair; the path of its secret half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    """A port of 127.0.0.1 at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def processes_of(parent: int) -> list[int]:
    """The processes that a process has started, and those that they have started, the deepest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found += [*processes_of(int(stat.parent.name)), int(stat.parent.name)]
    return found


def until(true: object, seconds: float = 30.0) -> None:
    """Wait until a function returns something true."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


class Host:
    """A host that is reached over this sshd, by the configuration that ssh gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.key = keygen(folder / "key")
        self.host_key = keygen(folder / "host_key")
        self.root = folder / "root"
        self.server = self.root / "servers" / "web1"
        self.known = folder / "known_hosts"
        self.authorized = folder / "authorized_keys"
        self.config = folder / "ssh_config"
        self.authorized.write_text(folder.joinpath("key.pub").read_text())
        self.know("host_key.pub")
        self.client()
        self._sshd: subprocess.Popen[bytes] | None = None

    def know(self, public: str) -> None:
        """Let the user know this key as the host's."""
        self.known.write_text(f"[127.0.0.1]:{self.port} {self.folder.joinpath(public).read_text()}")

    def client(self, *more: str) -> None:
        """Write the user's configuration; the lines in `more` come first."""
        lines = (
            "HostName 127.0.0.1",
            f"Port {self.port}",
            f"IdentityFile {self.key}",
            "IdentityAgent none",
            f"UserKnownHostsFile {self.known}",
            "GlobalKnownHostsFile /dev/null",
            "KexAlgorithms curve25519-sha256",
        )
        self.config.write_text("\n".join((*more, "Host web1", *lines, "")))

    def target(self, **options: object) -> Target:
        """How this host is reached, with these options of Target's."""
        there: dict[str, object] = {"server": "web1", "host": "web1", "config": str(self.config)}
        return Target(**{**there, **options})  # type: ignore[arg-type]

    def connection(
        self, target: Target | None = None, *, may_install: bool | None = None, opening: float = 30.0
    ) -> Connection:
        target = target or self.target()
        return Connection(target, self.root, self.server, may_install=may_install, opening=opening)

    def start(self, *more: str) -> None:
        """Start sshd; the lines in `more` come first."""
        lines = (
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {self.host_key}",
            f"PidFile {self.folder / 'pid'}",
            f"AuthorizedKeysFile {self.authorized}",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "AcceptEnv LC_*",
            "PrintMotd no",
            "PrintLastLog no",
        )
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        config, log = self.folder / "sshd_config", self.folder / "log"
        config.write_text("\n".join((*more, *lines, f"SetEnv HOME={home} BASH_ENV=", "")))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
        with log.open("wb") as file:
            started = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=file, stdin=subprocess.DEVNULL)
        self._sshd = started
        until(lambda: started.poll() is not None or "Server listening" in log.read_text())
        assert started.poll() is None, log.read_text()

    def sessions(self) -> list[int]:
        """The processes of the connections that sshd serves."""
        assert self._sshd is not None
        return processes_of(self._sshd.pid)

    def processes(self) -> set[int]:
        """All processes of this host, sshd among them."""
        return set() if self._sshd is None else {self._sshd.pid, *self.sessions()}

    def cut(self) -> None:
        """Kill the processes that serve connections, but not what they run."""
        for pid in self.sessions():
            with suppress(OSError):
                if re.match(rb"sshd[:\0]", Path(f"/proc/{pid}/cmdline").read_bytes()):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End sshd, and what it still serves."""
        if self._sshd is not None:
            for pid in (*self.sessions(), self._sshd.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._sshd.wait()
            self._sshd = None


@contextmanager
def host(folder: Path, *more: str) -> Iterator[Host]:
    """A host whose sshd runs as long as the block lasts."""
    made = Host(folder)
    try:
        made.start(*more)
        yield made
    finally:
        made.stop()
