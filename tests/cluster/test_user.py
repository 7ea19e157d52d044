"""`cluster.user` on the driver `local`: the application runs as another user, and reaches only what it has to."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host import files, images, manifest, reach
from edgeguard.cluster.host.errors import HostError
from edgeguard.errors import ClusterError, HookRuns, UsageError
from edgeguard.testing import local, suite
from edgeguard.testing.acts import CLOSURE, closed_on, deploy, lock, run_hook
from edgeguard.testing.world import SERVERS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgeguard.cluster import Generation

NOBODY = "nobody"
SECRET = "canary-of-the-other-release"
ATTACH = "import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0) == 0)"  # PTRACE_ATTACH
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")  # CI runs as root


class World(local.World):
    """Servers in a folder that everybody can pass through, with a Python that everybody can run."""

    python = "/usr/bin/python3"  # the one of the tests may be in root's home

    always: str | None = None  # the user of generations for whom a test names none

    def generation(self, name: str, **described: Any) -> Generation:  # noqa: ANN401 (as it comes)
        return super().generation(name, **{"user": self.always, **described})

    def as_nobody(self, name: str, **described: Any) -> Generation:  # noqa: ANN401 (as it comes)
        return self.generation(name, user=NOBODY, **described)


@pytest.fixture
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="edgeguard-user-"))
    folder.chmod(0o711)
    with World("local", folder / "root") as world:
        yield world
    manifest.remove(folder)


def server(world: World, name: str = "web1") -> Path:
    return world.root / "servers" / name


def remake(generation: Generation) -> Generation:
    """The same, after its image was changed: with the image's new manifest and release."""
    content = manifest.take(generation.image, images.CONTENT)
    digest = manifest.digest(content, images.CONTENT)
    (generation.image / "manifest").write_text(content, encoding="utf-8")
    files.write(generation.image / "release.json", {"digest": digest})
    return replace(generation, release=digest)


def status_of(pid: str) -> dict[str, str]:
    lines = Path("/proc", pid, "status").read_text(encoding="ascii").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_web_processes_and_hooks_are_the_user_s_with_its_groups_and_its_home(world: World) -> None:
    account = pwd.getpwnam(NOBODY)
    groups = " ".join(map(str, os.getgrouplist(NOBODY, account.pw_gid)))
    lock(world)
    script = 'echo "$(id -u) $(id -g) $(id -G) $USER $LOGNAME"; touch "$HOME/written"; echo again > /dev/stdout'
    one = world.as_nobody("one", hooks={"deploy": script})
    closed_on(world, one)
    hook = run_hook(world)
    world.cluster.check(one)
    world.cluster.open(1, "one")

    assert (hook.code, hook.output) == (
        0,
        f"{account.pw_uid} {account.pw_gid} {groups} {NOBODY} {NOBODY}\nagain",
    )
    for name, pid in world.ask_all("/pid").items():
        said = status_of(pid)
        assert said["Uid"].split() == [str(account.pw_uid)] * 4, name
        assert said["Gid"].split() == [str(account.pw_gid)] * 4, name
        assert said["Groups"].split() == groups.split(), name
        assert int(said["CapEff"], 16) == 0, name
    assert set(world.ask_all("/env?USER").values()) == {NOBODY}
    home = server(world) / "generations/one/home"
    assert world.ask_all("/env?HOME")["web1"] == str(home)
    assert (home / "written").stat().st_uid == home.stat().st_uid == account.pw_uid
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_the_application_reads_nothing_of_edgeguard_and_of_other_releases(world: World) -> None:
    """Neither files nor processes, though it knows all their names."""
    epoch = lock(world)
    deploy(world, epoch, world.as_nobody("one", variables={"PASSWORD": SECRET}))
    token = world.folder.parent / "fastly-token"
    files.write(token, {"token": SECRET})
    left_out = {"releases", "app.log"}  # images, and the application's own output
    pids = (os.getpid(), world.supervisor("web1").pid(), world.gate.pid())
    places = [
        token,
        *(path for path in world.root.rglob("*") if path.is_file() and not left_out & set(path.parts)),
        *(Path("/proc", str(pid), "environ") for pid in pids),
    ]
    assert {"variables.json", "record.json", "lock", "desired.json", "environ"} <= {path.name for path in places}
    its_own = ("home", "image", "current")  # and links to images
    below = [server(world), *server(world).rglob("*")]
    folders = [path for path in below if path.is_dir() and path.name not in its_own]
    attack = "\n".join(
        [
            *(f'cat "{path}" 2>/dev/null && echo "read {path}"' for path in places if not path.match("host/*.pyz")),
            *(f'ls "{path}" >/dev/null 2>&1 && echo "listed {path}"' for path in folders),
            *(f'touch "{path}/x" 2>/dev/null && echo "wrote {path}"' for path in folders),
            f"kill -0 {world.supervisor('web1').pid()} 2>/dev/null && echo killed",
            f"{world.python} -c '{ATTACH}' {world.supervisor('web1').pid()} || echo attached",
            "echo done",
        ]
    )
    two = world.as_nobody("two", hooks={"deploy": attack}, start=f"({attack}) > $HOME/attack; {world.serve}")
    closed_on(world, two)
    world.cluster.check(two)

    assert run_hook(world).output == "done"
    assert (server(world) / "generations/two/home/attack").read_text() == "done\n"
    assert SECRET in (server(world) / "generations/one/variables.json").read_text()
    assert stat.S_IMODE(server(world).stat().st_mode) == 0o711


