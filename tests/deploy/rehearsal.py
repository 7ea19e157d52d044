"""A rehearsal that many tests share, and real `edgeguard` processes in it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.host import hooks
from edgeguard.deploy.status import status
from edgeguard.environment import Environment
from tests.staying_rehearsal import StayingRehearsal

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 180.0  # seconds that a command may take on a machine that has much else to do; a hook may wait a minute
EDGEGUARD = (sys.executable, "-m", "edgeguard")
STATE = "EDGEGUARD_STATE"
VARIABLE = "correct-horse-battery"
DATABASE = "sesame-opens-it"
QUICK = {
    "EDGEGUARD_EDGE__PROPAGATION": "0.1",
    "EDGEGUARD_CLUSTER__START_TIMEOUT": "2",
    "EDGEGUARD_EDGE__HEALTHY_TIMEOUT": "3",
    "EDGEGUARD_VISITORS__RATE": "5",
}
"""The rehearsal's dictionary is told to be as quick. Few visitors: other tests look at what they see."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        assert last["event"] == "report"
        return last


class Command:
    """A running `edgeguard`. Its output and its command line are searched for secrets."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self.state = Path(arguments[arguments.index("--state") + 1] if "--state" in arguments else environment[STATE])
        self.process = subprocess.Popen(
            [*EDGEGUARD, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def seen(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read its events up to the wanted one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.public(line)
            event: dict[str, Any] = json.loads(line)
            if wanted(event):
                return event
        raise AssertionError(self.end().err)

    def begins(self, phase: str) -> None:
        self.seen(lambda event: event["event"] == "begin" and event["phase"] == phase)

    def end(self) -> Ended:
        out, err = self.process.communicate(timeout=PATIENCE)
        self.public(out + err)
        return Ended(self.process.returncode, out, err)

    def public(self, text: str) -> None:
        assert not [secret for secret in self._secrets if secret in text], text


@dataclass
class Rehearsal(StayingRehearsal):
    """A rehearsal with a configuration and a state folder of the tests' own, and how to call edgeguard there."""

    config: Path
    state: Path
    secrets: tuple[str, ...]
    commands: list[Command] = field(default_factory=list)
    judged: set[tuple[Path, int]] = field(default_factory=set)
    """The journals and samples that were found to be right, each with its size then."""

    def start(self, *arguments: str, **variables: str) -> Command:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FASTLY_", "EDGEGUARD_"))
        }
        environment |= {"EDGEGUARD_CONFIG": str(self.config), STATE: str(self.state), **QUICK, **variables}
        self.commands.append(Command(arguments, environment, self.secrets))
        return self.commands[-1]

    def run(self, *arguments: str, **variables: str) -> Ended:
        return self.start(*arguments, **variables).end()

    def deploy(self, *arguments: str, **variables: str) -> Ended:
        return self.run("deploy", "rehearsal", "--json", *arguments, **variables)

    def deploy_of(self, repository: Path, *arguments: str, **variables: str) -> Ended:
        return self.deploy(*arguments, **come_from(repository), **variables)

    def rescue(self) -> None:
        """Clean up after a failed test, so that others don't fail, too: end its commands, and take back its deploy."""
        while self.commands:
            process = self.commands.pop().process
            if process.poll() is None:
                process.kill()
                process.communicate()
        left = self.status()
        if left["lock"] or left["deploy"]:
            for server in (self.root / "servers").glob("*"):
                hooks.end(server)
            self.run("rollback", "rehearsal", EDGEGUARD_CLUSTER__LEASE="1")

    def status(self) -> dict[str, Any]:
        """What `edgeguard status --json` says. It is asked in this process: most tests ask several times."""
        environment = Environment.open("rehearsal", config=self.config, state=self.state)
        found: dict[str, Any] = json.loads(json.dumps(status(environment, now=time.time()).json()))
        return found

    def writes(self) -> list[dict[str, Any]]:
        return [call for call in self.history() if call["method"] not in ("GET", "HEAD")]


def come_from(repository: Path) -> dict[str, str]:
    return {"EDGEGUARD_APPLICATION__REPOSITORY": str(repository), "EDGEGUARD_APPLICATION__BRANCH": "main"}


def furnished(found: StayingRehearsal, folder: Path) -> Rehearsal:
    """The rehearsal with an environment's file that has secrets in it, and an edge that gets writes at once."""
    config = folder / "config"
    config.mkdir()
    secret = f'"PASSWORD" = "{VARIABLE}"\n'
    text = found.own_config.read_text()
    assert "[application.variables]\n" in text
    text = text.replace("[application.variables]\n", f"[application.variables]\n{secret}")
    text += f'[application.relationships]\n"database" = "postgresql://user:{DATABASE}@127.0.0.1:1/main"\n'
    (config / "rehearsal.toml").write_text(text)
    found.control("POST", "propagation", {"seconds": 0.05})
    secrets = (found.ready["token"], VARIABLE, DATABASE)
    return Rehearsal(found.process, found.ready, config, folder / "state", secrets)


SERVER = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


def repository(folder: Path, application: str | None = None, **changes: str) -> Path:
    """A repository on `main`. Its application's file has these keys changed, or this text; an empty text: no file. The
    key `more` is appended to the file."""
    folder.mkdir(parents=True)
    keys = {
        "start": f"exec {sys.executable} -S server.py",
        "build": "true",
        "deploy": "true",
        **changes,
    }
    text = application
    if application is None:
        text = (
            'name: site\ntype: "php:8.3"\nbuild:\n    flavor: none\n'
            f"hooks:\n    build: {json.dumps(keys['build'])}\n    deploy: {json.dumps(keys['deploy'])}\n"
            f"web:\n    commands:\n        start: {json.dumps(keys['start'])}\n{changes.get('more', '')}"
        )
    if text:
        (folder / ".platform.app.yaml").write_text(text)
    (folder / "server.py").write_text(SERVER)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", folder], check=True)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all files."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    for arguments in (("add", "--all"), (*who, "commit", "--quiet", "--message=A site")):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def said(ended: Ended, code: int, *parts: str) -> None:
    """The command ended with this code and one message on stderr, which has these parts and a remedy."""
    assert ended.code == code, ended.err
    assert ended.err.count("edgeguard: ") == 1, ended.err
    assert "Traceback" not in ended.err
    remedy = ended.err.partition("edgeguard: ")[2].partition("\n  ")[2]
    for part in parts:
        assert part in ended.err, ended.err
    assert remedy.strip(), f"says nothing of what to do: {ended.err}"


def untouched(rehearsal: Rehearsal, act: Callable[[], Ended]) -> Ended:
    """Neither the servers nor the edge change in the block."""
    before, writes = rehearsal.status(), rehearsal.writes()
    ended = act()
    assert before["servers"] == rehearsal.status()["servers"]
    assert writes == rehearsal.writes()
    return ended


def eventually(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process with this id lives."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
