"""Who may log in with a generation, and how logins begin and end, without an sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import logins
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

ADA = {"ada": ["ssh-ed25519 AAAA ada", "ssh-ed25519 BBBB"]}
BOB = {"bob": ["ssh-ed25519 CCCC bob"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A server with two generations, the first of which is current."""
    for name in ("one", "two"):
        (tmp_path / "generations" / name / "home").mkdir(parents=True)
        (tmp_path / "generations" / name / "image").symlink_to(tmp_path)
        logins.write(tmp_path / "generations" / name, logins.keys(tmp_path, ADA | BOB))
    (tmp_path / "current").symlink_to("generations/one")
    return tmp_path


def names(generation: Path) -> list[str]:
    return [way.name for way in logins.ways(generation)]


def test_each_key_leads_to_a_login_that_knows_its_owner_and_nothing_else(folder: Path) -> None:
    one = folder / "current"
    assert (one / "authorized_keys").stat().st_mode & 0o777 == 0o644
    assert all(line.startswith('restrict,pty,command="/usr/bin/env ') for line in logins.read(one).splitlines())
    assert [(way.name, way.key) for way in logins.ways(one)] == [
        ("ada", "ssh-ed25519 AAAA ada"),
        ("ada", "ssh-ed25519 BBBB"),
        ("bob", "ssh-ed25519 CCCC bob"),
    ]
    assert len({way.mark for way in logins.ways(one)}) == 3


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a b", "ssh-ed25519 AAAA"),
        ("../a", "ssh-ed25519 AAAA"),
        ("", "ssh-ed25519 AAAA"),
        ("a", 'ssh-ed25519 AAAA x" evil'),
        ("a", "ssh-ed25519 AAAA\nssh-ed25519 BBBB"),
    ],
)
def test_what_would_become_another_line_or_option_is_refused(folder: Path, name: str, key: str) -> None:
    with pytest.raises(HostError, match="can't stand in authorized_keys"):
        logins.keys(folder, {name: [key]})


def test_letting_in_removes_from_every_generation_and_adds_to_the_current_one(folder: Path) -> None:
    logins.apply(folder, BOB)
    assert (names(folder / "current"), names(folder / "generations" / "two")) == (["bob"], ["bob"])
    logins.apply(folder, ADA | BOB)
    assert (names(folder / "current"), names(folder / "generations" / "two")) == (["ada", "ada", "bob"], ["bob"])


def login(folder: Path, mark: str, command: str) -> subprocess.CompletedProcess[str]:
    program = [
        sys.executable,
        "-c",
        f"from pathlib import Path; from edgeguard.cluster.host import logins as l; l.login(Path({str(folder)!r}))",
    ]
    own = {logins.MARK: mark, "SSH_ORIGINAL_COMMAND": command, "PATH": os.environ["PATH"]}
    return subprocess.run(program, env=own, capture_output=True, text=True, check=False, timeout=60)


def test_a_login_looks_again_who_may_log_in(folder: Path) -> None:
    """It began before the swap that removed its owner, or comes over a connection that was let in before."""
    bob = logins.ways(folder / "current")[-1].mark
    before = login(folder, bob, "echo $EDGEGUARD_USER $HOME")
    assert (before.returncode, before.stdout) == (0, f"bob {folder}/generations/one/home\n"), before.stderr
    logins.write(folder / "generations" / "two", logins.keys(folder, ADA))
    (folder / "next").symlink_to("generations/two")
    (folder / "next").replace(folder / "current")
    after = login(folder, bob, "echo in")
    assert (after.returncode, after.stdout, after.stderr) == (1, "", "you may not log in here any more\n")
    assert login(folder, "", "echo in").returncode == 1


def test_the_logins_of_who_is_removed_end_and_others_stay(folder: Path) -> None:
    ada, _, bob = (way.mark for way in logins.ways(folder / "current"))
    stubborn = "trap '' TERM HUP; setsid sleep 300 & echo; wait"
    started = [
        subprocess.Popen(
            ["sh", "-c", stubborn],
            env={**os.environ, logins.MARK: mark},
            stdout=subprocess.PIPE,
            start_new_session=True,  # as sshd begins each
        )
        for mark in (ada, bob)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
        assert logins.open_now(folder) == {"ada": 2, "bob": 2}
        logins.apply(folder, ADA)
        assert started[1].wait(timeout=30) in (0, -9)  # its child may have ended first
        assert started[0].poll() is None
        assert logins.open_now(folder) == {"ada": 2}
        logins.apply(folder, {})
        assert started[0].wait(timeout=30) in (0, -9)
        assert logins.open_now(folder) == {}
    finally:
        logins.apply(folder, {})
        for process in started:
            process.communicate()
