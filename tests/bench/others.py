"""What others do the same work with: pyinfra and asyncssh, in an environment of their own, and the hosts' side of it.

On each host they have a site of their own beside edgeguard's: the same program in a systemd unit, two releases of it
and a link to the current one, and in front of it a second HAProxy with the same rules as edgeguard's gate.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import haproxy_rules
from tests.lab import base, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.lab.lab import Lab

PROGRAMS = ("pyinfra", "asyncssh")
PINNED = ("pyinfra==3.10.0", "asyncssh==2.24.1")
GATE_PORT = 81
_HERE = Path(__file__).parent
_APP_PORT, _MASTER_PORT = 8101, 8199
_ROOT = Path("/srv/bench")
_CLOSED, _OPEN = "closed bench", "open bench"

_PREPARE = """
set -e
mkdir -p {root}/releases/a {root}/releases/b {root}/gate
cat > {root}/releases/a/serve.py <<'END'
{site}
END
cp {root}/releases/a/serve.py {root}/releases/b/serve.py
ln -sfn releases/a {root}/current
cat > {root}/gate/haproxy.cfg <<'END'
{rules}
END
echo 'gate {opened}' > {root}/gate/state
cat > /etc/systemd/system/bench-web.service <<'END'
[Unit]
StartLimitIntervalSec=0
[Service]
Environment=PORT={app_port}
ExecStart=/usr/bin/python3 -I -S {root}/current/serve.py
END
cat > /etc/systemd/system/bench-gate.service <<'END'
[Service]
Type=notify
ExecStart=/usr/sbin/haproxy -Ws -f {root}/gate/haproxy.cfg -S 127.0.0.1:{master_port}
END
systemctl daemon-reload
systemctl restart bench-web bench-gate
"""
_TOLD = """\
echo 'gate {value}' > {root}/gate/state.new && mv {root}/gate/state.new {root}/gate/state && \
bash -c "exec 3<>/dev/tcp/127.0.0.1/{master_port}; echo '@1 set map {root}/gate/state gate {escaped}' >&3; \
read -r -t 5 said <&3"
"""
_FLIP = (
    'cd {root} && if [ "$(readlink current)" = releases/a ]; then to=b; else to=a; fi && '
    "ln -sfn releases/$to current.new && mv -T current.new current"
)
_UNTIL_IT_LISTENS = "until bash -c '</dev/tcp/127.0.0.1/{app_port}' 2>/dev/null; do sleep 0.01; done"
_FACTS = {"root": _ROOT, "app_port": _APP_PORT, "master_port": _MASTER_PORT, "opened": _OPEN}
RESTART = "systemctl restart bench-web"
HOOK = "sleep 1"


def prepare(lab: Lab) -> None:
    """Make the hosts ready for the others."""
    rules = haproxy_rules.configuration(_ROOT / "gate", app_port=_APP_PORT, listen=f"*:{GATE_PORT}")
    site = (_HERE / "site" / "serve.py").read_text(encoding="utf-8")
    for host in lab.hosts:
        done = lab.ssh(host, _PREPARE.format(site=site, rules=rules, **_FACTS), limit=60)
        if done.returncode:
            sys.exit(f"{host} can't be prepared: {done.stderr}")


def _installed() -> Path:
    """The folder of programs of a virtual environment that has the others. It is made if need be, and kept."""
    folder = base.KEPT / "bench"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *PINNED], check=True)
        (folder / "ready").touch()
    return folder / "bin"


class Others:
    """Runs them in a lab, each with the same acts."""

    def __init__(self, lab: Lab, folder: Path, programs: Sequence[str]) -> None:
        """`folder` is for what they write, `programs` are those of PROGRAMS that will be run."""
        self.programs = programs
        self._lab = lab
        self._folder = folder
        self._bin = _installed() if programs else folder

    def acts(self, *, restarts: bool) -> list[dict[str, Any]]:
        """Close, flip the link (and restart the site), the hook, and open."""
        flip = _FLIP.format(**_FACTS)
        return [
            {"name": "close", "command": _told(_CLOSED), "once": False},
            {"name": "swap", "command": f"{flip} && {RESTART}" if restarts else flip, "once": False},
            {"name": "hook", "command": HOOK, "once": True},
            *([{"name": "check", "command": _UNTIL_IT_LISTENS.format(**_FACTS), "once": False}] if restarts else []),
            {"name": "open", "command": _told(_OPEN), "once": False},
        ]

    def command(self, name: str, *, restarts: bool) -> list[str]:
        """The command that runs one of PROGRAMS to its end. The next call replaces what it does."""
        order = self._folder / "order.json"
        addresses = [network.address(network.ADMIN, number) for number, _ in enumerate(self._lab.hosts, 1)]
        access = {"key": str(self._lab.folder / "key"), "known_hosts": str(self._lab.folder / "known_hosts")}
        said = {"hosts": addresses, **access, "acts": self.acts(restarts=restarts)}
        order.write_text(json.dumps(said), encoding="utf-8")
        scripts = _HERE / "rivals"
        programs: dict[str, list[str | Path]] = {
            "pyinfra": ["pyinfra", "-y", scripts / "inventory.py", scripts / "with_pyinfra.py"],
            "asyncssh": ["python", scripts / "with_asyncssh.py", order],
        }
        argv = programs[name]
        setting = ["env", "-C", str(self._folder), f"BENCH_ORDER={order}"]
        return self._lab.inside([*setting, str(self._bin / argv[0]), *map(str, argv[1:])])

    def run(self, name: str, *, restarts: bool) -> None:
        """Run one of them to its end: one of PROGRAMS."""
        done = subprocess.run(self.command(name, restarts=restarts), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name} failed: {done.stdout}\n{done.stderr}")


class Control:
    """The work alone, over a shell on each host that waits for a line: the restart everywhere at once, and the hook on
    one host. Nothing is closed."""

    def __init__(self, lab: Lab) -> None:
        argv = [["ssh", "-F", str(lab.ssh_config), host, "sh"] for host in lab.hosts]
        pipe = subprocess.PIPE
        self._shells = [subprocess.Popen(each, stdin=pipe, stdout=pipe, text=True) for each in argv]
        self._do("true", self._shells)

    def run(self, *, restarts: bool) -> float:
        """The milliseconds that it took."""
        began = time.monotonic()
        if restarts:
            self._do(RESTART, self._shells)
        self._do(HOOK, self._shells[:1])
        return 1000 * (time.monotonic() - began)

    def end(self) -> None:
        """End the shells."""
        for shell in self._shells:
            shell.communicate()

    def _do(self, command: str, shells: Sequence[subprocess.Popen[str]]) -> None:
        for shell in shells:
            assert shell.stdin is not None
            shell.stdin.write(f"{command}; echo $?\n")
            shell.stdin.flush()
        for shell in shells:
            assert shell.stdout is not None
            if (said := shell.stdout.readline()) != "0\n":
                sys.exit(f"{command} failed: {said}")


@contextmanager
def control(lab: Lab) -> Iterator[Control]:
    """A control, until the block ends."""
    found = Control(lab)
    try:
        yield found
    finally:
        found.end()


def _told(value: str) -> str:
    """The command that writes the gate's state, on disk and into its memory."""
    return _TOLD.format(value=value, escaped=value.replace(" ", "\\\\ "), **_FACTS)
