"""No secret is in edgeguard's output, in its files, or in the processes that it starts."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

from edgeguard.cluster.host import processes
from tests.deploy.rehearsal import DATABASE, Rehearsal, come_from, eventually, repository, said


def test_no_secret_is_said_whoever_prints_it(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """No form of a secret is on the terminal, in an event, in the journal, or in the record's history."""
    key = "-----BEGIN KEY-----\nkey-of-many-lines\n-----END KEY-----"
    variables = json.dumps({"env:KEY": key, "env:CACHE": "redis://:sesame%2Fcache@127.0.0.1:1"})
    prints = (
        'echo "$KEY"; echo "$CACHE" sesame/cache sesame%2Fcache; echo "$PLATFORM_VARIABLES $PLATFORM_RELATIONSHIPS"; '
    )
    prints += (
        f'echo "$PLATFORM_VARIABLES" | base64 -d; echo the password is {DATABASE}, the cookie visitor-4711; exit 4'
    )
    given = {"EDGEGUARD_APPLICATION__VARIABLES": variables, "EDGEGUARD_VISITORS__COOKIE": "login=visitor-4711"}
    silent = replace(
        rehearsal, secrets=(*rehearsal.secrets, *key.splitlines(), "sesame/cache", "sesame%2Fcache", "r-4711")
    )
    for number, (where, code) in enumerate((("start", 10), ("deploy", 10), ("build", 8))):
        site = repository(tmp_path / str(number), **{where: f"KEY='{key}'; {prints}" if where == "build" else prints})
        encoded: set[str] = set()
        for arguments in (("--json",), ("--verbose",)):
            ended = silent.run("deploy", "rehearsal", *arguments, **come_from(site), **given)
            assert ended.code == code, ended.err
            assert "the password is •••, the cookie •••" in ended.out + ended.err
            encoded.update(re.findall(r"[A-Za-z0-9+/]{32,}", ended.out + ended.err))
        assert not [word for word in encoded if b"sesame" in base64.b64decode(word[: len(word) // 4 * 4])]
    kept = [*rehearsal.state.rglob("journal.jsonl"), *(rehearsal.root / "servers").glob("*/record.json")]
    text = "".join(path.read_text() for path in kept) + silent.run("history", "rehearsal").out
    assert "the password is •••" in text.replace(r"\u2022", "•")  # JSON has it so
    assert not [secret for secret in silent.secrets if secret in text]


def test_what_a_command_by_hand_prints_of_a_server_has_no_secret_in_it(rehearsal: Rehearsal, tmp_path: Path) -> None:
    sick = tmp_path / "sick"
    start = (
        f"echo the password is {DATABASE} $OLD; if [ -e {sick} ]; then exit 4; fi; exec {sys.executable} -S server.py"
    )
    old = {"EDGEGUARD_APPLICATION__VARIABLES": '{"env:OLD": "old-password"}'}  # the release has it, the file has not
    assert rehearsal.run("deploy", "rehearsal", **come_from(repository(tmp_path / "r", start=start)), **old).code == 0
    assert rehearsal.run("cluster", "close", "rehearsal", "--for", "1m", "--reason", "a test").code == 0
    sick.touch()
    for server in (rehearsal.root / "servers").glob("*"):
        for pid in processes.running(server):
            os.kill(pid, signal.SIGKILL)
    ended = rehearsal.run("cluster", "open", "rehearsal")
    sick.unlink()
    eventually(lambda: rehearsal.run("cluster", "open", "rehearsal").code == 0)
    said(ended, 6, "the password is ••• •••\n")


def test_no_process_shows_a_secret_to_others(rehearsal: Rehearsal) -> None:
    """Neither the servers' own processes nor those of a running deploy show one."""
    deploy = rehearsal.start("deploy", "rehearsal", "--json")
    deploy.begins("hook")
    hidden = [*rehearsal.secrets, *(base64.b64encode(secret.encode()).decode()[:-4] for secret in rehearsal.secrets)]
    lines = [line for line in command_lines() if any(secret.encode() in line for secret in hidden)]
    assert lines == []
    assert deploy.end().code == 0


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found
