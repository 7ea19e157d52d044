"""Whatever a host answers is an answer or a sentence, and an end; nobody waits in vain."""

from __future__ import annotations

import json
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster.host.errors import HostError
from edgeguard.cluster.ssh import answers
from edgeguard.cluster.ssh.channel import Channel
from edgeguard.cluster.ssh.command import Target
from edgeguard.cluster.ssh.session import Cut, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Target("web1", "web1")
RIGHT = (
    b'{"id": 1, "answer": null}',
    b'{"id": 1, "answer": {"python": "3.11.2", "user": 0, "clock": 1.5, "free": [1, {"a": "b"}]}}',
    b'{"id": 1, "error": {"code": "fenced", "message": "epoch 4 is in force here", "remedy": ""}}',
    b'{"id": 0, "error": {"code": "failed", "message": "the folder belongs to another user", "remedy": "x"}}',
)


def damaged(number: int) -> Iterator[bytes]:
    """Right answers with some bytes cut, doubled or changed."""
    dice = random.Random(number)
    for _ in range(number):
        line = bytearray(dice.choice(RIGHT))
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(line))
            put = dice.choice((b"", b"{", b'"', b"\\", b"\xff", b"0", b"-1e999", b"[" * 200, b"\x00", bytes(line)))
            line[at : at + dice.choice((0, 0, 1, 3))] = put
        yield bytes(line).replace(b"\n", b" ")


def shape(line: bytes) -> object:
    """What is read in a line: the kinds of an answer, or the error's, or those of the refusal."""
    try:
        number, _, error = answers.read(line)
    except HostError as exc:
        return str, len(exc.message) < 200, bool(exc.remedy)
    return type(number), None if error is None else {type(word) for word in (error.code, error.message, error.remedy)}


def test_thousands_of_damaged_answers_are_read_or_refused() -> None:
    shapes = [shape(line) for line in damaged(5000)]
    right, wrong, refused = (int, None), (int, {str}), (str, True, True)
    assert [each for each in shapes if each not in (right, wrong, refused)] == []
    assert min(shapes.count(each) for each in (right, wrong, refused)) > 50


def said(lines: bytes) -> Session:
    """A session with a program that answers its first request with these bytes, and ends."""
    program = f"import sys; sys.stdin.buffer.readline(); sys.stdout.buffer.write({lines!r})"
    return Session(Channel(TARGET, [sys.executable, "-I", "-S", "-c", program]), b"")


def outcome(lines: bytes) -> object:
    session = said(lines)
    try:
        return session.ask("greet", {}, 30)
    except (HostError, Cut) as exc:
        return exc
    finally:
        session.close()


def test_a_session_ends_with_each_damaged_answer() -> None:
    threads = threading.active_count()
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda line: outcome(line + b"\n"), damaged(200)))
    assert {type(each) for each in outcomes} >= {HostError, dict}
    assert threading.active_count() == threads


def test_all_who_wait_learn_of_the_end() -> None:
    session = said(b"")
    told: list[Any] = []

    def wait() -> None:
        with pytest.raises(Cut) as exc:
            session.ask("greet", {}, 30)
        told.append(exc.value.why.message)

    waiting = [threading.Thread(target=wait) for _ in range(10)]
    for each in waiting:
        each.start()
    for each in waiting:
        each.join()
    session.close()
    assert told == ["edgeguard's host program does not run there (exit code 0)"] * 10


def test_answers_may_come_in_pieces_and_in_any_order() -> None:
    big = "x" * 5_000_000
    program = (
        "import json, sys\n"
        "asked = [json.loads(sys.stdin.readline())['id'] for _ in range(3)]\n"
        f"[print(json.dumps({{'id': id, 'answer': [id, 'x' * {len(big)}]}}), flush=True) for id in reversed(asked)]\n"
        "sys.stdin.read()"
    )
    session = Session(Channel(TARGET, [sys.executable, "-I", "-S", "-c", program]), b"")
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: session.ask("greet", {}, 60), range(3)))
    session.close()
    assert sorted(number for number, _ in found) == [1, 2, 3]
    assert all(text == big for _, text in found)


def test_a_request_that_is_too_long_is_refused_here() -> None:
    session = said(json.dumps({"id": 2, "answer": 1}).encode() + b"\n")
    with pytest.raises(HostError, match="has more to say than"):
        session.ask("greet", {"much": "x" * 9_000_000}, 30)
    assert session.ask("greet", {}, 30) == 1
    session.close()
