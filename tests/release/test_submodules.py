"""Submodules are in a release as their commits have them. What can't be fetched is named, and nothing else is run."""

from __future__ import annotations

import base64
import http.server
import shutil
import subprocess
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.release import submodules
from edgeguard.release.source import Source, resolve
from tests.release.test_tree import git, raw_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeguard.release.submodules import Lacks


class World:
    """Repositories beside each other, and the folder to which their releases are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.to = folder / "to"

    def repository(self, name: str, **files: bytes) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch=main")
        for path, content in files.items():
            (folder / path).write_bytes(content)
        self.commit(folder)
        return folder

    def commit(self, folder: Path) -> str:
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message=a change")
        return git(folder, "rev-parse", "HEAD")

    def add(self, whole: Path, path: str, url: str, commit: str, *, name: str = "") -> None:
        """A submodule, as `git submodule add` commits it, without any of its refusals."""
        for key, value in (("path", path), ("url", url)):
            git(whole, "config", "--file", ".gitmodules", "--add", f"submodule.{name or path}.{key}", value)
        (whole / path).mkdir(parents=True, exist_ok=True)  # else Git takes it for removed
        git(whole, "add", "--all")
        git(whole, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        git(whole, "commit", "--quiet", "--message=a submodule")

    def source(self, repository: Path | str) -> Source:
        return resolve(str(repository), "main", cache=self.folder / "cache")

    def written_as(self, repository: Path, tree: str) -> Source:
        return Source(repository, "main", "0" * 40, tree, self.folder / "cache")

    def write(self, source: Source, *, seconds: float = 60) -> Lacks:
        shutil.rmtree(self.to, ignore_errors=True)
        self.to.mkdir()
        return submodules.write(source, self.to, time.monotonic() + seconds)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_submodules_are_there_byte_for_byte_at_the_recorded_commit(world: World) -> None:
    """Also one in another, one that was moved on since, and URLs of each kind that people write."""
    inner = world.repository("inner", odd=b"a\r\nb\n")
    (inner / ".gitattributes").write_text("* text=auto eol=lf export-ignore\n", encoding="utf-8")
    outer = world.repository("outer", file=b"before")
    recorded = world.commit(inner)
    world.add(outer, "deep/inner", "../inner", recorded)
    then = git(outer, "rev-parse", "HEAD")
    (outer / "file").write_bytes(b"after")
    world.commit(outer)
    whole = world.repository("whole", page=b"page")
    world.add(whole, "vendor/relative", "../outer", then)
    world.add(whole, "vendor/path", str(outer), then)
    world.add(whole, "vendor/url", f"file://{outer}/", then)

    said = world.write(world.source(whole))

    assert said.warnings == ()
    assert said.paths == ()
    for name in ("relative", "path", "url"):
        there = world.to / "vendor" / name
        assert (there / "file").read_bytes() == b"before"
        assert (there / "deep/inner/odd").read_bytes() == git_bytes(inner, f"{recorded}:odd")
        assert {path.name for path in there.iterdir()} == {"file", "deep", ".gitmodules"}

    shutil.rmtree(inner)
    shutil.rmtree(outer)
    assert world.write(world.source(whole)).warnings == ()  # they are kept
    assert (world.to / "vendor/url/deep/inner/odd").exists()


def git_bytes(folder: Path, named: str) -> bytes:
    return subprocess.run(["git", "-C", str(folder), "cat-file", "blob", named], capture_output=True, check=True).stdout


def test_what_git_has_fetched_already_is_not_fetched_again(world: World) -> None:
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole")
    git(whole, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "--name", "the lib", str(lib), "lib")
    world.commit(whole)
    shutil.rmtree(lib)

    assert world.write(world.source(whole)).warnings == ()
    assert (world.to / "lib/file").read_bytes() == b"content"
    assert not (world.to / "lib/.git").exists()


@pytest.fixture
def served(world: World) -> Iterator[str]:
    """The address of a server that hands out files alone, as the simplest of Git's servers do."""
    handler = partial(Quiet, directory=str(world.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """It writes no log."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Closed(Quiet):
    """It lets in one user."""

    def do_GET(self) -> None:  # the name is http.server's
        if self.headers["Authorization"] == f"Basic {base64.b64encode(b'me:hidden').decode()}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="site"')
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_who_lets_in_the_whole_lets_in_its_parts(world: World) -> None:
    """Also parts of parts. The password is in no file and no warning."""
    inner = world.repository("group/inner", file=b"content")
    lib = world.repository("group/lib")
    world.add(lib, "inner", "../inner.git", git(inner, "rev-parse", "HEAD"))
    whole = world.repository("group/whole")
    world.add(whole, "lib", "../lib.git", git(lib, "rev-parse", "HEAD"))
    world.add(whole, "gone", "../gone.git", "1" * 40)
    for name in ("inner", "lib", "whole"):
        git(world.folder, "clone", "--quiet", "--bare", str(world.folder / "group" / name), f"served/group/{name}.git")
        git(world.folder / f"served/group/{name}.git", "update-server-info")
    handler = partial(Closed, directory=str(world.folder / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = world.write(world.source(f"http://me:hidden@127.0.0.1:{server.server_port}/group/whole.git"))
        server.shutdown()

    assert said.paths == ("gone",)
    assert (world.to / "lib/inner/file").read_bytes() == b"content"
    assert "hidden" not in str(said)
    assert not [path for path in world.folder.glob("cache/**/config") if b"hidden" in path.read_bytes()]


def test_a_relative_url_is_beside_the_origin(world: World, served: str) -> None:
    """Whether the origin is the repository that was named, or the one from which a work tree was cloned."""
    lib = world.repository("group/lib", file=b"content")
    whole = world.repository("group/whole")
    world.add(whole, "lib", "../lib/.git", git(lib, "rev-parse", "HEAD"))
    for folder in (lib, whole):
        git(folder, "update-server-info")
    clone = world.folder / "clone"
    git(world.folder, "clone", "--quiet", str(whole), str(clone))
    git(clone, "remote", "set-url", "origin", f"{served}/group/whole")

    said = world.write(world.source(clone))
    assert f"names {served}/group/lib/.git, which is not fetched" in said.warnings[0]  # a folder's parts not by HTTP

    git(clone, "remote", "set-url", "origin", str(whole))
    assert world.write(world.source(clone)).warnings == ()
    shutil.rmtree(world.folder / "cache")

    git(world.folder, "clone", "--quiet", "--bare", str(whole), str(world.folder / "group/whole.git"))
    git(world.folder / "group/whole.git", "update-server-info")
    assert world.write(world.source(f"{served}/group/whole.git")).warnings == ()
    assert (world.to / "lib/file").read_bytes() == b"content"


def test_a_part_is_fetched_by_ssh(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the user's own client. The whole was cloned by SSH, too, and is a folder by now."""
    client = tmp_path / "bin/ssh"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$@" >> {tmp_path}/said\nexec sh -c "$last"\n')
    client.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(client))
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole")
    world.add(whole, "lib", "../lib", git(lib, "rev-parse", "HEAD"))
    git(whole, "remote", "add", "origin", f"git@example.invalid:{world.folder}/whole")

    assert world.write(world.source(whole)).warnings == ()
    assert (world.to / "lib/file").read_bytes() == b"content"
    assert "git@example.invalid" in (tmp_path / "said").read_text(encoding="utf-8")


def test_what_lfs_keeps_of_a_submodule_is_fetched(world: World) -> None:
    lib = world.repository("lib")
    pointer = git(lib, "lfs", "clean", "--", "model.bin", given=b"the real content\n" * 1000)
    (lib / "model.bin").write_text(f"{pointer}\n", encoding="utf-8")
    git(lib, "add", "--all")  # before the attribute is there, so that no filter has a say
    (lib / ".gitattributes").write_text("*.bin filter=lfs -text\n", encoding="utf-8")
    whole = world.repository("whole")
    world.add(whole, "lib", f"file://{lib}", world.commit(lib))

    assert world.write(world.source(whole)).warnings == ()
    assert (world.to / "lib/model.bin").read_bytes() == b"the real content\n" * 1000

    shutil.rmtree(lib / ".git/lfs")
    shutil.rmtree(world.folder / "cache")
    said = world.write(world.source(whole))
    assert said.paths == ("lib/model.bin",)
    assert said.warnings[0].startswith("lib/model.bin: the release has Git LFS pointers")


def test_what_cannot_be_fetched_is_named_with_a_remedy(world: World) -> None:
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole", page=b"page")
    world.add(whole, "gone", "../gone", "1" * 40)
    world.add(whole, "lost", "../lib", "2" * 40)
    git(whole, "update-index", "--add", "--cacheinfo", f"160000,{'3' * 40},unnamed")
    git(whole, "commit", "--quiet", "--message=a submodule that .gitmodules does not have")

    said = world.write(world.source(whole))

    assert said.paths == ("gone", "lost", "unnamed")
    gone, lost, unnamed = said.warnings
    assert gone.startswith("gone: the submodule's folder is empty: ")
    assert "can't be fetched" in gone
    assert f"`git ls-remote {world.folder}/gone`" in gone
    assert f"{lib} has no commit {'2' * 40}" in lost
    assert "Push it there" in lost
    assert ".gitmodules has no URL for it" in unnamed
    assert all(list((world.to / name).iterdir()) == [] for name in said.paths)
    assert (world.to / "page").read_bytes() == b"page"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a", "ext::touch RAN"),
        ("a", "-uTOUCH"),
        ("a", "--upload-pack=touch RAN"),
        ("a", "ssh://-oProxyCommand=touch RAN/x"),
        ("a", "ssh://a@-oProxyCommand=touch RAN/x"),
        ("a", "-oProxyCommand=touch RAN:x"),
        ("a", "https://example.invalid/a\nhost=example.com"),
        ("a", "https://example.invalid/%0ahost=example.com"),
        ("a", "https://token:secret@example.invalid/?access_token=hidden"),
        ("a", "ssh://a:secret@example.invalid/x"),
        ("a", "git://example.invalid/x"),
        ("a", "foo://example.invalid/x"),
        ("a", "../../../../../../../../../../../../../../x"),
        ("a", "lib"),
        ("a", "."),
        ("a", ""),
        ("../../../outside", "../lib"),
        ("..", "../lib"),
    ],
)
def test_a_hostile_url_or_name_is_a_sentence(world: World, name: str, url: str) -> None:
    ran = world.folder / "ran"
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole")
    world.add(whole, "lib", url.replace("RAN", str(ran)), git(lib, "rev-parse", "HEAD"), name=name)
    source = world.source(whole)

    said = world.write(source)

    assert said.paths == ("lib",)
    assert len(said.warnings) == 1
    assert "secret" not in said.warnings[0].replace("has a secret", "")
    assert "hidden" not in said.warnings[0]
    assert "\n" not in said.warnings[0]
    assert list((world.to / "lib").iterdir()) == []
    assert not ran.exists()
    assert not list(world.folder.glob("cache/*"))  # Git was not even asked


