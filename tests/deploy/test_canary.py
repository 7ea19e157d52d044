"""Deploys that are told secrets of every kind, and print them in every form: these are only where the manual says."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from tests.deploy.rehearsal import Rehearsal, come_from, eventually, repository

if TYPE_CHECKING:
    from collections.abc import Iterator

COOKIE, REGISTRY, ORIGIN, DATABASE = (f"canary-{os.urandom(8).hex()}" for _ in range(4))
ODD = f"canary 'odd\" & ö\\n{os.urandom(4).hex()}"
PRINTS = (
    'echo "$ODD $DATABASE_URL"; echo "$ODD" | base64; printf %s "$ODD" | od -An -tx1 | tr -d " \\n"; echo; '
    'echo "$PLATFORM_VARIABLES $PLATFORM_RELATIONSHIPS" | base64 -w 20; (set -x; : "$ODD"); env; '
)
VERBS = (
    *("status", "history", "report", "doctor", "plan", "rollback", "unlock none"),
    *("grace show", "edge diff", "edge install", "closed-header", "purge --key a"),
    *("grace extend --for 1m --reason x", "grace release support1", "hook pre", "hook post"),
    *("cluster close --for 1m --reason x", "cluster open", "probe"),
)
"""Each leaves the environment as it was, or as the one after it undoes it."""
DOCUMENTED = (
    r"servers/[^/]+/generations/[^/]+/variables\.json",
    r"servers/[^/]+/hooks/[^/]+/[a-z_]+\.log",
    r"servers/[^/]+/app\.log(\.1)?",
)
"""The files below cluster.root in which secrets are (docs/operators.md, "Where secrets are")."""


def forms(secret: str) -> set[bytes]:
    """The forms that are searched for; the search shares no code with what hides them."""
    raw = secret.encode()
    encoded = {base64.b64encode(b"\0" * before + raw)[(4, 4, 4)[before] if before else 0 : -4] for before in range(3)}
    shown = (quote(secret, safe=""), secret.replace("'", "'\\''"), html.escape(secret), repr(secret)[1:-1])
    said = {raw, raw.hex().encode(), *encoded, *(form.encode() for form in shown)}
    return said | {json.dumps(secret)[1:-1].encode(), json.dumps(secret, ensure_ascii=False)[1:-1].encode()}


class Watch:
    """What all processes show while a block runs: command lines with a secret, and those of processes that have the
    token in their environment."""

    def __init__(self, secrets: set[bytes], token: bytes) -> None:
        self.lines: set[bytes] = set()
        self.environments: set[bytes] = set()
        self._secrets, self._token = secrets, token
        self._over = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        seen: set[tuple[str, bytes]] = set()  # a process's environment becomes another one only with its command line
        while not self._over.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    line = (process / "cmdline").read_bytes()
                    if not line or (process.name, line) in seen:
                        continue
                    if any(secret in line for secret in self._secrets):
                        self.lines.add(line)
                    if self._token in (process / "environ").read_bytes():
                        self.environments.add(line)
                    seen.add((process.name, line))


def test_secrets_are_only_where_the_manual_says(rehearsal: Rehearsal, tmp_path: Path) -> None:
    token = rehearsal.ready["token"]
    canaries = (token, DATABASE, COOKIE, REGISTRY, ORIGIN, ODD)
    secrets = {form for secret in canaries for form in forms(secret)}
    origin = urlsplit(re.findall(r'"?gate_port"? = (\d+)', (rehearsal.config / "rehearsal.toml").read_text())[0]).path
    told = {
        "FASTLY_API_TOKEN": token,
        "PIP_INDEX_URL": f"http://me:{REGISTRY}@127.0.0.1:9/simple",
        "EDGEGUARD_APPLICATION__VARIABLES": json.dumps(
            {"env:ODD": ODD, "env:DATABASE_URL": f"mysql://a:{DATABASE}@b", "PLAIN": ODD}
        ),
        "EDGEGUARD_APPLICATION__RELATIONSHIPS": json.dumps({"database": f"mysql://a:{DATABASE}@b/c"}),
        "EDGEGUARD_VISITORS__COOKIE": f"login={COOKIE}",
        "EDGEGUARD_DOCTOR__ORIGIN": f"http://me:{ORIGIN}@127.0.0.1:{origin}",
        "EDGEGUARD_CLUSTER__LEASE": "1",
    }
    said: list[bytes] = []

    def run(*arguments: str, **more: str) -> int:
        ended = rehearsal.run(*arguments, **told, **more)
        said.append(f"{arguments}\n{ended.out}{ended.err}".encode())
        return ended.code

    with Watch(secrets, token.encode()).watching() as watch:
        good = come_from(repository(tmp_path / "good", deploy=PRINTS + "sleep 0.3", build="env; echo $PIP_INDEX_URL"))
        assert run("plan", "rehearsal", **good) in (0, 4)
        assert run("deploy", "rehearsal", "--json", **good) == 0
        assert (
            run("deploy", "rehearsal", "--verbose", **come_from(repository(tmp_path / "bad", deploy=PRINTS + "exit 4")))
            == 10
        )
        sick = come_from(repository(tmp_path / "sick", start=PRINTS + "exit 5"))
        assert run("deploy", "rehearsal", "--json", **sick) == 10
        slow = come_from(repository(tmp_path / "slow", deploy=PRINTS + "sleep 1"))
        killed = rehearsal.start("deploy", "rehearsal", "--json", **told, **slow)
        killed.begins("hook")
        killed.process.send_signal(signal.SIGKILL)
        said.append(killed.end().out.encode())
        eventually(lambda: run("resume", "rehearsal", "--hook=again", **slow) == 0)
        for as_json in ([], ["--json"]):
            for verb in VERBS:
                name, *rest = verb.split()
                group = [rest.pop(0)] if name in ("grace", "edge", "hook", "cluster") else []
                run(name, *group, "rehearsal", *rest, *as_json, **slow)
        run("wrap", "rehearsal", "--", "true")
        for how in ("text", "nagios", "prometheus", "json"):
            run("probe", "rehearsal", "--format", how)

    assert [text for text in said if any(secret in text for secret in secrets)] == []
    assert watch.lines == set()
    strangers = {line for line in watch.environments if b"edgeguard" not in line and b"pytest" not in line}
    assert strangers == set()
    found = {path.relative_to(rehearsal.root) for path in with_a_secret(rehearsal.root, secrets)}
    assert {str(path) for path in found if not any(re.fullmatch(place, str(path)) for place in DOCUMENTED)} == set()
    assert [path for path in found if (rehearsal.root / path).stat().st_mode & 0o077] == []
    assert with_a_secret(rehearsal.state, secrets) == []


def with_a_secret(folder: Path, secrets: set[bytes]) -> list[Path]:
    """The files with a secret in them, in any of these forms."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                if any(secret in content for secret in secrets):
                    found.append(path)
    return found
