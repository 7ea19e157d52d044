"""The world of the driver `commands`: the sample scripts of config/commands, real servers behind a real HAProxy."""

from __future__ import annotations

import random
import shlex
import shutil
import socket
import subprocess
import tomllib
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from edgeguard import testing
from edgeguard.cluster.commands import CommandsCluster
from edgeguard.testing.local import free_port
from edgeguard.testing.world import until

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = Path(__file__).parents[2] / "config" / "commands"
STEPS = tomllib.loads((SCRIPTS / "site.toml").read_text(encoding="utf-8"))["cluster"]["options"]
_ENDING = """
. ./site
for name in web1 web2 web3; do
    ! runs "$SITE/$name" || kill "$(cat "$SITE/$name/run/pid")"
    while runs "$SITE/$name"; do sleep 0.05; done
    end_session "$SITE/$name/run/session"
done
[ ! -e "$SITE/gate/pid" ] || kill -9 $(cat "$SITE/gate/pid") || true
"""


class World(testing.World):
    """The scripts' own folder, SITE, has a short name: that of a socket has at most 107 characters (unix(7))."""

    def start(self) -> None:
        """Everything begins with the first deploy."""
        self.site = Path(mkdtemp(prefix="site-"))
        self.ports = [free_port(), _three_free_ports()]
        self.address = ("127.0.0.1", self.ports[0])

    def settings(self) -> dict[str, Any]:
        """The sample environment, with this world's folder and ports."""
        own = f"export SITE={self.site} GATE_PORT={self.ports[0]} FIRST_PORT={self.ports[1]}; "
        steps = {step: own + said for step, said in STEPS.items() if "./" in str(said)}
        return {"root": self.folder, "options": {**steps, "folder": SCRIPTS, "one_gate": True}}

    def end(self) -> None:
        """End hooks, servers and gate, whatever a test left of them."""
        CommandsCluster("test", self.cluster_settings()).dismantle()
        self.shell("web1", f"cd {shlex.quote(str(SCRIPTS))}; export SITE={self.site}; {_ENDING}")
        shutil.rmtree(self.site)

    @property
    def scratch(self) -> str:
        """One folder for all servers."""
        made = self.folder / "scratch"
        made.mkdir(parents=True, exist_ok=True)
        return str(made)

    def shell(self, server: str, script: str) -> str:
        """Every server is this machine."""
        del server
        return subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, check=False).stdout

    def break_swap(self, server: str) -> Callable[[], None]:
        """Put a folder where the swap makes its link."""
        obstacle = self.site / server / "next"
        (obstacle / "in the way").mkdir(parents=True)
        return lambda: shutil.rmtree(obstacle)

    def end_supervisor(self, server: str) -> None:
        """The application's web process lives on."""
        run = self.site / server / "run"
        self.shell(server, f"kill -9 $(cat {run}/pid)")
        until(lambda: bool(self.shell(server, f"flock -n {run}/lock echo free")), "keep-running has ended")

    def end_gate(self) -> None:
        """All connections through it are cut."""
        pid = (self.site / "gate" / "pid").read_text(encoding="ascii").strip()
        self.shell("web1", f"kill -9 {pid}")
        until(lambda: not self.shell("web1", f"kill -0 {pid} 2>/dev/null && echo alive"), "HAProxy has ended")


def _three_free_ports() -> int:
    """The first of three ports in a row that nobody listens on, outside of those that the system gives to clients."""
    while True:
        first = random.randrange(12_000, 30_000, 3)
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + 3):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
