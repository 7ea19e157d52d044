"""The driver `local` beyond the contract: its processes, its files, and what survives when something is killed."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import load
from edgeguard.cluster.errors import on
from edgeguard.cluster.host import fence, files, manifest, output, processes
from edgeguard.cluster.local import LocalCluster
from edgeguard.errors import ClusterError, UsageError
from edgeguard.settings import ClusterSettings
from edgeguard.testing.acts import CLOSURE, deploy, lock
from edgeguard.testing.local import World
from edgeguard.testing.world import SERVERS, ask, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World("local", tmp_path / "root") as world:
        yield world


def server(world: World, name: str = "web1") -> Path:
    return world.root / "servers" / name


def supervisor_pid(world: World, name: str = "web1") -> int:
    pid = world.supervisor(name).pid()
    assert pid is not None
    return pid


def running(world: World, name: str = "web1") -> dict[int, Path | None]:
    return processes.running(server(world, name))


def test_home_is_the_server_s_own_and_begins_with_what_the_build_left(world: World) -> None:
    """The application and the hook write there, and the image stays as it was."""
    write = 'cat "$HOME/.cache/left" >> "$HOME/written"'
    one = world.generation("one", start=f"{write}; {world.serve}", hooks={"deploy": f"{write}; cat $HOME/written"})
    left = one.image / "home/.cache/left"
    one.image.chmod(0o755)
    left.parent.mkdir(parents=True)
    left.write_text("by the build\n")
    os.mkfifo(one.image / "home/pipe")
    manifest.freeze(one.image / "home")
    before = manifest.take(one.image, ("app", "home"))
    lock(world)
    world.cluster.stage(1, one, whole=False)
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, "one")
    world.cluster.check(one)
    world.cluster.stage(1, one, whole=False)  # again: what was written stays
    hook = world.cluster.run_hook(1, "deploy", "web1", limit=60, cancelled=lambda: False)
    world.cluster.open(1, "one")

    assert (hook.code, hook.output.count("by the build")) == (0, 2)
    assert len(set(world.ask_all("/env?HOME").values())) == len(SERVERS)
    assert stat.S_IMODE((server(world) / "generations/one/home").stat().st_mode) == 0o700
    assert manifest.take(one.image, ("app", "home")) == before
    world.cluster.close(1, CLOSURE)
    world.cluster.swap(1, None)
    world.cluster.prune(1, ())
    assert list((server(world) / "generations").iterdir()) == []


def test_driver_is_found_by_its_name() -> None:
    assert load("local") is LocalCluster
    with pytest.raises(UsageError, match="no driver 'nonesuch'"):
        load("nonesuch")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"cluster\.options\.gate_port"),
        ({"gate_port": 0}, r"cluster\.options\.gate_port"),
        ({"gate_port": 8080, "gateport": 1}, r"cluster\.options\.gateport: unknown key"),
    ],
)
def test_options_that_can_t_be_used_are_named_with_their_path(
    tmp_path: Path, options: dict[str, int], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        LocalCluster("test", ClusterSettings(root=tmp_path, options=options))


SLEEPER = """
import os, signal, sys
from pathlib import Path
from edgeguard.cluster.host import fence
with fence.fenced(Path(sys.argv[1]), fence.Caller(1)):
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.skipif(not processes.VISIBLE, reason="only Linux tells who holds a file's lock")
def test_who_sleeps_in_the_midst_of_an_act_keeps_nobody_out_for_good(world: World) -> None:
    world.cluster.write_record(1, {"version": 1, "lock": {"holder": "who sleeps"}}, expected=0)
    sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER, str(server(world, "web2"))])
    try:
        os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
        world.again().write_record(2, {"version": 1}, expected=1)
        assert sleeper.wait(5) == -signal.SIGKILL
    finally:
        sleeper.kill()
        sleeper.wait()
    assert [record["epoch"] for record in world.cluster.read_record().values() if record] == [2, 2, 2]


def test_looking_writes_nothing_and_starts_nothing(world: World) -> None:
    world.cluster.state()
    world.cluster.read_record()
    assert not world.root.exists()


def listening(ports: Iterable[int]) -> list[str]:
    """Which server answers on each of these ports."""
    return [ask(("127.0.0.1", port))[1]["x-server"] for port in ports]


