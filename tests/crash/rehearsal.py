"""A rehearsal in which many deploys die, one after another, and how to call edgeguard there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from tests.crash.kinds import KINDS
from tests.crash.laws import Beat
from tests.staying_rehearsal import StayingRehearsal, staying_rehearsal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent.parent
SERVERS = ("web1", "web2", "web3")
VARIABLE = "correct-horse-battery"
PATIENCE = 120.0  # seconds that a command may take on a machine that has much else to do
LEASE = 0.6
CLAIM, HELD_CLAIM = 120, 7200
"""Seconds that a deploy's claim lasts; and one where the cluster stays closed."""
QUICK = {
    "EDGEGUARD_EDGE__PROPAGATION": "0.05",
    "EDGEGUARD_EDGE__HEALTHY_ROUNDS": "1",
    "EDGEGUARD_EDGE__HEALTHY_TIMEOUT": "4",
    "EDGEGUARD_CLUSTER__LEASE": str(LEASE),
    "EDGEGUARD_CLAIM__DURATION": str(CLAIM),
    "EDGEGUARD_CLAIM__HELD": str(HELD_CLAIM),
    "EDGEGUARD_PURGE__PACE": "0",
    "EDGEGUARD_VISITORS__ANONYMOUS": "[]",
    "EDGEGUARD_VISITORS__AUTHENTICATED": "[]",
    "EDGEGUARD_VISITORS__ORIGIN": "[]",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": str(ROOT),
}
"""The rehearsal's dictionary is told to be as quick; the visitors are tests/crash/watch.py's."""
_SICK = """
    def do_GET(self) -> None:
        if (Path(__file__).parent / "var" / "sick").exists() and self.headers.get("X-Forwarded-For"):
            self.answer(500, "sick\\n", {"Cache-Control": "no-store"})
        else:
            self.serve()

    def serve(self) -> None:
"""
"""What the bundled application is given: a file that makes it sick for whoever comes through the gate."""

_DAEMON = """
    import subprocess
    import sys

    daemon = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    with (Path(__file__).parent / "var" / "daemons").open("a", encoding="ascii") as daemons:
        daemons.write(f"{daemon.pid}\\n")
"""
"""What a deploy hook is given: a daemon."""

_BEATS = """\
import os
import sys
import time
from pathlib import Path

kind, server, tree = sys.argv[1], os.environ["EDGEGUARD_SERVER"], os.environ["PLATFORM_TREE_ID"][:12]
for _ in range(20 if kind == "cron" else sys.maxsize):
    with (Path(__file__).parent / "var" / "beats").open("a", encoding="ascii") as beats:
        beats.write(f"{time.time()} {kind} {server} {tree}\\n")
    time.sleep(0.05)
"""
"""The application's tasks: while one runs, it says so all the time, a worker until it is ended."""
_TASKS = """
workers:
    beats:
        commands: {{start: exec {python} -S beats.py worker}}
crons:
    beats:
        spec: '* * * * *'
        cmd: exec {python} -S beats.py cron
"""
_NO_TOOLCHAIN = '"php:8.3"\nbuild:\n    flavor: none'
"""A small image that is built at once: what kills in the midst of a build would show is not the point here."""


_Found = TypeVar("_Found", bound="Rehearsal")


@dataclass(frozen=True)
class Ended:
    """A command that has ended. `code` is negative if a signal ended it."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report that the command printed; empty if it printed none."""
        lines = self.out.splitlines()
        last: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        return last if last.get("event") == "report" else {}


