"""A release has exactly the files of its commit, whoever builds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import BuildFailed, Interrupted
from edgeguard.release import submodules
from edgeguard.release.source import Source, resolve

if TYPE_CHECKING:
    from edgeguard.release.submodules import Lacks

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgSign=false")


def git(folder: Path, *arguments: str, given: bytes = b"") -> str:
    ran = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *arguments], input=given, capture_output=True, check=True
    )
    return ran.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def committed(repository: Path) -> Source:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=a change")
    return resolve(str(repository), "main", cache=repository.parent)


def written(source: Source, to: Path, *, seconds: float = 60) -> Lacks:
    to.mkdir()
    return submodules.write(source, to, time.monotonic() + seconds)


def test_every_file_of_the_commit_is_there_byte_for_byte(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attributes and the builder's settings are for a work tree and for archives, not for a release."""
    (repository / "docs").mkdir()
    (repository / "docs/index.html").write_bytes(b"left out of archives\n")
    (repository / "unix").write_bytes(b"a\nb\n")
    (repository / "dos").write_bytes(b"a\r\nb\r\n")
    (repository / "version").write_bytes(b"$Format:%H$ $Id$\n")
    (repository / "a\n\xff\t".encode("latin-1").decode("utf-8", "surrogateescape")).write_bytes(b"an odd name")
    (repository / "empty").touch()
    (repository / "run").write_bytes(b"#!/bin/sh\n")
    (repository / "run").chmod(0o755)
    (repository / "link").symlink_to("docs/index.html")
    source = committed(repository)
    (repository / ".gitattributes").write_text("docs export-ignore\nversion export-subst ident\n", encoding="utf-8")
    git(repository, "-c", "core.autocrlf=false", "add", ".gitattributes")
    source = committed(repository)
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[core]\nautocrlf = true\nsymlinks = false\neol = crlf\n[tar]\numask = 0077\n", encoding="utf-8"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))

    said = written(source, tmp_path / "to")

    to = tmp_path / "to"
    assert said.warnings == ()
    assert (to / "docs/index.html").read_bytes() == b"left out of archives\n"
    assert (to / "unix").read_bytes() == b"a\nb\n"
    assert (to / "dos").read_bytes() == b"a\r\nb\r\n"
    assert (to / "version").read_bytes() == b"$Format:%H$ $Id$\n"
    assert (to / "empty").read_bytes() == b""
    assert os.access(to / "run", os.X_OK)
    assert (to / "unix").stat().st_mode & 0o777 == 0o644
    assert (to / "link").readlink() == Path("docs/index.html")
    assert {path.name for path in to.iterdir()} == {path.name for path in repository.iterdir()} - {".git"}


def test_a_tree_that_would_write_elsewhere_is_refused(repository: Path, tmp_path: Path) -> None:
    """Git's own checkout refuses such a tree; but whoever can push objects can make it."""
    blob = git(repository, "hash-object", "-w", "--stdin", given=b"hostile")
    below = git(repository, "mktree", given=f"100644 blob {blob}\tfile\n".encode())
    hostile = {
        "dots": f"040000 tree {below}\t..\n",
        "through a link": f"120000 blob {blob}\ta\n040000 tree {below}\ta\n",
        "twice": f"100644 blob {blob}\ta\n100644 blob {blob}\ta\n",
        "a file and a folder": f"100644 blob {blob}\ta\n040000 tree {below}\ta\n",
        "git": f"040000 tree {below}\t.git\n",
    }
    for name, listed in hostile.items():
        tree = raw_tree(repository, listed)
        source = Source(repository, "main", "0" * 40, tree, tmp_path)

        with pytest.raises(BuildFailed, match="path"):
            written(source, tmp_path / name)

        assert not (tmp_path / "file").exists()


def raw_tree(repository: Path, listed: str) -> str:
    """A tree with these entries, written as they are: `git mktree` would sort and check them."""
    content = b""
    for line in listed.splitlines():
        head, _, path = line.partition("\t")
        mode, _kind, name = head.split()
        content += f"{mode.lstrip('0')} {path}".encode() + b"\0" + bytes.fromhex(name)
    return git(repository, "hash-object", "-w", "--literally", "-t", "tree", "--stdin", given=content)


def test_a_lost_object_and_an_end_before_its_time_are_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "file").write_bytes(b"content")
    source = committed(repository)
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text(f'#!/bin/sh\ncase "$*" in *cat-file*) exec sleep 60 ;; esac\nexec {shutil.which("git")} "$@"\n')
    slow.chmod(0o755)
    with monkeypatch.context() as changed:
        changed.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
        with pytest.raises(BuildFailed, match="longer than its limit"):
            written(source, tmp_path / "late", seconds=0.2)
        with pytest.raises(Interrupted):
            written(replace(source, cancelled=lambda: True), tmp_path / "cancelled")

    blob = git(repository, "rev-parse", "main:file")
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(BuildFailed, match="can't read file"):
        written(source, tmp_path / "lost")


@pytest.fixture
def with_lfs(repository: Path) -> Source:
    """A commit with a file that Git LFS keeps, and its content in the repository's own store."""
    pointer = git(repository, "lfs", "clean", "--", "model.bin", given=b"the real content\n" * 1000)
    (repository / "model.bin").write_text(f"{pointer}\n", encoding="utf-8")
    git(repository, "add", "--all")  # before the attribute is there, so that no filter has a say
    (repository / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "--quiet", "--message=a model")
    return resolve(str(repository), "main", cache=repository.parent)


def test_the_content_of_lfs_is_fetched(with_lfs: Source, tmp_path: Path) -> None:
    assert written(with_lfs, tmp_path / "to").warnings == ()
    assert (tmp_path / "to/model.bin").read_bytes() == b"the real content\n" * 1000
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [".gitattributes", "model.bin"]

    shutil.rmtree(with_lfs.folder / ".git/lfs")
    assert "Find out why `git lfs fetch` fails" in written(with_lfs, tmp_path / "lost").warnings[0]
    assert (tmp_path / "lost/model.bin").read_bytes().startswith(b"version https://git-lfs")
    assert sorted(path.name for path in (tmp_path / "lost").iterdir()) == [".gitattributes", "model.bin"]


def test_without_git_lfs_a_pointer_is_named(with_lfs: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(programs))

    said = written(with_lfs, tmp_path / "to")

    assert len(said.warnings) == 1
    assert said.warnings[0].startswith("model.bin: the release has Git LFS pointers")
    assert "Install git-lfs" in said.warnings[0]


def test_a_file_that_only_looks_like_a_pointer_stays(repository: Path, tmp_path: Path) -> None:
    """A tree without the attribute has its pointers as plain files, a test's sample for one."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n"
    (repository / "sample").write_text(pointer, encoding="utf-8")

    assert written(committed(repository), tmp_path / "to").warnings == ()
    assert (tmp_path / "to/sample").read_text(encoding="utf-8") == pointer