def test_releases_of_before_and_after_the_setting_go_back_to_each_other(world: World) -> None:
    def users() -> set[str]:
        return {status_of(pid)["Uid"].split()[1] for pid in world.ask_all("/pid").values()}

    nobody = str(pwd.getpwnam(NOBODY).pw_uid)
    epoch = lock(world)
    mount = world.root / "mounts" / "uploads"
    before = world.generation("before", folders=[mount])
    after = world.as_nobody("after", folders=[mount])
    for generation, user in ((before, "0"), (after, nobody), (before, "0"), (after, nobody)):
        deploy(world, epoch, generation)
        assert users() == {user}
    copy = replace(world.generation("before"), name="copy", copy_of="before", variables={}, runs=after.runs)
    deploy(world, epoch, replace(copy, runs=replace(before.runs, user=NOBODY)))
    assert users() == {nobody}


def test_a_hook_that_can_t_become_the_user_does_not_run(world: World) -> None:
    lock(world)
    closed_on(world, world.as_nobody("one", hooks={"deploy": f"touch {world.folder}/never"}))
    path = server(world) / "generations/one/generation.json"
    files.write(path, {**(files.read(path) or {}), "user": "no-such-user"})
    hook = run_hook(world)

    assert hook.code == 127
    assert "there is no user no-such-user here" in hook.output
    assert not (world.folder / "never").exists()


def test_a_web_process_that_can_t_become_the_user_is_not_started(world: World) -> None:
    lock(world)
    one = world.as_nobody("one")
    world.cluster.stage(1, one)
    for name in SERVERS:
        path = server(world, name) / "generations/one/generation.json"
        files.write(path, {**(files.read(path) or {}), "user": "no-such-user"})
    world.cluster.close(1, CLOSURE)
    with pytest.raises(ClusterError, match="there is no user no-such-user here"):
        world.cluster.swap(1, "one")


def test_a_hook_of_the_user_is_ended_and_its_end_is_known(world: World) -> None:
    lock(world)
    closed_on(world, world.as_nobody("one", hooks={"deploy": "echo begun; trap '' TERM; while :; do sleep 1; done"}))
    hook = run_hook(world, limit=0.5)
    assert (hook.code, hook.output.splitlines()[0]) == (None, "begun")


def test_what_the_application_writes_to_dev_stderr_is_in_its_log(world: World) -> None:
    deploy(world, lock(world), world.as_nobody("one", start=f"echo opened by its name > /dev/stderr; {world.serve}"))
    assert "opened by its name" in (server(world) / "app.log").read_text()
    assert stat.S_IMODE((server(world) / "app.log").stat().st_mode) == 0o600


