from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edgeguard.deploy.journal import Journal, read
from edgeguard.errors import EdgeguardError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def test_entries_are_read_as_they_were_appended(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "journal") as journal:
        first = journal.append("begin", step="close", before={"open": True, "name": "ünï\n"})
        second = journal.append("done", step="close")
    assert read(tmp_path / "new" / "journal") == [first, second]
    assert [entry["at"] for entry in (first, second)] == sorted(entry["at"] for entry in (first, second))


def test_a_journal_and_its_folder_are_private(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "journal") as journal:
        journal.append("begin")
    assert stat.S_IMODE((tmp_path / "new" / "journal").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize("torn", [b'{"event":"do', b'{"event":"done","at":2}', b"\x00\x00", "ü".encode()[:1]])
def test_a_torn_last_line_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    """Also a line that only lacks its line end: its `append` never returned."""
    path = tmp_path / "journal"
    with Journal(path) as journal:
        whole = journal.append("begin", step="close")
    with path.open("ab") as file:
        file.write(torn)
    assert read(path) == [whole]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"event":"deploy","at":1,"version":2}\n{"event":"teleported","at":2}\n', "version 2"),
        ('{"event":"dep', "no whole entry"),
        (None, "can't be read"),
    ],
)
def test_a_journal_that_tells_nothing_says_why(tmp_path: Path, content: str | None, said: str) -> None:
    """A newer edgeguard wrote it, or its writer died at once, or the file is not there."""
    path = tmp_path / "journal"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=said) as caught:
        read(path)
    assert caught.value.remedy


def test_a_killed_writer_leaves_whole_entries(tmp_path: Path) -> None:
    """Each entry whose `append` returned is there after SIGKILL."""
    path = tmp_path / "journal"
    script = (
        "import sys, pathlib, itertools; from edgeguard.deploy.journal import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "for n in itertools.count(): journal.append('n', n=n, text='x' * 500); print(n, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
    last = int((rest.split() or ["19"])[-1])
    numbers = [entry["n"] for entry in read(path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > last


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110 (a decorator's line)
def test_a_full_disk_is_told_and_nobody_hears_of_the_entry(tmp_path: Path) -> None:
    heard: list[object] = []
    (tmp_path / "journal").symlink_to("/dev/full")
    with Journal(tmp_path / "journal", listen=heard.append) as journal, pytest.raises(EdgeguardError) as caught:
        journal.append("begin")
    assert "No space left" in caught.value.message
    assert "--state" in caught.value.remedy
    assert heard == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeguardError, match="can't be written"):
        Journal(tmp_path / "file" / "journal")


def test_threads_that_share_a_journal_never_tear_a_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        threads = [
            threading.Thread(target=lambda n=n: [journal.append("n", n=n, text="x" * 5000) for _ in range(5)])
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(path.read_bytes().splitlines()) == 40
    assert sorted(json.loads(line)["n"] for line in path.read_bytes().splitlines()) == sorted([*range(8)] * 5)


def test_damaged_entries_do_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        first, last = journal.append("begin", step="close"), journal.append("done", step="close")
    one, two = path.read_bytes().splitlines(keepends=True)
    damaged = [
        b"[" * 100_000,
        b'{"event":"end","at":1}',
        b'{"event":"done","at":1e300,"step":"x"}',
        b'{"event":"done","at":1}',
    ]
    damaged += [b'{"event":"done","at":"1","step":"x"}', b'{"event":"done","at":1,"step":[]}', b"\xff", b"5"]
    path.write_bytes(one + b"".join(line + b"\n" for line in damaged) + two)
    assert read(path) == [first, last]
