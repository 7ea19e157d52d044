"""What runs first on a host takes the archive whole or not at all, and overwrites nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.ssh import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MADE = archive.content()
DIGEST = hashlib.sha256(MADE).hexdigest()


@contextmanager
def asking(path: Path, *words: str, may_install: bool = True) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The program's input and output, once it has asked for the archive."""
    source = bootstrap.source("nonce", path, DIGEST, len(MADE), words, may_install=may_install)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() + process.stdout.readline() == b"\nnonce send\n"
        yield process.stdin, process.stdout


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "host" / f"{DIGEST}.pyz"
    with asking(path) as (to, out):
        path.parent.mkdir()
        path.write_bytes(b"somebody's")
        to.write(MADE)
        to.close()
        assert out.read() == b"\nnonce differs\n"
    assert [each.read_bytes() for each in path.parent.iterdir()] == [b"somebody's"]


def test_the_same_file_that_appears_meanwhile_is_used(tmp_path: Path) -> None:
    path = tmp_path / f"{DIGEST}.pyz"
    with asking(path, "session", str(tmp_path / "web1")) as (to, out):
        path.write_bytes(MADE)
        to.write(MADE)
        to.close()
        assert out.read() == b"\nnonce ready\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_follows_the_archive_is_left_to_the_host_program(tmp_path: Path) -> None:
    path = tmp_path / f"{DIGEST}.pyz"
    with asking(path, "session", str(tmp_path / "web1")) as (to, out):
        to.write(MADE + b'{"id": 7, "act": "current"}\n')
        to.close()
        assert out.read() == b'\nnonce ready\n{"id": 7, "answer": null}\n'


@pytest.mark.parametrize(
    ("sent", "said"),
    [(b"", b""), (MADE[:-1], b""), (MADE[:-1] + b"x", b"\nnonce garbled\n")],
    ids=["cut", "torn", "wrong"],
)
def test_a_transfer_that_was_cut_or_damaged_leaves_nothing(tmp_path: Path, sent: bytes, said: bytes) -> None:
    with asking(tmp_path / f"{DIGEST}.pyz") as (to, out):
        to.write(sent)
        to.close()
        assert out.read() == said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["", "nonsense", "python", "system \x1b[2J", "lacks {0} {1}", "ready?"])
def test_whatever_it_says_is_a_sentence(tmp_path: Path, word: str) -> None:
    told = bootstrap.refusal(word, tmp_path)
    assert told.message
    assert told.remedy
    assert "\x1b" not in told.message