def test_a_hook_of_the_user_goes_on_when_the_deploy_is_killed(world: World) -> None:
    lock(world)
    script = "id -un; touch begun; while [ ! -e go ]; do sleep 0.05; done"
    home = server(world) / "generations/one/home"
    one = world.as_nobody("one", hooks={"deploy": f'cd "$HOME"; {script}'})
    closed_on(world, one)
    deployer = os.fork()
    if deployer == 0:
        with suppress(BaseException):
            run_hook(world)
        os._exit(0)
    until((home / "begun").exists, "the hook runs")
    os.kill(deployer, signal.SIGKILL)
    os.waitpid(deployer, 0)
    with pytest.raises(HookRuns):
        world.cluster.stage(1, world.generation("two"))
    (home / "go").touch()
    found = world.again().hook_result("one", "deploy", cancelled=lambda: False)
    assert found is not None
    assert (found.code, found.output) == (0, NOBODY)


def test_a_port_that_is_root_s_alone_is_refused(world: World) -> None:
    lock(world)
    with pytest.raises(ClusterError, match=r"can't listen on port 80\d"):
        world.again(options={"gate_port": world.address[1], "first_port": 801}).stage(1, world.as_nobody("one"))


@pytest.mark.parametrize(
    "promise",
    [
        suite.test_processes_run_as_the_user_whom_the_generation_names_or_are_refused_while_it_is_staged,
        suite.test_a_dead_web_process_is_started_again_and_its_death_is_counted,
        suite.test_a_swap_starts_a_dead_web_process_of_the_current_generation,
        suite.test_the_server_s_own_folders_are_there_before_anything_starts,
        suite.test_a_copy_of_a_generation_runs_with_the_variables_that_the_servers_kept,
    ],
)
def test_the_suite_s_promises_hold_for_the_user(world: World, promise: Callable[[World], None]) -> None:
    """The ones that are about processes; the others don't depend on whose they are."""
    world.always = NOBODY
    promise(world)


def test_an_unknown_user_is_a_fault_of_the_settings(world: World) -> None:
    lock(world)
    one = world.generation("one")
    with pytest.raises(UsageError, match="there is no user no-such-user here"):
        world.cluster.stage(1, replace(one, runs=replace(one.runs, user="no-such-user")))
    assert not (server(world) / "generations").exists()


def refused(world: World, generation: Generation) -> str:
    lock(world)
    with pytest.raises(ClusterError) as refusal:
        world.cluster.stage(1, generation)
    return f"{refusal.value.message}. {refusal.value.remedy}"


def test_a_folder_on_the_way_that_the_user_can_t_enter_is_named(world: World) -> None:
    one = world.as_nobody("one")
    world.folder.parent.chmod(0o700)
    said = refused(world, one)
    assert f"can't enter {world.folder.parent}," in said
    assert f"chmod o+x {world.folder.parent}" in said


def test_a_private_folder_in_the_image_is_named(world: World) -> None:
    one = world.as_nobody("one")
    app = one.image / "app"
    app.chmod(0o755)
    (app / "private").mkdir(mode=0o700)
    manifest.freeze(app)
    assert f"can't read {app / 'private'}" in refused(world, remake(one))


def test_a_link_out_of_the_image_to_where_the_user_can_t_go_is_named(world: World) -> None:
    """As a virtual environment's Python in root's home."""
    one = world.as_nobody("one")
    place = world.folder.parent / "home-of-root"
    place.mkdir(mode=0o700)
    (place / "python").touch()
    tools = one.image / "toolchain" / "bin"
    tools.chmod(0o755)
    (tools / "python").symlink_to(place / "python")
    (tools / "nothing").symlink_to("/no/such/place")
    manifest.freeze(tools)
    assert f"can't enter {place}, on the way to {tools / 'python'}" in refused(world, remake(one))