def test_ports_may_be_named(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    assert listening(range(world.first_port, world.first_port + 3)) == list(SERVERS)


def test_ports_that_are_not_named_are_chosen_once_and_kept(world: World) -> None:
    lock(world)
    cluster = world.again(options={"gate_port": world.address[1]})
    deploy(world, 1, world.generation("one"), cluster)
    chosen = [json.loads((server(world, name) / "port.json").read_text(encoding="utf-8"))["port"] for name in SERVERS]
    assert listening(chosen) == list(SERVERS)
    deploy(world, 1, world.generation("two"), world.again(options={"gate_port": world.address[1]}))
    assert listening(chosen) == list(SERVERS)


def test_a_gate_port_in_use_is_named(world: World) -> None:
    lock(world)
    stranger, said = socket.create_server(("127.0.0.1", world.address[1])), f"port {world.address[1]} is in use"
    with stranger, pytest.raises(ClusterError, match=said):
        world.cluster.stage(1, world.generation("one"))
    assert world.gate.pid() is None  # no process is left that can't do its work
    world.cluster.close(1, CLOSURE)
    assert world.ask()[0] == 500


def test_a_server_port_in_use_is_named(world: World) -> None:
    lock(world)
    world.cluster.stage(1, world.generation("one"))
    port = world.first_port + 1
    stranger, said = socket.create_server(("127.0.0.1", port)), f"web2: port {port} is in use"
    with stranger, pytest.raises(ClusterError, match=said):
        world.cluster.swap(1, "one")
    world.cluster.swap(1, "one")
    world.cluster.check(world.generation("one"))


# Files


def test_variables_can_be_read_by_their_owner_alone(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one", variables={"PASSWORD": "sesame"}))
    for path in world.root.rglob("*"):
        if path.is_file() and b"sesame" in path.read_bytes():
            assert path.name == "variables.json"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((server(world) / "app.log").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", '{"epoch": 1', "[]", "null"])
def test_a_torn_record_is_named(world: World, content: str) -> None:
    lock(world)
    path = server(world, "web2") / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ClusterError, match=str(path)):
        world.cluster.read_record()
    with pytest.raises(ClusterError, match=str(path)):
        world.cluster.close(1, CLOSURE)


def test_a_link_that_a_crash_left_is_replaced(world: World) -> None:
    lock(world)
    world.cluster.stage(1, world.generation("one"))
    (server(world) / "current.next").symlink_to("generations/never-staged")
    deploy(world, 1, world.generation("one"))


def test_what_a_crash_left_half_staged_is_staged_again(world: World) -> None:
    lock(world)
    half = server(world) / "generations" / ".one.tmp"
    half.mkdir(parents=True)
    (half / "image").symlink_to("/nonexistent")
    deploy(world, 1, world.generation("one"))


def test_a_current_generation_can_t_be_staged_with_another_content(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    with pytest.raises(ClusterError, match="current"):
        world.cluster.stage(1, world.generation("one", variables={"GREETING": "hello"}))


def test_an_image_that_is_not_the_release_is_not_staged(world: World, tmp_path: Path) -> None:
    lock(world)
    one = world.generation("one")
    with pytest.raises(ClusterError, match="holds the release"):
        world.cluster.stage(1, replace(one, release="another"))
    with pytest.raises(ClusterError, match="no finished image"):
        world.cluster.stage(1, replace(one, image=tmp_path))


def test_a_host_s_lock_that_another_holds_is_waited_for(world: World) -> None:
    lock(world)
    with fence.locked(server(world, "web2")):
        thread = threading.Thread(target=world.cluster.stop_tasks, args=(1,))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(5)
    assert not thread.is_alive()


# Processes


def test_servers_outlive_the_command_in_sessions_of_their_own(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    sessions = {os.getsid(supervisor_pid(world, name)) for name in SERVERS}
    assert len(sessions) == 3
    assert os.getsid(0) not in sessions


@pytest.mark.skipif(not processes.VISIBLE, reason="only /proc shows processes that left their group")
def test_a_swap_leaves_nothing_of_the_old_release(world: World, tmp_path: Path) -> None:
    """Neither what ignores SIGTERM, nor what made a session of its own, nor what emptied its environment."""
    lock(world)
    strays = [
        f"(trap '' TERM; touch {tmp_path}/$EDGEGUARD_SERVER.1; while :; do sleep 0.1; done) &",
        f"setsid sh -c 'touch {tmp_path}/$EDGEGUARD_SERVER.2; sleep 100' &",
        f"(env -i setsid sh -c 'echo $$ > {tmp_path}/'$EDGEGUARD_SERVER'.3; exec sleep 101' &);",
    ]
    one = world.generation("one", start=" ".join([*strays, f"{world.serve}"]))
    deploy(world, 1, one)
    until(lambda: len(list(tmp_path.glob("web?.?"))) == 9, "the strays run")
    orphan = tmp_path / "web1.3"
    until(lambda: orphan.read_text(encoding="ascii").endswith("\n"), "it said its number")
    old = {*running(world), int(orphan.read_text(encoding="ascii"))}
    assert len(old) >= 5
    world.cluster.close(1, CLOSURE)
    two = world.generation("two")
    world.cluster.stage(1, two)
    world.cluster.swap(1, "two")
    assert not old & set(running(world))
    assert not [pid for pid in old if Path(f"/proc/{pid}").exists()]
    world.cluster.check(two)


@pytest.mark.skipif(not processes.VISIBLE, reason="only /proc shows whose processes these are")
def test_check_and_open_notice_a_process_of_another_release(world: World) -> None:
    lock(world)
    one, two = world.generation("one"), world.generation("two")
    deploy(world, 1, one)
    world.cluster.stage(1, two)
    stray = {processes.MARK: str(server(world, "web3") / "generations" / "two")}
    with subprocess.Popen(["sleep", "60"], env={**os.environ, **stray}) as process:
        try:
            # Popen returns as soon as exec has closed a pipe; the kernel shows the new environment a moment later.
            environment = Path("/proc", str(process.pid), "environ")
            until(lambda: processes.MARK in environment.read_text(encoding="utf-8"), "its environment shows")
            with pytest.raises(ClusterError, match=r"web3.*two"):
                world.cluster.check(one)
            with pytest.raises(ClusterError, match="web3"):
                world.cluster.open(1, "one")
        finally:
            process.kill()
    world.cluster.check(one)


IN_A_NAMESPACE = """
import json, os, subprocess, sys, time
from pathlib import Path
from edgeguard.cluster.host import processes

marked = {**os.environ, processes.MARK: f"{sys.argv[1]}/generations/one"}
with subprocess.Popen(["sleep", "60"], env=marked) as process:
    while processes.MARK not in Path("/proc", str(process.pid), "environ").read_text():
        time.sleep(0.01)
    found = processes.running(Path(sys.argv[1]))
    print(json.dumps({"session": os.getsid(0), "only": list(found) == [process.pid]}))
    process.kill()
"""


@pytest.mark.skipif(not processes.VISIBLE, reason="only Linux has PID namespaces")
def test_a_session_that_began_outside_the_namespace_neither_hides_a_process_nor_draws_others_in(tmp_path: Path) -> None:
    """As in a container that is entered from outside: its processes' session is 0 there."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--map-root-user", sys.executable, "-c", IN_A_NAMESPACE]
    ran = subprocess.run([*inside, tmp_path], capture_output=True, text=True, check=False)
    if ran.stderr.startswith("unshare:"):
        pytest.skip(f"this machine gives no PID namespace: {ran.stderr.strip()}")
    assert json.loads(ran.stdout) == {"session": 0, "only": True}, ran.stderr


def test_a_killed_supervisor_s_application_serves_on_until_the_next_call(world: World) -> None:
    lock(world)
    one = world.generation("one")
    deploy(world, 1, one)
    before = set(running(world))
    os.kill(supervisor_pid(world), signal.SIGKILL)
    until(lambda: world.supervisor("web1").pid() is None, "it is dead")
    assert {world.ask()[0] for _ in range(6)} == {200}
    assert [state.running for state in world.cluster.state()] == [one.release] * 3
    world.cluster.stage(1, one)
    world.cluster.check(one)
    assert not before & set(running(world))
    assert {world.ask()[0] for _ in range(6)} == {200}


def test_a_swap_ends_what_a_killed_supervisor_left(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    world.cluster.close(1, CLOSURE)
    before = set(running(world))
    os.kill(supervisor_pid(world), signal.SIGKILL)
    two = world.generation("two")
    world.cluster.stage(1, two)
    os.kill(supervisor_pid(world), signal.SIGKILL)
    world.cluster.swap(1, "two")
    world.cluster.check(two)
    world.cluster.open(1, "two")
    assert not before & set(running(world))
    assert {world.ask()[2] for _ in range(6)} == {"two"}


def test_nothing_stays_nothing_when_a_killed_supervisor_left_something(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    world.cluster.close(1, CLOSURE)
    os.kill(supervisor_pid(world), signal.SIGKILL)
    world.cluster.swap(1, None)
    assert not any(running(world, name) for name in SERVERS)


def test_a_killed_application_is_started_again(world: World) -> None:
    lock(world)
    one = world.generation("one")
    deploy(world, 1, one)
    for pid in running(world):
        os.kill(pid, signal.SIGKILL)
    until(lambda: bool(running(world)), "it was started again")
    world.cluster.check(one)


def test_everything_killed_and_deployed_again(world: World) -> None:
    """As after a restart of the machine: the files are there, no process is."""
    lock(world)
    one = world.generation("one")
    deploy(world, 1, one)
    world.end()
    assert [(state.generation, state.running, state.open) for state in world.cluster.state()] == [
        ("one", None, False)
    ] * 3
    assert not any(running(world, name) for name in SERVERS)
    deploy(world, 1, one)
    assert world.ask()[2] == "one"


def test_a_process_id_that_was_reused_is_not_signalled(world: World) -> None:
    """Nobody holds the lock of a dead daemon, so the number in its file counts for nothing."""
    lock(world)
    deploy(world, 1, world.generation("one"))
    world.end()
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            for path in world.root.rglob("daemon.lock"):
                path.write_text(str(bystander.pid), encoding="ascii")
            deploy(world, 1, world.generation("one"))
            world.end()
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_the_application_s_log_is_bounded(world: World) -> None:
    lock(world)
    start = f"head -c {output.LOG_BYTES * 3} /dev/zero | tr '\\0' x; echo the end; {world.serve}"
    deploy(world, 1, world.generation("one", start=start))
    log = server(world) / "app.log"
    until(lambda: log.stat().st_size <= output.LOG_BYTES, "it was trimmed")
    before = log.with_name("app.log.1")
    assert before.stat().st_size <= output.LOG_BYTES
    assert (before.read_bytes() + log.read_bytes()).rstrip().endswith((b"the end", b"listening"))


@pytest.mark.parametrize(
    ("start", "trouble", "first"),
    [("exit 4", "the start command ended with code 4, 3 times", 11), ("sleep 60", "not healthy after 0.5 s", 11)],
)
def test_a_failed_start_shows_the_end_of_its_own_output_and_of_one_server(
    world: World, start: str, trouble: str, first: int
) -> None:
    """Not that of the release before, whose log is the same file."""
    lock(world)
    before = world.generation("one", start=f"echo started by the release before; {world.serve}")
    deploy(world, 1, before)
    cluster = world.again(start_timeout=0.5 if start == "sleep 60" else 10)
    fails = world.generation("two", start=f'for i in $(seq 20); do echo "$EDGEGUARD_SERVER says $i"; done; {start}')
    with pytest.raises(ClusterError) as failed:
        deploy(world, 1, fails, cluster)
    line, *rest = failed.value.message.splitlines()
    assert line.startswith("web1, web2, web3: ")
    assert trouble in line
    assert rest == ["  web1 wrote:", *(f"  | web1 says {number}" for number in range(first, 21))]
    assert failed.value.remedy.endswith("web1/app.log.")


def test_servers_that_fail_otherwise_are_named_by_themselves(world: World) -> None:
    lock(world)
    fails = world.generation("one", start="echo no licence; if [ $EDGEGUARD_SERVER = web2 ]; then exit 5; fi; exit 4")
    said = (
        "web1, web3: the start command ended with code 4, 3 times; web2: the start command ended with code 5, 3 times"
    )
    with pytest.raises(ClusterError) as failed:
        deploy(world, 1, fails)
    assert failed.value.message.splitlines() == [said, "  web1 wrote:", "  | no licence"]


def test_a_start_that_floods_the_log_still_shows_its_end(world: World) -> None:
    lock(world)
    flood = f"head -c {output.LOG_BYTES * 2} /dev/zero | tr '\\0' x"
    with pytest.raises(ClusterError, match=r"wrote:\n  \| no licence$"):
        deploy(world, 1, world.generation("one", start=f"{flood}; echo; echo no licence; exit 4"))


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("later", ["", "written later\n"])
def test_a_start_s_part_of_the_log_stays_what_it_is_when_the_log_is_trimmed(
    tmp_path: Path, later: str, *, trimmed: bool
) -> None:
    path = tmp_path / "app.log"
    path.write_text("x" * (output.LOG_BYTES - 5) + "\n")
    log = output.Output(path)
    with log.begin() as descriptor:
        os.write(descriptor, b"first\n")
        if trimmed:
            log.trim()
            assert path.stat().st_size == 0
        os.write(descriptor, b"second\n")
    assert output.said(path, log.part) == "first\nsecond"
    log.end()
    with log.begin() as descriptor:
        os.write(descriptor, later.encode())
        log.trim()
    assert output.said(path, log.part) == "first\nsecond"


def test_the_end_of_a_log_does_not_begin_in_the_midst_of_a_word(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content, shown in (
        ("one line\nand another\n", "and another"),
        (f"{'secret' * 10} 45678", "45678"),
        ("secret" * 10, ""),
        ("4567890123", "4567890123"),
        ("", ""),
    ):
        path.write_text(content)
        assert files.tail(path, 15) == shown
    assert files.tail(tmp_path / "nothing") == ""


def test_the_processes_that_stay_import_nothing_heavy() -> None:
    for program in ("local.supervisor", "local.gate", "host.wrapper"):
        said = subprocess.run(
            [sys.executable, "-c", f"import sys, edgeguard.cluster.{program}; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert not {"pydantic", "httpx", "yaml", "typer", "fastly"} & set(said.stdout.split())


def test_nothing_is_left_after_dismantling(world: World) -> None:
    lock(world)
    deploy(world, 1, world.generation("one"))
    world.end()
    world.end()
    for name in SERVERS:
        assert not running(world, name)
        assert world.supervisor(name).pid() is None
    with pytest.raises(OSError, match="refused"):
        world.ask()


LEADERLESS = """
import ctypes, http.server, os, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page)
threading.Thread(target=server.serve_forever).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""A program whose first thread ends while another one serves. Linux shows its process as a zombie."""


@pytest.mark.skipif(not processes.VISIBLE, reason="only Linux shows processes in /proc")
def test_a_process_whose_first_thread_has_ended_runs_and_is_ended_by_a_swap(world: World) -> None:
    """Also where its supervisor was killed, so that nobody is its parent."""
    lock(world)
    one = world.generation("one", start=f"exec {world.python} -I -S -c {shlex.quote(LEADERLESS)}")
    deploy(world, 1, one)
    assert [state.running for state in world.cluster.state()] == [one.release] * 3
    os.kill(supervisor_pid(world), signal.SIGKILL)
    until(lambda: world.supervisor("web1").pid() is None, "it is dead")
    two = world.generation("two")
    deploy(world, 1, two)
    assert [state.running for state in world.cluster.state()] == [two.release] * 3


def _gone(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("a-disk-that-is-not-mounted")


def _a_file(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("in the way")


@pytest.mark.parametrize("lose", [_gone, _a_file])
def test_every_act_names_a_server_whose_folder_is_lost_and_says_what_to_do(
    world: World, lose: Callable[[Path], None]
) -> None:
    lock(world)
    one = world.generation("one", hooks={"deploy": "true"})
    deploy(world, 1, one)
    folder = server(world, "web2")
    lose(folder)
    cluster = world.cluster
    acts: list[Callable[[], object]] = [
        lambda: cluster.write_record(1, {"version": 1}),
        lambda: cluster.stage(1, one),
        lambda: cluster.close(1, CLOSURE),
        lambda: cluster.drain(1, 1),
        lambda: cluster.swap(1, "one"),
        lambda: cluster.check(one),
        lambda: cluster.run_hook(1, "deploy", "web1", limit=9, cancelled=lambda: True),
        lambda: cluster.open(1, "one"),
        lambda: cluster.prune(1, ()),
        cluster.read_record,
        cluster.state,
    ]
    told = []
    try:
        for act in acts:
            try:
                act()
            except ClusterError as exc:
                told.append((exc.server, str(exc).startswith("web2: "), bool(exc.remedy)))
    finally:
        folder.unlink()
        folder.with_name("elsewhere").rename(folder)
    assert len(told) >= 8
    assert set(told) == {("web2", True, True)}


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE])
def test_an_error_of_a_server_s_system_names_the_server_and_a_remedy(number: int) -> None:
    with pytest.raises(ClusterError, match=r"^web2: /srv/record\.json: ") as raised, on("web2"):
        raise OSError(number, os.strerror(number), "/srv/record.json")
    assert (raised.value.server, raised.value.exit_code) == ("web2", 6)
    assert raised.value.remedy