@dataclass
class Rehearsal(StayingRehearsal):
    """The rehearsal, its folders, and its addresses."""

    folder: Path
    config: Path
    refs: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Of the releases that are built from these, by the same names."""
    trees: dict[str, str] = field(default_factory=dict)
    """By which their pages name them, by the same names."""
    states: int = 0
    python: str = sys.executable
    """The interpreter of the application, the same for all servers."""
    quick: Mapping[str, str] = field(default_factory=lambda: QUICK)

    @property
    def gate_urls(self) -> tuple[str, ...]:
        """Where visitors ask each gate; twice where there is one gate."""
        return self.gate_url, self.gate_url

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.ready["token"], VARIABLE

    def start(self, *arguments: str, mortal: tuple[str, ...] = (), **variables: str) -> subprocess.Popen[str]:
        """Start a command on a machine of its own: nothing is in its state folder."""
        self.states += 1
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FASTLY_", "EDGEGUARD_"))}
        environment |= {**self.quick, "EDGEGUARD_CONFIG": str(self.config), **variables}
        environment["EDGEGUARD_STATE"] = str(self.folder / "states" / str(self.states))
        program: tuple[str, ...] = ("edgeguard",)
        if mortal:
            world = ("--api", str(urlsplit(self.ready["api_url"]).port), "--root", str(self.root))
            program = ("tests.crash.mortal", *world, *mortal, "--")
        return subprocess.Popen(
            [sys.executable, "-m", *program, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str], *arguments: str) -> Ended:
        """Wait for its end."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            err += f"did not end within {PATIENCE:g} s"
        return Ended(arguments, process.returncode, out, err)

    def run(self, *arguments: str, mortal: tuple[str, ...] = (), **variables: str) -> Ended:
        return self.end(self.start(*arguments, mortal=mortal, **variables), *arguments)

    def hooks(self) -> list[list[str]]:
        """What the applications' deploy hooks noted: [time, what, "on", server, "for", tree]."""
        found = self.root / "mounts" / "var" / "hooks.log"
        return [line.split() for line in found.read_text(encoding="utf-8").splitlines()]

    def daemons(self) -> list[int]:
        """The daemons that deploy hooks have left behind since this was asked last, dead or alive."""
        noted = self.root / "mounts" / "var" / "daemons"
        found = [int(pid) for pid in noted.read_text(encoding="ascii").split()] if noted.exists() else []
        noted.unlink(missing_ok=True)
        return found

    def beats(self) -> list[Beat]:
        """What the tasks of all servers have said since `forget_beats`."""
        return beats(self._beats.read_text(encoding="ascii") if self._beats.exists() else "")

    def forget_beats(self) -> None:
        self._beats.unlink(missing_ok=True)

    @property
    def _beats(self) -> Path:
        return self.root / "mounts" / "var" / "beats"

    def records(self) -> list[dict[str, Any]]:
        """Each server's record, read from its disk."""
        return [json.loads((self.root / "servers" / name / "record.json").read_text()) for name in SERVERS]

    def shown(self, since: int) -> list[str]:
        """The files that hold a secret and should not: what the machines since then have kept, except images; and what
        the servers have written down, except for the variables that they were given and what a hook printed."""
        kept = [
            path for n in range(since + 1, self.states + 1) for path in (self.folder / "states" / str(n)).rglob("*")
        ]
        kept += self.root.glob("servers/*/*.*")
        kept += self.root.glob("gate/*")
        texts = {path: path.read_text(errors="replace") for path in kept if path.is_file()}
        return [str(path) for path, text in texts.items() if any(secret in text for secret in self.secrets)]

    def unfinished(self) -> bool:
        """Whether the servers know of a deploy that has not ended."""
        return bool(self.newest().get("deploy"))

    def newest(self) -> dict[str, Any]:
        """The newest of the servers' records: what has not reached all of them counts."""
        return max(self.records(), key=lambda record: (record["epoch"], record["serial"]))

    def serving(self) -> str:
        """The release that the servers say was opened last."""
        return str(self.newest()["opened"]["release"])

    def named(self, release: str) -> str:
        """A release's name here, of its digest or of what its pages say; that itself where it has none."""
        known = {said: name for names in (self.digests, self.trees) for name, said in names.items()}
        return known.get(release, release)

    def server_urls(self) -> dict[str, str]:
        """Where each server answers, behind the gate."""
        ports = {name: json.loads((self.root / "servers" / name / "port.json").read_text()) for name in SERVERS}
        return {name: f"http://127.0.0.1:{port['port']}" for name, port in ports.items()}

    def sick(self, *, now: bool) -> None:
        """Make the origin sick for requests through the gate, or well again."""
        switch = self.root / "mounts" / "var" / "sick"
        if now:
            switch.touch()
        else:
            switch.unlink(missing_ok=True)

    def obstruct(self) -> None:
        """Put something in the way of the rename on the second server."""
        (self.root / "servers" / "web2" / "current.next" / "in the way").mkdir(parents=True, exist_ok=True)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Call commands on machines that have nothing but the configuration. The images are the servers' own here."""
        yield

    def left_behind(self) -> list[str]:
        """The processes and units of commands that have ended, in words."""
        return []

    def rescue(self) -> None:
        """Make the rehearsal whole by any means, after a scenario or a broken edgeguard has damaged it."""
        self.clear()
        self.run("rollback", "rehearsal", "--json")
        self.run("cluster", "open", "rehearsal", "--json")
        everything = ("mixed-releases", "origins-sick", "closed", "not-kept", "no-store", "short-runway")
        accepted = [word for name in everything for word in ("--accept", name)]
        done = self.run("deploy", "rehearsal", "--json", "--ref", self.refs["first"], *accepted)
        assert done.code == 0, done.err

    def clear(self) -> None:
        """Remove everything that a scenario has put there."""
        obstacle = self.root / "servers" / "web2" / "current.next"
        if obstacle.is_dir() and not obstacle.is_symlink():
            shutil.rmtree(obstacle)
        self.sick(now=False)
        self.control("DELETE", "faults")


