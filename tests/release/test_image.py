"""Real repositories, real builds. Most are of a type without a toolchain, which takes no time to make."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from edgeguard.cluster.host import images, manifest
from edgeguard.errors import BuildFailed, Interrupted, UsageError
from edgeguard.machine.sandbox import Sandbox, Seclusion, second_best
from edgeguard.release import application_file, image
from edgeguard.settings import ApplicationSettings

SEES_OTHERS = pytest.mark.skipif(
    not os.environ.get("CI") and bool(Sandbox().lack()) and second_best() is Seclusion.NONE,
    reason="processes can't be hidden here",
)
PLAIN = "name: a\ntype: plain\nbuild: {flavor: none}\nweb: {commands: {start: ./serve}}\n"


def git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgSign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=a change")
    return git(folder, "rev-parse", "HEAD")


class World:
    """A repository and the root below which its images are built."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "repository"
        self.root = folder / "root"
        self.said: list[str] = []
        self.used: list[str] = []  # digests of releases that servers need
        self.repository.mkdir()
        git(self.repository, "init", "--quiet", "--initial-branch=main")

    def commit(self, yaml: str, **files: str) -> str:
        return commit(self.repository, {".platform.app.yaml": yaml, **files})

    def build(
        self, ref: str | None = None, *, cancelled: threading.Event | None = None, **given: object
    ) -> image.Release:
        settings = ApplicationSettings.model_validate({"repository": str(self.repository), "branch": "main", **given})
        stop = (cancelled or threading.Event()).is_set
        release = image.build(
            settings,
            ref=ref,
            root=self.root,
            in_use=lambda release: release.digest in self.used,
            cancelled=stop,
            output=self.said.append,
        )
        assert Sandbox().lack() or shutil.which("bwrap") is None or "sandbox" not in str(release.application.warnings)
        return release

    def left(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("releases/*"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def hook(script: str) -> str:
    return PLAIN + f"hooks: {{build: {json.dumps(script)}}}\n"


def marked(mark: str) -> list[int]:
    """The living processes that have this in their environment. In a namespace they have other numbers than here."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"MARK={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def without_bubblewrap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a folder in place of PATH that has every other program of this machine."""
    programs = folder / "programs"
    programs.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).glob("*"):
            if program.name != "bwrap" and not (programs / program.name).exists():
                (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(programs))


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if path.exists() and (said := path.read_text(encoding="utf-8")).endswith("\n"):
            return said.strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def test_the_tree_is_built_where_it_runs_and_frozen(world: World) -> None:
    at = world.commit(hook('echo "built in $PWD"; echo "$PLATFORM_APP_DIR $HOME" > built'), serve="#!/bin/sh\n")

    release = world.build()

    assert (at, "main", False) == (release.commit, "main", release.reused)
    assert world.root / "releases" / release.inputs == release.folder
    assert f"built in {release.folder}/app" in world.said
    assert f"{release.folder}/app {release.folder}/home" == (release.folder / "app/built").read_text().strip()
    assert not (release.folder / "tmp").exists()
    every = [release.folder, *release.folder.rglob("*")]
    assert [path for path in every if not path.is_symlink() and path.stat().st_mode & 0o222] == []
    assert images.verify(release.folder) == []
    assert release == image.load(release.folder)


def test_an_image_is_found_again_when_nothing_changed(world: World) -> None:
    """Another commit with the same tree is the same image, whatever it is called; a changed tree is another."""
    world.commit(hook("echo building"))
    first = world.build()
    git(world.repository, "branch", "other")
    after = world.commit(hook("echo building"))

    again = world.build("main")
    world.commit(hook("echo building"), more="more")
    changed = world.build()

    assert world.said.count("building") == 2
    assert (first.digest, True, after) == (again.digest, again.reused, again.commit)
    assert first.digest != changed.digest
    assert first.commit == world.build("other").commit


def test_the_identity_is_that_of_the_content(world: World) -> None:
    """Built anew from the same inputs it is the same, and times play no part."""
    world.commit(hook("date +%s.%N > /dev/null; touch made; mkdir -p __pycache__; date +%N > __pycache__/a.pyc"))
    first = world.build()
    images.remove(first.folder)

    assert first.digest == world.build().digest


def test_it_does_not_depend_on_who_builds(world: World) -> None:
    """Nor does anything else in the manifest: not even the home, which is no part of the identity."""
    world.commit(
        hook("mkdir -p made/by/hand; touch made/file").replace("plain", "nodejs:20")
        + "mounts: {'a/new/place': {source: local}}\n",
        **{"folder/in/tree": ""},
    )
    found = []
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            release = world.build()
        finally:
            os.umask(before)
        found.append((release.digest, (release.folder / "manifest").read_text(encoding="utf-8")))
        images.remove(release.folder)

    assert found[0] == found[1] == found[2]


def test_downloads_are_kept_between_builds_and_never_in_the_image(world: World) -> None:
    """A hard link into the folder of downloads can't be made in a sandbox, and else becomes a copy."""
    script = 'echo run >> "$PLATFORM_CACHE_DIR/runs"; cp "$PLATFORM_CACHE_DIR/runs" runs; pip cache dir >> runs'
    script += (
        '; echo one > "$PLATFORM_CACHE_DIR/one"; ln "$PLATFORM_CACHE_DIR/one" one || cp "$PLATFORM_CACHE_DIR/one" one'
    )
    cache = world.root / "cache"
    first_of_two = hook(script).replace("type: plain\nbuild: {flavor: none}", "type: python:3")
    world.commit(first_of_two)
    world.build()
    world.commit(first_of_two, another="tree")
    release = world.build()
    (cache / "one").write_text("two\n")

    assert (release.folder / "app/runs").read_text() == f"run\nrun\n{cache}/pip\n"
    assert (release.folder / "app/one").read_text() == "one\n"
    assert images.verify(release.folder) == []
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_what_a_build_leaves_in_its_home_stays_in_the_image(world: World) -> None:
    world.commit(hook("mkdir -p ~/.cache/pypoetry ~/.npm && touch ~/.cache/pypoetry/environment ~/.npm/kept"))
    release = world.build()

    kept = [path.relative_to(release.folder / "home").as_posix() for path in release.folder.glob("home/**/*")]
    assert sorted(kept) == [".cache", ".cache/pypoetry", ".cache/pypoetry/environment", ".npm", ".npm/kept"]


def test_a_named_build_variable_is_an_input(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit(hook('echo "$MODE" > mode'))
    monkeypatch.setenv("MODE", "one")
    first = world.build(build_environment=["MODE"])
    monkeypatch.setenv("MODE", "two")
    second = world.build(build_environment=["MODE"])

    assert first.inputs != second.inputs
    assert (second.folder / "app/mode").read_text() == "two\n"


def test_a_build_sees_no_secret(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTLY_API_TOKEN", "FASTLY_KEY", "EDGEGUARD_EDGE__SERVICE", "SOMETHING"):
        monkeypatch.setenv(name, "sentinel")
    world.commit(hook("env > seen; cat /proc/self/environ >> seen") + "variables: {env: {OF_THE_FILE: seen}}\n")

    release = world.build(
        variables={"env:TOKEN": "sentinel", "plain": "sentinel"}, relationships={"db": "db://sentinel"}
    )

    seen = (release.folder / "app/seen").read_text()
    assert "sentinel" not in seen
    assert "OF_THE_FILE=seen" in seen
    assert "sentinel" not in (release.folder / "release.json").read_text()


IN_A_PROCESS_WITH_A_TOKEN = """
import os, sys
from pathlib import Path
from edgeguard.release import image
from edgeguard.settings import ApplicationSettings

settings = ApplicationSettings(repository=sys.argv[1], branch="main")
build = {"root": Path(sys.argv[2]), "in_use": lambda _: False, "cancelled": lambda: False, "output": print}
print(image.build(settings, ref=None, **build).folder)
"""


@SEES_OTHERS
def test_a_build_sees_no_process_of_others(world: World) -> None:
    """Each shows what it was given when it began, to all of its user."""
    script = "cat /proc/[0-9]*/environ > seen; ls /proc | grep -c '^[0-9]' > processes"
    world.commit(hook(f"{script}; touch made"))
    command = [sys.executable, "-c", IN_A_PROCESS_WITH_A_TOKEN, str(world.repository), str(world.root)]
    ran = subprocess.run(
        command, env={**os.environ, "FASTLY_API_TOKEN": "sentinel"}, capture_output=True, text=True, check=True
    )
    app = Path(ran.stdout.splitlines()[-1], "app")

    assert b"PLATFORM_APP_DIR" in (app / "seen").read_bytes()
    assert b"sentinel" not in (app / "seen").read_bytes()
    assert int((app / "processes").read_text()) < 10
    assert (app / "made").stat().st_uid == os.geteuid()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hides a process from others of its user")
def test_who_has_a_token_is_hidden_from_others_of_its_user() -> None:
    """Linux keeps the environment and the memory of what is not "dumpable" from them (prctl(2), PR_SET_DUMPABLE)."""
    script = (
        "import ctypes; from pathlib import Path; from edgeguard.environment import Environment;"
        "Environment.open('production', config=Path('config')); print(ctypes.CDLL(None).prctl(3))"  # PR_GET_DUMPABLE
    )
    env = {**os.environ, "FASTLY_API_TOKEN": "sentinel"}
    here = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", script], cwd=here, env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n"


def test_a_build_without_a_network_reaches_not_even_this_machine(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        world.commit(hook(f"python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 5)\""))
        with_network = world.build()
        with pytest.raises(BuildFailed, match="Connection refused"):
            world.build(build_network=False)
        world.commit(hook("true"))
        without = world.build(build_network=False)

    assert with_network.application.warnings == without.application.warnings == ()


def test_a_build_without_a_network_needs_a_sandbox(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bubblewrap everything else is built, with a warning that says what that means."""
    without_bubblewrap(tmp_path, monkeypatch)
    world.commit(hook("true"))

    with pytest.raises(UsageError, match=r"build_network is false, and nothing here .* bubblewrap is not installed"):
        world.build(build_network=False)
    [warning] = world.build().application.warnings
    assert "in no sandbox here (bubblewrap is not installed)" in warning
    assert "Install bubblewrap" in warning


@pytest.mark.parametrize("name", ["FASTLY_API_TOKEN", "EDGEGUARD_X", "fastly_key"])
def test_a_secret_can_not_be_named_into_a_build(world: World, name: str) -> None:
    world.commit(PLAIN)
    with pytest.raises(UsageError, match=name):
        world.build(build_environment=[name])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cp /bin/true a; chmod 4755 a", "app/a lends its owner's rights"),
        ("mkdir b; cp /bin/true b/a; chmod 2755 b/a", "app/b/a lends its owner's rights"),
        ("mkfifo ~/a", "home/a is a pipe"),
        ("cd ..; mv app kept; ln -s / app", "app is no folder any more"),
        ("cd ..; rm -r home; touch home", "home is no folder any more"),
        ("cd ../..; rm -r app/api; ln -s / app/api", "source.root a link out of the image"),
    ],
)
def test_what_can_not_be_in_an_image_fails_the_build(world: World, script: str, said: str) -> None:
    root = "source: {root: api}\n" if "api" in script else ""
    if root:
        script = script.replace("../..", "$PLATFORM_SOURCE_DIR/..")
    world.commit(hook(script) + root, **{"api/a": "a"})

    with pytest.raises(BuildFailed, match=said):
        world.build()
    assert world.left() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_can_not_be_in_an_image(tmp_path: Path) -> None:
    os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert manifest.unfit(tmp_path) == f"{tmp_path.name}/device is a device"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give capabilities")
def test_a_file_with_capabilities_can_not_be_in_an_image(tmp_path: Path) -> None:
    """As `setcap cap_net_raw=ep` writes it (linux/capability.h, version 2)."""
    (tmp_path / "ping").touch()
    os.setxattr(tmp_path / "ping", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    assert "ping lends its owner's rights" in (manifest.unfit(tmp_path) or "")


def test_what_a_build_leaves_for_the_freeze_to_follow_is_not_followed(world: World, tmp_path: Path) -> None:
    """Names that edgeguard itself writes to when it freezes an image, as links to a file outside."""
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    links = "; ".join(f"ln -s {outside} {name}" for name in (".copy.tmp", "../.manifest.tmp", "../.release.json.tmp"))
    world.commit(hook(f"touch one; ln one two; mkdir ../more; {links}"))
    release = world.build()

    assert outside.read_text() == "as it was"
    assert {path.name for path in release.folder.iterdir()} == {*images.FROZEN, "manifest", "release.json"}
    assert {(release.folder / "app" / name).stat().st_nlink for name in ("one", "two")} == {1}


def test_a_socket_is_not_kept_and_the_bits_of_the_folder_above_are_not_inherited(world: World) -> None:
    world.root.mkdir()
    world.root.chmod(0o2755)
    bind = "import socket; socket.socket(socket.AF_UNIX).bind('socket')"
    world.commit(hook(f'mkdir -p a; chmod 3755 a; python3 -c "{bind}"'))
    release = world.build()

    assert not (release.folder / "app/socket").exists()
    assert stat.S_IMODE((release.folder / "app/a").stat().st_mode) == 0o555


def test_a_failing_hook_shows_its_output_and_leaves_nothing(world: World) -> None:
    world.commit(hook("for i in $(seq 30); do echo line $i; done; echo 'no such thing' >&2; exit 7"))

    with pytest.raises(BuildFailed) as failed:
        world.build()

    assert "hooks.build failed with exit code 7" in failed.value.message
    assert failed.value.message.endswith("  | line 30\n  | no such thing")
    assert "line 1\n" not in failed.value.message
    assert "line 1" in world.said
    assert world.left() == []


def test_only_the_last_command_of_a_hook_decides(world: World) -> None:
    world.commit(hook("false\ntrue"))

    assert world.build().digest


@pytest.mark.parametrize("way", ["cancelled", "limit"])
def test_a_build_that_is_ended_leaves_no_process_and_no_folder(world: World, tmp_path: Path, way: str) -> None:
    """Not even one that ignores SIGTERM, or is in another process group of the session."""
    begun = world.root / "cache/begun"
    child = "python3 -c 'import os, time; os.setpgid(0, 0); time.sleep(60)'"
    world.commit(hook(f"trap '' TERM; MARK={tmp_path} {child} & echo > {begun}; while :; do sleep 0.1; done"))
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            world.build(cancelled=stop, build_timeout=3 if way == "limit" else 60)
        except (Interrupted, BuildFailed) as exc:
            failure.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(begun)
    if way == "cancelled":
        stop.set()
    thread.join(20)

    assert [Interrupted if way == "cancelled" else BuildFailed] == [type(exc) for exc in failure]
    assert marked(str(tmp_path)) == []
    assert world.left() == []


def test_what_a_hook_leaves_running_is_ended(world: World, tmp_path: Path) -> None:
    world.commit(hook(f"MARK={tmp_path} sleep 60 & until grep -q MARK=/ /proc/$!/environ; do sleep 0.01; done"))

    world.build()

    assert marked(str(tmp_path)) == []


@SEES_OTHERS
def test_what_a_hook_leaves_in_a_session_of_its_own_is_ended_too(world: World, tmp_path: Path) -> None:
    stray = "import os, time; os.setsid(); open('begun', 'w').close(); time.sleep(60)"
    world.commit(hook(f'MARK={tmp_path} python3 -c "{stray}" & until [ -e begun ]; do :; done'))

    world.build()

    assert marked(str(tmp_path)) == []


def test_of_two_builds_at_once_one_waits_and_finds_the_image(world: World) -> None:
    world.commit(hook("sleep 0.3; echo building"))
    found: list[image.Release] = []
    threads = [threading.Thread(target=lambda: found.append(world.build())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert world.said.count("building") == 1
    assert sorted(release.reused for release in found) == [False, True]


def test_an_unfinished_build_is_built_anew(world: World) -> None:
    world.commit(hook("echo building"))
    release = world.build()
    release.folder.chmod(0o700)
    (release.folder / "release.json").unlink()

    with pytest.raises(UsageError, match="no finished image"):
        image.load(release.folder)
    assert release == world.build()


def test_an_image_that_was_changed_is_built_anew_unless_a_server_uses_it(world: World) -> None:
    world.commit(hook("echo building"), a="a")
    first = world.build()
    assert first.differs == ()
    file = first.folder / "app/a"
    file.chmod(0o644)
    file.write_text("changed")
    world.used = [first.digest]

    used = world.build()
    assert (used.reused, file.read_text()) == (True, "changed")
    assert used.differs == ("app/a was changed",)
    world.used = []
    again = world.build()

    assert (again.reused, again.differs, file.read_text()) == (False, (), "a")
    assert images.verify(again.folder) == []
    assert first.digest == again.digest
    assert f"{first.folder} is not as it was built: app/a was changed. It is built anew" in world.said


def test_mounts_lead_out_of_the_frozen_tree_and_outlive_it(world: World) -> None:
    """What the tree has at a mount's place is hidden, as it would be there. Their folders are the driver's to make."""
    world.commit(
        PLAIN + "mounts: {'/var/data': {source: local}, cache: {source: tmp, source_path: c}}\n", **{"cache/old": "x"}
    )
    first = world.build()
    assert not (world.root / "mounts").exists()
    for place in first.application.mounts.values():
        (world.root / "mounts" / place).mkdir(parents=True)
    (first.folder / "app/var/data/kept").write_text("kept")
    world.commit(PLAIN + "mounts: {'/var/data': {source: local}}\n")
    second = world.build()

    assert (second.folder / "app/var/data/kept").read_text() == "kept"
    assert list((first.folder / "app/cache").iterdir()) == []
    assert world.root / "mounts/c" == (first.folder / "app/cache").readlink()
    images.remove(first.folder)
    assert (world.root / "mounts/var/data/kept").read_text() == "kept"


def test_a_mount_can_not_leave_the_application_through_a_link(world: World, tmp_path: Path) -> None:
    (world.repository / "out").symlink_to(tmp_path)
    before = sorted(tmp_path.iterdir())
    for place in ("out/there", "out/there/too"):
        world.commit(PLAIN + f"mounts: {{{place}: {{source: local}}}}\n")

        with pytest.raises(UsageError, match=place):
            world.build()
    assert [*before, world.root] == sorted(tmp_path.iterdir())
    assert world.left() == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda app: (app / "a").write_text("changed"), "app/a was changed"),
        (lambda app: (app / "new").write_text("new"), "app/new was added"),
        (lambda app: (app / "a").unlink(), "app/a is missing"),
        (lambda app: (app / "a").chmod(0o666), "app/a has mode 0666, not 0444"),
        (lambda app: (app / "link").unlink() or (app / "link").symlink_to("b"), "app/link was changed"),
    ],
)
def test_verify_names_what_differs(world: World, harm: object, said: str) -> None:
    (world.repository / "link").symlink_to("a")
    world.commit(PLAIN, a="a")
    release = world.build()
    app = release.folder / "app"
    app.chmod(0o755)
    (app / "a").chmod(0o644)
    assert callable(harm)
    harm(app)
    if (app / "a").exists() and "mode" not in said:
        (app / "a").chmod(0o444)
    app.chmod(0o555)

    assert [said] == images.verify(release.folder)


def test_verify_finds_a_changed_manifest(world: World) -> None:
    world.commit(PLAIN)
    release = world.build()
    manifest = release.folder / "manifest"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace("0444", "0644"))

    assert images.verify(release.folder) == ["the manifest was changed"]


@pytest.mark.parametrize("ref", ["nowhere", "-rf", "HEAD:.platform.app.yaml", "0" * 40, ""])
def test_a_ref_that_does_not_exist_is_named_with_those_that_do(world: World, ref: str) -> None:
    world.commit(PLAIN)
    with pytest.raises(UsageError) as refused:
        world.build(ref or "''")
    assert "main" in refused.value.remedy


def test_what_is_no_repository_is_refused(world: World, tmp_path: Path) -> None:
    """Neither a folder that a repository merely surrounds, nor a path that doesn't exist."""
    world.commit(PLAIN)
    (world.repository / "below").mkdir()
    (tmp_path / "empty").mkdir()
    for path in (
        world.repository / "below",
        tmp_path / "empty",
        tmp_path / "nowhere",
        "https://u:sentinel@host.invalid/r",
    ):
        with pytest.raises(UsageError) as refused:
            world.build(repository=str(path))
        assert "sentinel" not in refused.value.message
        assert refused.value.remedy


def test_a_repository_may_be_bare_or_a_url(world: World, tmp_path: Path) -> None:
    world.commit(PLAIN)
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(world.repository), str(bare))
    first = world.build(repository=f"file://{bare}")
    at = world.commit(PLAIN, more="more")
    git(world.repository, "push", "--quiet", str(bare), "main")

    assert at == world.build(repository=str(bare)).commit
    assert at == world.build(repository=f"file://{bare}").commit
    assert first.commit != at


def test_a_repository_without_an_application_is_refused(world: World) -> None:
    commit(world.repository, {"a": "a"})
    with pytest.raises(UsageError, match=r"main of .* has no \.platform\.app\.yaml"):
        world.build()
    world.commit(PLAIN + "source: {root: nowhere}\n")
    with pytest.raises(UsageError, match="nowhere"):
        world.build()


def test_source_root_is_where_commands_run(world: World) -> None:
    world.commit(hook("pwd > here") + "source: {root: api}\n", **{"api/a": "a"})
    release = world.build()

    assert f"{release.folder}/app/api" == (release.folder / "app/api/here").read_text().strip()


def test_of_several_applications_only_one_is_in_the_release(world: World) -> None:
    """So its image is found again where only another application has changed."""
    api, site = hook("pwd > here; echo $PLATFORM_TREE_ID > tree"), PLAIN.replace("name: ", "name: other-")
    files = {"api/.platform.app.yaml": api, "api/lib/a": "a", "apiary/a": "a", "site/.platform.app.yaml": site}
    commit(world.repository, files)
    with pytest.raises(UsageError, match="several applications"):
        world.build()
    name = application_file.parse(api).name
    first = world.build(name=name)

    assert [path.name for path in (first.folder / "app").iterdir()] == ["api"]
    assert {"lib", "here", "tree", ".platform.app.yaml"} == {path.name for path in (first.folder / "app/api").iterdir()}
    assert (first.folder / "app/api/tree").read_text().strip() == first.tree

    commit(world.repository, {"site/a": "a"})
    assert world.build(name=name).inputs == first.inputs
    commit(world.repository, {"api/lib/a": "b"})
    assert world.build(name=name).inputs != first.inputs


def test_what_describes_the_application_is_an_input_wherever_it_stands(world: World) -> None:
    inputs = set()
    for said in ("one", "two"):
        table = (
            f"a: {{type: plain, build: {{flavor: none}}, source: {{root: api}}, web: {{commands: {{start: {said}}}}}}}"
        )
        commit(world.repository, {".platform/applications.yaml": table, "api/a": "a"})
        inputs.add(world.build().inputs)

    assert len(inputs) == len(("one", "two"))


def test_a_hook_of_git_can_build(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There, Git's own variables name another repository."""
    at = world.commit(PLAIN)
    monkeypatch.setenv("GIT_DIR", "/nowhere")

    assert at == world.build().commit


def test_without_git_the_remedy_is_to_install_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.commit(PLAIN)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="git"):
        world.build()


def test_a_place_that_can_not_be_written_fails_the_build(world: World) -> None:
    world.commit(PLAIN)
    world.root.write_text("in the way")
    with pytest.raises(BuildFailed, match="can't be written"):
        world.build()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_fails_the_build_and_leaves_nothing(world: World) -> None:
    world.commit(hook("echo built"), large="x" * 1_100_000)
    world.root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(world.root)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(BuildFailed):
            world.build()
        assert world.left() == []
    finally:
        subprocess.run(["umount", str(world.root)], check=True)


def test_python_has_a_private_toolchain(world: World) -> None:
    """The type's Python is first on PATH, compiled beforehand, and its tools leave nothing in the image's home."""
    script = "python3 -c 'import sys; print(sys.prefix)' > prefix; command -v pip >> prefix; echo $UV_PYTHON >> prefix"
    world.commit(
        f"name: a\ntype: python:3\nhooks: {{build: {json.dumps(script)}}}\nweb: {{commands: {{start: a}}}}\n",
        **{"m.py": ""},
    )
    release = world.build()
    toolchain = release.folder / "toolchain"

    said = (release.folder / "app/prefix").read_text().split()
    assert said == [str(toolchain), str(toolchain / "bin/pip"), str(toolchain / "bin/python")]
    assert list((release.folder / "app/__pycache__").glob("m.*.pyc")) != []
    assert list((release.folder / "home").iterdir()) == []
    assert images.verify(release.folder) == []


def test_pip_takes_what_a_variable_of_this_machine_names(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of wheels is outside of the image, as certificates are: a build sees it, and can't write there."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "seven-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("seven.py", "print(7)")
        wheel.writestr("seven-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: seven\nVersion: 1.0\n")
        wheel.writestr("seven-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("seven-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    yaml = "name: a\ntype: python:3\ndependencies: {python3: {seven: '1.0'}}\nweb: {commands: {start: a}}\n"
    script = f"python -m seven > said; touch {wheels}/mine || true"
    world.commit(yaml + f"hooks: {{build: {json.dumps(script)}}}\n")
    release = world.build(build_environment=["PIP_NO_INDEX"])

    assert (release.folder / "app/said").read_text() == "7\n"
    assert Sandbox().lack() or not (wheels / "mine").exists()


def test_a_path_may_have_a_space_in_it(tmp_path: Path) -> None:
    """What can't be compiled keeps nothing else from being so."""
    (tmp_path / "a place").mkdir()
    world = World(tmp_path / "a place")
    yaml = "name: a\ntype: python:3\nhooks: {build: pip --version}\nweb: {commands: {start: a}}\n"
    world.commit(yaml, **{"m.py": "", "broken.py": "this is no Python"})
    release = world.build()

    assert [path.name.partition(".")[0] for path in (release.folder / "app/__pycache__").iterdir()] == ["m"]
    assert images.verify(release.folder) == []


@pytest.mark.skipif(shutil.which("corepack") is None, reason="no corepack here")
def test_corepack_is_enabled_in_the_image(world: World) -> None:
    """Not on this machine, where `corepack enable` would write as root. npm may install another corepack over it."""
    own = json.dumps({"name": "corepack", "version": "9.9.9", "bin": {"corepack": "own.js"}})
    script = "corepack enable && { command -v pnpm; command -v yarn; } > found\n"
    script += "npm install --global --offline ./own && hash -r && corepack >> found"
    world.commit(
        f"name: a\ntype: nodejs:20\nhooks: {{build: {json.dumps(script)}}}\nweb: {{commands: {{start: a}}}}\n",
        **{"own/package.json": own, "own/own.js": "#!/usr/bin/env node\nconsole.log('another')\n"},
    )
    release = world.build()
    programs = release.folder / "toolchain/machine"

    assert (release.folder / "app/found").read_text().split() == [f"{programs}/pnpm", f"{programs}/yarn", "another"]


def test_another_version_than_the_types_is_used_with_a_warning(world: World) -> None:
    world.commit("name: a\ntype: nodejs:4\nhooks: {build: 'node -p 1+1 > two'}\nweb: {commands: {start: a}}\n")
    release = world.build()

    assert (release.folder / "app/two").read_text() == "2\n"
    assert any(line.startswith("type: nodejs:4 is not on this machine") for line in world.said)


def test_the_default_build_of_nodejs_is_npm_install(world: World) -> None:
    """With a dependency that needs no network: a folder of the tree."""
    yaml = "name: a\ntype: nodejs:20\nhooks: {build: node main.js > said}\nweb: {commands: {start: a}}\n"
    main = "console.log(require('local'))"
    package = json.dumps({"name": "a", "version": "1.0.0", "dependencies": {"local": "file:local"}})
    local = json.dumps({"name": "local", "version": "1.0.0", "main": "index.js"})
    world.commit(
        yaml,
        **{
            "package.json": package,
            "local/package.json": local,
            "local/index.js": "module.exports = 7",
            "main.js": main,
        },
    )
    release = world.build()

    assert (release.folder / "app/said").read_text() == "7\n"
    assert stat.S_ISDIR((release.folder / "app/node_modules").stat().st_mode)


@pytest.mark.parametrize("in_use", [False, True])
def test_an_image_without_a_submodule_is_built_anew(world: World, tmp_path: Path, *, in_use: bool) -> None:
    """What the tree lacked is in the warning and in `lacks`. Its digest is another one than the whole image's, which is
    beside it where servers use it."""
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch=main")
    there = commit(library, {"page": "the page\n"})
    git(world.repository, "update-index", "--add", "--cacheinfo", f"160000,{there},library")
    (world.repository / "library").mkdir()
    world.commit(PLAIN, **{".gitmodules": '[submodule "a"]\n\tpath = library\n\turl = ../library\n'})
    library.rename(tmp_path / "away")

    lacking = world.build()

    assert lacking.lacks == ("library",)
    assert any("library: the submodule's folder is empty" in said for said in lacking.application.warnings)
    world.used = [lacking.digest] if in_use else []
    assert world.build().reused == in_use
    (tmp_path / "away").rename(library)
    whole = world.build()
    assert lacking.folder.exists()
    assert whole.lacks == ()
    assert not whole.application.warnings
    assert (whole.folder / "app/library/page").read_text(encoding="utf-8") == "the page\n"
    assert whole.digest != lacking.digest
    assert world.build().digest == whole.digest
    assert world.build().reused
    assert (image.load(lacking.folder).digest == lacking.digest) == in_use