@pytest.mark.parametrize(
    ("lacking", "refusal"),
    [
        ("kill", "can't end processes"),
        ("sys_ptrace,-perfmon,-sys_admin", "can't see here"),
        ("setuid", "can't become the user nobody"),
    ],
)
def test_root_without_its_rights_as_in_a_container_is_refused(tmp_path: Path, lacking: str, refusal: str) -> None:
    """A swap could never end the old processes, or never see them."""
    program = archive.program(archive.put(tmp_path))
    reach.refuse_unfit(NOBODY, program, reads=[], writes=[])
    with pytest.raises(HostError, match=refusal) as refused:
        reach.refuse_unfit(NOBODY, ["setpriv", f"--bounding-set=-{lacking}", *program], reads=[], writes=[])
    assert f"CAP_{lacking.partition(',')[0].upper()}" in refused.value.remedy


def test_root_changes_no_mode_in_what_it_removes(tmp_path: Path) -> None:
    """It would follow a link that the user puts there meanwhile."""
    inner = tmp_path / "home" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.chmod(0o500)
    descriptor = os.open(inner, os.O_RDONLY)
    manifest.remove(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o500
    os.close(descriptor)


def test_mounts_are_given_to_the_user_where_nobody_s_data_is_in_them(world: World) -> None:
    fresh, empty, old = (world.root / "mounts" / name for name in ("fresh/deep", "empty", "old"))
    manifest.make(empty)
    manifest.make(old)
    (old / "data").touch()
    account = pwd.getpwnam(NOBODY)
    said = refused(world, world.as_nobody("one", folders=[fresh, empty, old]))

    assert f"can't write in {old}" in said
    assert f"chown -R {NOBODY}: {old}" in said
    assert [place.stat().st_uid for place in (fresh, empty, old)] == [account.pw_uid, account.pw_uid, 0]
    shutil.chown(old, NOBODY)
    world.cluster.stage(1, world.as_nobody("one", folders=[fresh, empty, old]))


def test_root_makes_nothing_behind_a_link_of_the_user_s(world: World) -> None:
    mount, outside = world.root / "mounts" / "a", world.folder.parent / "outside"
    outside.mkdir(mode=0o755)
    manifest.make(mount)
    (mount / "b").symlink_to(outside)
    os.chown(mount, pwd.getpwnam(NOBODY).pw_uid, -1)
    assert "can't write in" in refused(world, world.as_nobody("one", folders=[mount / "b" / "c"]))
    assert list(outside.iterdir()) == []


def test_home_is_given_without_following_a_link(world: World) -> None:
    one = world.as_nobody("one")
    outside = world.folder.parent / "outside"
    outside.mkdir()
    (outside / "file").touch()
    one.image.chmod(0o755)
    left = one.image / "home" / "folder"
    left.mkdir(parents=True)
    (left / "file").touch(mode=0o600)
    (left / "link").symlink_to(outside / "file")
    (one.image / "home" / "to-folder").symlink_to(outside)
    manifest.freeze(one.image / "home")
    lock(world)
    world.cluster.stage(1, one, whole=False)
    home = server(world) / "generations/one/home"

    account = pwd.getpwnam(NOBODY)
    assert {path.lstat().st_uid for path in (home, *home.rglob("*"))} == {account.pw_uid}
    assert {path.stat().st_uid for path in (outside, outside / "file")} == {0}


def test_a_socket_s_folder_is_the_user_s_and_the_gate_reaches_it(world: World) -> None:
    lock(world)
    one = world.as_nobody("one", socket=True)
    deploy(world, 1, one)
    before = world.ask_all("/pid")
    world.end_web_process("web2")
    until(lambda: world.ask_all("/pid")["web2"] != before["web2"], "web2 serves again")
    folder = Path(world.ask_all("/env?SOCKET")["web1"]).parent
    assert folder.stat().st_uid == pwd.getpwnam(NOBODY).pw_uid


def test_processes_of_the_user_that_left_their_session_are_ended_by_the_swap(world: World) -> None:
    epoch = lock(world)
    stray = "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & "
    deploy(world, epoch, world.as_nobody("one", start=stray + world.serve))
    pid = int(world.ask_all("/pid")["web1"])
    deploy(world, epoch, world.generation("two"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    assert [state.running == state.release for state in world.cluster.state()] == [True] * 3