def beats(said: str) -> list[Beat]:
    """The lines that tasks wrote. The last one may not be whole yet."""
    lines = [line.split() for line in said.splitlines(keepends=True) if line.endswith("\n")]
    return [Beat(float(at), kind, server, tree) for at, kind, server, tree in lines]


@contextmanager
def rehearsing(folder: Path) -> Iterator[Rehearsal]:
    """A rehearsal with two good releases and each failing one. The first of them serves, and before it the second."""
    folder.mkdir(parents=True, exist_ok=True)
    with staying_rehearsal(folder / "log", "--hook-seconds", "0.3") as found:
        yield furnished(Rehearsal(found.process, found.ready, folder, folder / "config"))


def furnished(found: _Found, kinds: Collection[str] = KINDS, deployed: Sequence[str] = ("second", "first")) -> _Found:
    """With the releases that these kinds of deploys need, of which some are deployed. With the two of the default, the
    release that it began with is neither the previous one nor to be pruned."""
    found.config.mkdir()
    text = found.own_config.read_text()
    assert "[application.variables]\n" in text
    text = text.replace("[application.variables]\n", f'[application.variables]\n"PASSWORD" = "{VARIABLE}"\n')
    (found.config / "rehearsal.toml").write_text(text)
    found.control("POST", "propagation", {"seconds": 0.02})
    repository = Path(found.ready["repository"])
    server = repository / "server.py"
    source = server.read_text().replace("    def do_GET(self) -> None:\n", _SICK.lstrip("\n"), 1)
    server.write_text(source)
    about = repository / ".platform.app.yaml"
    quick = about.read_text().replace('"python:3"', _NO_TOOLCHAIN)
    for word in ("exec", "deploy:"):  # a build's sandbox shows the system's Python alone
        quick = quick.replace(f"{word} python3 ", f"{word} {found.python} -S ")
    about.write_text(quick + _TASKS.format(python=found.python))
    (repository / "beats.py").write_text(_BEATS)
    found.refs["first"] = commit(repository, "A switch")
    (repository / "motto.txt").write_text("Another motto\n")
    found.refs["second"] = commit(repository, "Another motto")
    _failing(found, repository, kinds)
    if "daemon" in kinds:
        _leaving_daemons(found, repository)
    for ref in found.refs.values():  # all images are built before anything dies
        done = found.run("plan", "rehearsal", "--ref", ref, "--json")
        assert done.code == 0, done.err
    built = [json.loads(path.read_text()) for path in found.root.glob("releases/*/release.json")]
    found.digests |= {
        name: each["digest"] for name, ref in found.refs.items() for each in built if each["commit"] == ref
    }
    found.trees |= {name: git(repository, "rev-parse", f"{ref}^{{tree}}")[:12] for name, ref in found.refs.items()}
    for name in deployed:
        done = found.run("deploy", "rehearsal", "--ref", found.refs[name], "--json")
        assert done.code == 0, done.err
    return found


def _failing(found: Rehearsal, repository: Path, kinds: Collection[str]) -> None:
    """Releases that fail in their hook, at the check on one server, and only through the gate."""
    about, server = repository / ".platform.app.yaml", repository / "server.py"
    application, source = about.read_text(), server.read_text()
    exists = '(Path(__file__).parent / "var" / "sick").exists()'
    assert exists in source
    assert "migrate.py" in application
    for kind, condition in (
        ("hook", None),
        ("check", 'os.environ.get("EDGEGUARD_SERVER") == "web2"'),
        ("healthy", 'self.headers.get("X-Forwarded-For")'),
    ):
        if kind not in kinds and not (kind == "hook" and "fix" in kinds):
            continue
        if condition is None:
            (repository / "migrate.py").write_text(
                (repository / "migrate.py")
                .read_text()
                .replace('note("done")', f'note("failed")\n    print({VARIABLE!r})\n    raise SystemExit(3)')
            )
        else:
            server.write_text(source.replace(f'{exists} and self.headers.get("X-Forwarded-For")', condition))
        found.refs[kind] = commit(repository, f"A release that fails: {kind}")
        git(repository, "checkout", "--quiet", found.refs["second"], "--", ".")


def _leaving_daemons(found: Rehearsal, repository: Path) -> None:
    """Two releases whose deploy hook leaves a daemon behind, in a session of its own, with the hook's output open."""
    migrate = repository / "migrate.py"
    source = migrate.read_text()
    assert 'note("started")\n' in source
    for name in ("daemon", "another daemon"):
        migrate.write_text(source.replace('note("started")\n', f'note("started")\n{_DAEMON}') + f"# {name}\n")
        found.refs[name] = commit(repository, f"A release with a {name}")
        git(repository, "checkout", "--quiet", found.refs["second"], "--", ".")


def commit(repository: Path, message: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgSign=false")
    git(repository, "add", "--all")
    git(repository, *who, "commit", "--quiet", "--no-verify", f"--message={message}")
    return git(repository, "rev-parse", "HEAD").strip()


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout
