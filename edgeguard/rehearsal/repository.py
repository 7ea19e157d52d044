"""Repositories for a rehearsal: the bundled application, its next release, and releases that are made to fail."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import yaml

from edgeguard.errors import UsageError
from edgeguard.machine import process
from edgeguard.release import choice
from edgeguard.release.application_file import FILE
from edgeguard.release.source import resolve

BRANCH = "rehearsal"
BUNDLED = Path(__file__).with_name("application")
_SCRIPT = "edgeguard-planted.py"
_MOTTOS = ("A light that stays on", "Seen from far out", "Every fifteen seconds", "Kept by whoever is awake")

_HOOK = """
echo "the migration can't go on: this release was made to fail in its deploy hook"
exit 1
"""

# The condition makes one server sick; or it makes all servers sick, but only for requests through the gate.
_SERVER = '''"""A server that is made to fail: {why}."""

import http.server
import os
import signal


class Planted(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        status = 500 if {condition} else 200
        content = b"planted\\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Release", os.environ.get("PLATFORM_TREE_ID", "")[:12])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Planted).serve_forever()
'''
_THROUGH_GATE = 'self.headers.get("Via") is not None or self.headers.get("X-Forwarded-For") is not None'


def bundled(folder: Path) -> Path:
    """A new Git repository with the bundled application, committed on the branch `rehearsal`."""
    shutil.copytree(BUNDLED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    _git(folder, "init", "--quiet", f"--initial-branch={BRANCH}")
    _commit(folder, "The lighthouse")
    return folder


def next_release(repository: Path) -> str:
    """Commit a small change to the bundled application that visitors can see: the next motto. Returns the commit."""
    motto = repository / "motto.txt"
    now = motto.read_text(encoding="utf-8").strip()
    after = _MOTTOS[(_MOTTOS.index(now) + 1) % len(_MOTTOS)] if now in _MOTTOS else _MOTTOS[0]
    motto.write_text(f"{after}\n", encoding="utf-8")
    return _commit(repository, f"Motto: {after}")


def plant(
    repository: Path,
    phase: Literal["hook", "check", "healthy"],
    *,
    server: str = "web2",
    application: str | None = None,
) -> str:
    """Commit a cause of failure on top of the commit that is checked out. Returns the new commit.

    For `hook`, the deploy hook exits with 1. For `check`, the release answers 500 on `server` and 200 elsewhere. For
    `healthy`, it answers 200 when asked directly, and 500 through the gate. The rest of the application stays the same,
    but is described by a file of its own; of several, the others are left out.
    """
    source = resolve(str(repository), "HEAD", cache=repository.parent)
    found = choice.find(source, application)
    root = ((found.said.get("source") or {}).get("root") or found.root).strip("/")
    content: dict[str, Any] = {"name": found.name, **found.said, "source": {"root": root}}
    if phase == "hook":
        content["hooks"] = {**(content.get("hooks") or {}), "deploy": _HOOK.lstrip()}
    else:
        condition = f'os.environ.get("EDGEGUARD_SERVER") == {server!r}' if phase == "check" else _THROUGH_GATE
        why = f"on {server} alone" if phase == "check" else "but only through the gate"
        script = repository / root / _SCRIPT
        script.write_text(_SERVER.format(why=why, condition=condition), encoding="utf-8")
        # The application's own toolchain may have no Python: then the one that runs the rehearsal.
        start = f'exec "$(command -v python3 || echo {shlex.quote(sys.executable)})" {_SCRIPT}'
        content["web"] = {**(content.get("web") or {}), "commands": {"start": start}}
    for path in choice.files(source.paths()):
        (repository / path).unlink()
    (repository / FILE).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return _commit(repository, f"A release that fails: {phase}")


def _commit(repository: Path, message: str) -> str:
    """Commit everything under a made-up author. This machine's Git configuration and hooks have no effect."""
    _git(repository, "add", "--all", "--force")
    _git(repository, "commit", "--quiet", "--no-verify", f"--message={message}")
    return _git(repository, "rev-parse", "HEAD").strip()


def _git(repository: Path, *arguments: str) -> str:
    environment = {name: value for name, value in process.environment().items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "edgeguard",
        "GIT_AUTHOR_EMAIL": "rehearsal@example.invalid",
        "GIT_COMMITTER_NAME": "edgeguard",
        "GIT_COMMITTER_EMAIL": "rehearsal@example.invalid",
    }
    options = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")
    try:
        done = subprocess.run(
            ["git", "-C", str(repository), *options, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    except FileNotFoundError as exc:
        raise UsageError("git can't be found", "Install Git, and have it on PATH.") from exc
    except subprocess.CalledProcessError as exc:
        said = exc.stderr.decode(errors="replace").strip()
        raise UsageError(
            f"git {arguments[0]} fails in {repository}: {said}", "See what is wrong with this repository."
        ) from exc
    return done.stdout.decode()