def test_an_odd_file_of_submodules_is_a_sentence(world: World) -> None:
    """One that names a path twice, one that includes another file, a link, one that is no such file, a huge one."""
    commit = git(world.repository("lib", file=b"content"), "rev-parse", "HEAD")
    named = '[submodule "%s"]\n\tpath = lib\n\turl = ../lib\n'
    (world.folder / "other").write_text(named % "a", encoding="utf-8")
    odd = {
        "twice": named % "a" + named % "b",
        "two URLs": named % "a" + "\turl = ../other\n",
        "included": f"[include]\n\tpath = {world.folder}/other\n",
        "broken": "[submodule\n",
        "huge": "#" * (1 << 20) + "\n" + named % "a",
    }
    for number, (what, text) in enumerate(odd.items()):
        whole = world.repository(f"whole{number}")
        (whole / ".gitmodules").write_text(text, encoding="utf-8")
        git(whole, "add", "--all")
        git(whole, "update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
        git(whole, "commit", "--quiet", "--message=x")

        said = world.write(world.source(whole))

        assert said.paths == ("lib",), what
        assert ".gitmodules" in said.warnings[0], what
    whole = world.repository("linked")
    target = git(whole, "hash-object", "-w", "--stdin", given=str(world.folder / "other").encode())
    tree = raw_tree(whole, f"120000 blob {target}\t.gitmodules\n160000 commit {commit}\tlib\n")
    assert world.write(world.written_as(whole, tree)).paths == ("lib",)


def test_a_repository_on_this_machine_is_fetched_only_for_one_on_this_machine(world: World, served: str) -> None:
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole")
    world.add(whole, "lib", str(lib), git(lib, "rev-parse", "HEAD"))
    git(whole, "update-server-info")

    said = world.write(world.source(f"{served}/whole/.git"))

    assert f"names {lib}, which is not fetched for this repository" in said.warnings[0]
    assert list((world.to / "lib").iterdir()) == []


def test_a_repository_that_contains_itself_ends(world: World) -> None:
    whole = world.repository("whole")
    world.add(whole, "self", "../whole", git(whole, "rev-parse", "HEAD"))
    for _ in range(12):
        git(whole, "update-index", "--cacheinfo", f"160000,{git(whole, 'rev-parse', 'HEAD')},self")
        git(whole, "commit", "--quiet", "--message=once more")

    said = world.write(world.source(whole))

    assert said.paths == ("/".join(["self"] * 9),)
    assert "at most 8 of them in each other" in said.warnings[0]


def test_many_submodules_are_counted(world: World) -> None:
    whole = world.repository("whole")
    links = "".join(f"160000 {'1' * 40}\tl/{number:03}\n" for number in range(257))
    git(whole, "update-index", "--index-info", given=links.encode())
    git(whole, "commit", "--quiet", "--message=x")

    said = world.write(world.source(whole))

    assert "has no URL" in said.submodules["l/255"]
    assert "at most 256 submodules" in said.submodules["l/256"]
    assert said.warnings[3:] == ("254 more submodules' folders are empty",)


def test_a_tree_in_a_submodule_writes_nowhere_else(world: World) -> None:
    """A link of the whole at the submodule's place, or on the way to it, is refused as in Git."""
    lib = world.repository("lib", file=b"content")
    commit = git(lib, "rev-parse", "HEAD")
    whole = world.repository("whole")
    blob = git(whole, "hash-object", "-w", "--stdin", given=str(world.folder).encode())
    for number, listed in enumerate(
        (f"120000 blob {blob}\ta\n160000 commit {commit}\ta/b\n", f"160000 commit {commit}\t../b\n")
    ):
        source = world.written_as(whole, raw_tree(whole, listed))
        world.to = world.folder / f"to{number}"
        with pytest.raises(BuildFailed):
            world.write(source)


def test_a_fetch_that_takes_too_long_or_is_cancelled_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = world.repository("lib", file=b"content")
    whole = world.repository("whole")
    world.add(whole, "lib", "../lib", git(lib, "rev-parse", "HEAD"))
    source = world.source(whole)
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    started = tmp_path / "started"
    waiting = f'case "$*" in *" fetch "*) touch {started}; exec sleep 60 ;; esac'
    slow.write_text(f'#!/bin/sh\n{waiting}\nexec {shutil.which("git")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=":")
    with pytest.raises(BuildFailed, match="while Git fetched the submodule lib"):
        world.write(source, seconds=1)
    started.unlink()
    with pytest.raises(Interrupted):
        world.write(Source(whole, "main", source.commit, source.tree, source.cache, started.exists))


@pytest.mark.parametrize(
    ("origin", "url", "means"),
    [
        ("https://example.com/group/site.git", "../lib.git", "https://example.com/group/lib.git"),
        ("https://example.com/group/site/", "../lib", "https://example.com/group/lib"),
        ("https://example.com/group/site", "./lib", "https://example.com/group/site/lib"),
        ("git@example.com:group/site.git", "../../other/lib.git", "git@example.com:other/lib.git"),
        ("git@example.com:site.git", "../lib.git", "git@example.com:lib.git"),
        ("git@example.com:/srv/site.git", "../lib.git", "git@example.com:/srv/lib.git"),
        ("ssh://git@example.com:2222/a/b", "../c", "ssh://git@example.com:2222/a/c"),
        ("/srv/site", "../lib", "/srv/lib"),
    ],
)
def test_relative_urls_mean_what_git_takes_them_for(origin: str, url: str, means: str) -> None:
    assert submodules.beside(origin, url) == means


def test_a_relative_url_stays_on_its_site() -> None:
    with pytest.raises(UsageError, match="leads out"):
        submodules.beside("https://example.com/site", "../../lib")
