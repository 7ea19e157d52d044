"""The world of the driver `commands`: the sample scripts of config/commands, real servers behind a real HAProxy."""

from __future__ import annotations

import shlex
import shutil
import tomllib
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.commands import CommandsCluster
from edgeguard.testing import local
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


class World(local.World):
    """Three servers on this machine, as those of `local`. The scripts' own folder, SITE, has a short name: that of a
    socket has at most 107 characters (unix(7))."""

    def start(self) -> None:
        """Reserve ports. Everything else begins with the first deploy."""
        super().start()
        self.site = Path(mkdtemp(prefix="site-"))

    def settings(self) -> dict[str, Any]:
        """The sample environment, with this world's folder and ports."""
        own = f"export SITE={self.site} GATE_PORT={self.address[1]} FIRST_PORT={self.first_port}; "
        steps = {step: own + said for step, said in STEPS.items() if "./" in str(said)}
        return {"root": self.folder, "options": {**steps, "folder": SCRIPTS, "one_gate": True}}

    def end(self) -> None:
        """End hooks, servers and gate, whatever a test left of them."""
        CommandsCluster("test", self.cluster_settings()).dismantle()
        self.shell("web1", f"cd {shlex.quote(str(SCRIPTS))}; export SITE={self.site}; {_ENDING}")
        shutil.rmtree(self.site)
        self._guard.close()

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
