"""A caller over a connection asks in lines, and gets an answer for each, whatever the line is."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import random
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host import acts, images, manifest, serving_acts
from edgeguard.cluster.host.session import WAITING, Act, Session
from tests.fuzz.inputs import changed, made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_RECORD: dict[str, Any] = {"record": {}, "expected": 1}


class Caller:
    """The other end of a session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._id = 0

    def send(self, line: bytes) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return self.hear()

    def say(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def ask(self, act: str, **arguments: object) -> Any:  # noqa: ANN401 (an answer, or an error's code)
        self._id += 1
        said = self.send(json.dumps({"id": self._id, "act": act, **arguments}).encode())
        assert said["id"] == self._id
        return said["answer"] if "answer" in said else said["error"]["code"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "server"
    made.mkdir()
    return made


@contextmanager
def session(folder: Path) -> Iterator[Caller]:
    program = archive.program(archive.put(folder.parent / "host"))
    with subprocess.Popen(
        [*program, "session", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        caller = Caller(process)
        yield caller
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_the_lock_is_taken_once_for_each_epoch(folder: Path) -> None:
    with session(folder) as one, session(folder) as other:
        assert one.ask("read_record") is None
        mine, theirs = one.ask("begin", epoch=1), other.ask("begin", epoch=1)
        assert other.ask("write_record", caller=[1, theirs, 1], record={"serial": 1}, expected=0) is None
        assert one.ask("write_record", caller=[1, mine, 1], record={"serial": 2}, expected=0) == "fenced"
        assert one.ask("read_record") == {"serial": 1, "epoch": 1}
        assert one.ask("begin", epoch=0) == "fenced"


def test_acts_of_an_older_session_and_late_acts_are_refused(folder: Path) -> None:
    with session(folder) as caller:
        older, newer = caller.ask("begin", epoch=1), caller.ask("begin", epoch=1)
        assert caller.ask("write_record", caller=[1, newer, 2], record={}, expected=0) is None
        assert caller.ask("write_record", caller=[1, older, 9], record={"late": True}) == "fenced"
        assert caller.ask("write_record", caller=[1, newer, 1], record={"late": True}) == "fenced"
        assert caller.ask("write_record", caller=[1, newer, 2], record={"late": True}) == "fenced"
        assert caller.ask("read_record") == {"epoch": 1}


def test_changes_are_carried_out_in_their_order_and_hold_up_nobody_who_only_looks(folder: Path) -> None:
    """The first change waits for the server's lock; a second one with a later serial must not overtake it."""
    with session(folder) as caller:
        number = caller.ask("begin", epoch=1)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for serial in (1, 2, 3):
                caller.say({"id": 100 + serial, "act": "write_record", "caller": [1, number, serial], **_RECORD})
            assert caller.ask("read_record") is None
        assert [caller.hear() for _ in range(3)] == [{"id": 100 + serial, "answer": None} for serial in (1, 2, 3)]


def test_changes_that_were_asked_for_are_done_when_the_caller_has_gone(folder: Path) -> None:
    with session(folder) as caller:
        number = caller.ask("begin", epoch=1)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for serial in (1, 2):
                record = {"record": {"serial": serial}, "expected": 1}
                caller.say({"id": serial, "act": "write_record", "caller": [1, number, serial], **record})
            assert caller.process.stdin is not None
            caller.process.stdin.close()
    assert json.loads((folder / "record.json").read_bytes()) == {"serial": 2, "epoch": 1}


def test_a_caller_with_very_many_changes_is_told_to_wait(folder: Path) -> None:
    with session(folder) as caller:
        number = caller.ask("begin", epoch=1)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for serial in range(1, WAITING + 10):
                caller.say({"id": serial, "act": "write_record", "caller": [1, number, serial], **_RECORD})
            assert caller.hear()["error"]["code"] == "busy"


def test_an_error_of_the_server_s_system_says_what_to_do(folder: Path) -> None:
    def fill(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/site")

    answers = io.BytesIO()
    serving = Session(folder, {"fill": Act(fill, {})}, answers)
    serving.serve(io.BytesIO(b'{"id": 1, "act": "fill"}\n'))
    serving.end()
    said = json.loads(answers.getvalue())["error"]
    assert said["message"] == "/srv/site: no space left on device"
    assert said["remedy"].startswith("Make room on its disk")


def test_whoever_loses_the_race_for_the_lock_does_not_shut_out_its_winner(folder: Path) -> None:
    with session(folder) as winner, session(folder) as loser:
        held = winner.ask("begin", epoch=1)
        assert winner.ask("write_record", caller=[1, held, 1], record={"of": "winner"}, expected=0) is None
        tried = loser.ask("begin", epoch=1)
        assert loser.ask("write_record", caller=[1, tried, 1], record={"of": "loser"}, expected=0) == "fenced"
        assert winner.ask("write_record", caller=[1, held, 2], record={"of": "winner", "more": 1}) is None


def test_whoever_has_taken_the_lock_may_ask_for_it_again(folder: Path) -> None:
    """The connection was cut before the answer came. The same record of another caller would be another record."""
    record: dict[str, Any] = {"record": {"lock": {"holder": "me"}}, "expected": 0}
    with session(folder) as caller:
        for _ in range(2):
            number = caller.ask("begin", epoch=1)
            assert caller.ask("write_record", caller=[1, number, 1], **record) is None
        assert caller.ask("write_record", caller=[1, number, 2], record={"lock": {"holder": "me"}}) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nothing",
        b"[]",
        b"1",
        b'{"id": 1}',
        b'{"id": true, "act": "greet"}',
        b'{"id": 1, "act": "rm"}',
        b'{"id": 1, "act": ["greet"]}',
        b'{"id": 1, "act": "greet", "more": 1}',
        b'{"id": 1, "act": "begin"}',
        b'{"id": 1, "act": "begin", "epoch": "1"}',
        b'{"id": 1, "act": "begin", "epoch": true}',
        b'{"id": 1, "act": "generation", "name": "../../etc"}' + b" " * 9_000_000,
        b'{"id": 1, "act": "write_record", "caller": [1], "record": {}}',
        b'{"id": 1, "act": "write_record", "caller": [1, 0, 0], "record": {}}',
        b'{"id": 1, "act": "write_record", "caller": ["1", 1, 1], "record": {}}',
        b"[" * 100_000,
        b'{"id": 1, "act": "\xff"}',
        b'{"id": NaN, "act": "greet"}',
        b"\x00" * 100,
    ],
)
def test_a_line_that_is_no_request_is_an_error_and_the_session_goes_on(folder: Path, line: bytes) -> None:
    with session(folder) as caller:
        assert caller.send(line)["error"]["code"] == "unknown-act"
        assert caller.ask("greet")["user"] == folder.stat().st_uid
    assert list(folder.iterdir()) == []


_CHANGING: dict[str, Any] = {"caller": [1, 1, 2], "note": {"phase": "close"}}
_HOOK = {"generation": "g", "hook": "deploy"}
_IMAGE = {"image": "/nowhere"}
_GENERATION = {"described": {"release": "d", "start": ["x"], "folders": ["/a"]}, "variables": {"A": "b"}}
_REQUESTS: tuple[dict[str, Any], ...] = (
    {"act": "greet"},
    {"act": "begin", "epoch": 1},
    {"act": "read_record"},
    {"act": "write_record", "caller": [1, 1, 1], "record": {"a": [1, {"b": None}]}, "expected": 0},
    {"act": "generation", "name": "20270115-080000-a1b2"},
    {"act": "current"},
    {"act": "put", "caller": [1, 1, 2], "name": "g", **_IMAGE, **_GENERATION},
    {"act": "verify", **_IMAGE},
    {"act": "finish", **_IMAGE, "release": "d"},
    {"act": "try_out", **_IMAGE, "user": "nobody"},
    {"act": "hook_result", **_HOOK},
    {"act": "hook_output", **_HOOK, "offset": 0},
    {"act": "start_hook", "caller": [1, 1, 3], **_HOOK, "environment": {"A": "b"}, "limit": 5, "nonce": "n"},
    {"act": "state"},
    {"act": "entropy"},
    {"act": "healthy", "generation": "g", "path": "/", "limit": 5, "waited": 1.5},
    {"act": "unready", **_IMAGE, "size": 1_000, "files": 10, "user": "nobody"},
    {"act": "touch", **_CHANGING},
    {"act": "free", **_CHANGING},
    {"act": "stand", **_CHANGING},
    {"act": "whole", **_IMAGE, "release": "d", "whole": True},
    {"act": "stage", "caller": [1, 1, 2], "name": "g", **_IMAGE, **_GENERATION, "copy_of": "f"},
    {"act": "swap", **_CHANGING, "generation": "g"},
    {"act": "close", **_CHANGING, "deploy": "d", "until": 2_000_000_000},
    {"act": "in_flight", "caller": [1, 1, 2]},
    {"act": "cut", "caller": [1, 1, 2]},
    {"act": "open", **_CHANGING, "generation": "g"},
    {"act": "run_hook", **_CHANGING, **_HOOK, "limit": 5, "nonce": "n", "keep": 20},
    {"act": "tasks"},
    {"act": "stop_tasks", "caller": [1, 1, 2]},
    {"act": "start_tasks", "caller": [1, 1, 2], "generation": "g", "crons": True},
    {"act": "ready_hook", "caller": [1, 1, 2], "nonce": "n"},
    {"act": "startable"},
    {"act": "claim_hook", **_CHANGING, **_HOOK, "again": False},
    {"act": "forget_hook", "caller": [1, 1, 2], **_HOOK},
    {"act": "let_in", "caller": [1, 1, 2], "wanted": {"ada": ["ssh-ed25519 AAAA ada"]}},
    {"act": "who_logs_in"},
    {"act": "variables"},
)
_ON_ANY_FOLDER = {"prepare", "unprepare", "missing", "prune", "facts", "logs"}
"""Acts that change or read the machine itself, or a folder that the request names."""


def test_there_is_a_damaged_request_of_every_kind() -> None:
    assert {request["act"] for request in _REQUESTS} == {*acts.ACTS, *serving_acts.ACTS} - _ON_ANY_FOLDER


def test_thousands_of_damaged_requests_are_answered_one_by_one(folder: Path) -> None:
    """5,000 lines: right requests of every kind with values changed, and with bytes cut, doubled or changed."""
    chance = random.Random(1)
    with session(folder) as caller:
        for number in range(1, 5001):
            request = {"id": number, **chance.choice(_REQUESTS)}
            if "caller" in request:
                request["caller"] = [1, 1, number]
            line = json.dumps(request if number % 2 else changed(request, chance)).encode()
            if number % 2:
                _, line = made((line,), 2, str(number))
            said = caller.send(line.replace(b"\n", b" "))
            assert ("answer" in said) != ("error" in said), line[:500]
            assert "a bug" not in str(said.get("error")), (line[:500], said)
        assert caller.ask("greet")["user"] == folder.stat().st_uid


def test_a_folder_of_another_user_is_not_served(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 65534, 65534)
    with session(folder) as caller:
        said = caller.send(b'{"id": 1, "act": "greet"}')
        assert said["id"] == 0
        assert "belongs to user 65534, and this is user 0" in said["error"]["message"]


def test_a_caller_who_leaves_in_the_midst_of_a_slow_answer_gets_all_of_it(folder: Path, tmp_path: Path) -> None:
    """The answer is longer than a pipe: its thread still writes when the input has ended."""
    content = "".join(f'["0444", "file", "", "app/{number}"]\n' for number in range(5000))
    (tmp_path / "manifest").write_text(content, encoding="utf-8")
    described = {"digest": manifest.digest(content, images.CONTENT)}
    (tmp_path / "release.json").write_text(json.dumps(described), encoding="utf-8")
    program = archive.program(archive.put(tmp_path / "host"))
    with subprocess.Popen(
        [*program, "session", folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps({"id": 1, "act": "verify", "image": str(tmp_path)}).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.read(1) == b"{"
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert len(json.loads(b"{" + process.stdout.read())["answer"]) == 5000
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
