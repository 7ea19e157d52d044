"""The bundled application as a rehearsal runs it: built, started with its variables, asked over real connections."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster.host import images, manifest
from edgeguard.errors import UsageError
from edgeguard.rehearsal import repository
from edgeguard.release import image, process_variables
from edgeguard.release.application import shell
from edgeguard.release.application_file import FILE
from edgeguard.settings import ApplicationSettings
from tests.release.test_tree import git

if TYPE_CHECKING:
    from collections.abc import Iterator


class World:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.repository = repository.bundled(folder / "repository")

    def build(self, ref: str | None = None) -> image.Release:
        settings = ApplicationSettings(repository=str(self.repository), branch=repository.BRANCH)
        return image.build(
            settings, ref=ref, root=self.root, in_use=lambda _: False, cancelled=lambda: False, output=lambda _: None
        )


def environment(release: image.Release, **more: str) -> dict[str, str]:
    found = process_variables.runtime(
        release.application,
        settings=ApplicationSettings(repository="/r", branch="rehearsal"),
        environment="rehearsal",
        branch="rehearsal",
        tree=release.tree,
        image=release.folder,
        front_door="http://127.0.0.1",
        entropy="entropy",
    )
    return {**found, **more}


@contextmanager
def started(release: image.Release, server: str = "web1") -> Iterator[http.client.HTTPConnection]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        shell(release.application.launch),
        cwd=release.application.folder(release.folder),
        env=environment(release, PORT=str(port), EDGEGUARD_SERVER=server),
        start_new_session=True,
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield connection
    finally:
        connection.close()
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)


def ask(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read().decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bundled")
    yield World(folder)
    manifest.remove(folder)


def test_its_pages_can_be_kept_and_purged_and_name_their_release(world: World) -> None:
    """All over one connection that stays open."""
    release = world.build()
    with started(release) as connection:
        first = connection.sock
        for number, path in enumerate(["/", *(f"/page/{number}" for number in range(1, 24))]):
            status, headers, text = ask(connection, path)
            assert status == 200
            assert headers["Cache-Control"] == headers["Surrogate-Control"] == "max-age=1"
            assert headers["Surrogate-Key"].split() == ["release", f"page-{number}"]
            assert headers["X-Release"] == release.tree[:12]
            assert f"release {release.tree[:12]}" in text
        assert ask(connection, "/health?x=1")[0] == 200
        assert ask(connection, "/health")[1]["Cache-Control"] == "private, no-store"
        assert ask(connection, "/page/24")[0] == ask(connection, "/nowhere")[0] == 404
        assert connection.sock is first


def test_a_session_gets_an_answer_of_its_own(world: World) -> None:
    with started(world.build()) as connection:
        status, headers, text = ask(connection, "/page/3", Cookie="session=<Ada>")

    assert status == 200
    assert headers["Cache-Control"] == "private, no-store"
    assert "Surrogate-Key" not in headers
    assert "Good evening, &lt;Ada&gt;" in text


def test_the_deploy_hook_leaves_its_lines_on_a_mount_and_the_tree_as_it_is(world: World) -> None:
    release = world.build()
    (world.root / "mounts/var").mkdir(parents=True)
    subprocess.run(
        shell(release.application.hooks["deploy"]),
        cwd=release.application.folder(release.folder),
        env=environment(release, HOOK_SECONDS="0", EDGEGUARD_SERVER="web2"),
        capture_output=True,
        check=True,
    )
    lines = (world.root / "mounts/var/hooks.log").read_text(encoding="utf-8").splitlines()

    assert [line.split(" ", 1)[1] for line in lines] == [
        f"{what} on web2 for {release.tree[:12]}" for what in ("started", "done")
    ]
    assert images.verify(release.folder) == []


def test_the_next_release_looks_different(tmp_path: Path) -> None:
    folder = repository.bundled(tmp_path / "repository")
    seen = {(folder / "motto.txt").read_text(encoding="utf-8")}
    for _ in range(2):
        repository.next_release(folder)
        seen.add((folder / "motto.txt").read_text(encoding="utf-8"))

    assert len(seen) == 3
    log = subprocess.run(
        ["git", "-C", str(folder), "log", "--format=%an %D"], capture_output=True, check=True, text=True
    )
    assert log.stdout.splitlines()[0] == "edgeguard HEAD -> rehearsal"


@pytest.mark.parametrize(("phase", "web1", "web2"), [("check", 200, 500), ("healthy", 200, 200)])
def test_a_planted_failure_of_the_servers_is_where_it_should_be(world: World, phase: str, web1: int, web2: int) -> None:
    """`check` fails on one server; `healthy` only for what comes through the gate. The application need not be ours."""
    other = world.root.parent / f"other-{phase}"
    other.mkdir()
    yaml = "other: {type: plain, build: {flavor: none}, source: {root: /api}, web: {commands: {start: a}}}\n"
    (other / ".platform").mkdir()
    (other / ".platform/applications.yaml").write_text(f"{yaml}another: {{type: plain}}\n", encoding="utf-8")
    (other / "api").mkdir()
    (other / "api/file").touch()
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(other)], check=True)
    git(other, "add", "--all")
    git(other, "commit", "--quiet", "--message=one")
    assert phase in ("check", "healthy")
    at = repository.plant(other, "check" if phase == "check" else "healthy", server="web2", application="other")
    settings = ApplicationSettings(repository=str(other), branch="main")
    release = image.build(
        settings, ref=at, root=world.root, in_use=lambda _: False, cancelled=lambda: False, output=lambda _: None
    )

    for server, expected in (("web1", web1), ("web2", web2)):
        with started(release, server) as connection:
            assert ask(connection, "/")[0] == expected
    with started(release) as connection:
        through = ask(connection, "/", Via="1.1 edgeguard-gate", **{"X-Forwarded-For": "192.0.2.1"})
        assert through[0] == (200 if phase == "check" else 500)


def test_a_planted_hook_fails_and_the_rest_is_as_it_was(world: World, tmp_path: Path) -> None:
    folder = repository.bundled(tmp_path / "repository")
    at = repository.plant(folder, "hook")
    settings = ApplicationSettings(repository=str(folder), branch=repository.BRANCH)
    release = image.build(
        settings, ref=at, root=world.root, in_use=lambda _: False, cancelled=lambda: False, output=lambda _: None
    )
    done = subprocess.run(shell(release.application.hooks["deploy"]), capture_output=True, check=False, text=True)

    assert done.returncode == 1
    assert "made to fail" in done.stdout
    assert release.application.start == world.build().application.start
    assert release.application.mounts == {"var": "var"}


def test_nothing_is_planted_where_there_is_no_application(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        repository.plant(tmp_path, "hook")


def test_the_wheel_has_it_whole(tmp_path: Path) -> None:
    """The file with a dot before its name too."""
    build = pytest.importorskip("hatchling.build", reason="the build backend is not installed")
    here = Path.cwd()
    os.chdir(Path(repository.__file__).parents[2])
    try:
        wheel = tmp_path / build.build_wheel(str(tmp_path))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if "/application/" in name}

    there = {f"edgeguard/rehearsal/application/{path.name}" for path in repository.BUNDLED.iterdir() if path.is_file()}
    assert there <= names
    assert f"edgeguard/rehearsal/application/{FILE}" in names
