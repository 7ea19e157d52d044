"""A hook on one server, whatever it does: how it ends, what is kept of its output, and when it counts as running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import archive
from edgeguard.cluster.host import files, generations, hook_log, hooks, processes, waiting
from edgeguard.cluster.host.errors import HOOK_RUNS, HOOK_STARTED, HOOK_UNKNOWN, HostError
from tests.cluster.host.small_disk import for_root, small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator


class Host:
    """A server's folder with one generation whose deploy hook is a line of sh."""

    def __init__(self, folder: Path, hook: str, name: str = "one") -> None:
        self.server = folder / "web1"
        self.name = name
        self.lines: list[str] = []
        self.program = archive.program(archive.put(folder / "host"))
        runs = generations.Runs(folder, ("true",), {"deploy": ("/bin/sh", "-c", hook)})
        generations.put(self.server, generations.Generation(name, "digest", folder, runs, {"PATH": os.environ["PATH"]}))

    def start(self, limit: float = 30, nonce: str = "nonce", keep: int = hooks.KEPT) -> None:
        hooks.start(self.server, hooks.Order(self.name, "deploy", {"PORT": "1"}, limit, nonce, keep), self.program)

    def wait(self) -> hooks.Result:
        found = hooks.wait(self.server, self.name, "deploy", cancelled=lambda: False, output=self.lines.append)
        assert found is not None
        return found

    def run(self, limit: float = 30, keep: int = hooks.KEPT) -> hooks.Result:
        self.start(limit, keep=keep)
        return self.wait()


@pytest.fixture(autouse=True)
def _no_process_stays(tmp_path: Path) -> Iterator[None]:
    yield
    hooks.end(tmp_path / "web1")


def _waiting(host: Host) -> set[int]:
    """The wrappers of this host that wait for an order, or got one."""
    found = set()
    for process in processes.living():
        with suppress(OSError):
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            if b"hook-waits" in words and os.fsencode(host.program[-1]) in words:
                found.add(process.pid)
    return found


def _wrapper(host: Host) -> int:
    """The wrapper that has run the hook."""
    return int((host.server / "hooks" / "one" / "deploy.lock").read_text(encoding="ascii"))


def test_a_wrapper_that_waits_runs_the_next_hook_and_no_other(tmp_path: Path) -> None:
    host = Host(tmp_path, "echo it runs; exit 3")
    waiting.make_ready(host.server, host.program)
    ready = _waiting(host)
    assert hooks.result(host.server, "one", "deploy") is None

    found = host.run()
    assert (found.code, found.output, host.lines) == (3, "it runs", ["it runs"])
    assert _wrapper(host) in ready

    hooks.forget(host.server, "one", "deploy")
    host.start(nonce="another")
    assert host.wait().code == 3
    assert _wrapper(host) not in ready


def test_a_wrapper_that_was_killed_while_it_waited_is_replaced(tmp_path: Path) -> None:
    host = Host(tmp_path, "exit 3")
    waiting.make_ready(host.server, host.program)
    (killed,) = _waiting(host)
    os.kill(killed, signal.SIGKILL)
    while killed in _waiting(host):
        time.sleep(0.01)

    assert host.run().code == 3
    assert _wrapper(host) != killed


_DIES = """
import os, signal, sys
from pathlib import Path
from edgeguard.cluster.host import waiting
waiting.make_ready(Path(sys.argv[1]), sys.argv[2:])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_wrapper_whose_caller_dies_without_an_order_ends_and_leaves_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path, f"touch {tmp_path}/it-ran")
    there = sorted(host.server.rglob("*"))
    died = subprocess.run([sys.executable, "-c", _DIES, host.server, *host.program], check=False)
    assert died.returncode == -signal.SIGKILL
    while _waiting(host):
        time.sleep(0.01)
    assert (sorted(host.server.rglob("*")), (tmp_path / "it-ran").exists()) == (there, False)


def test_both_streams_are_told_in_their_order(tmp_path: Path) -> None:
    found = Host(tmp_path, "echo one; echo two >&2; echo three; exit 7").run()

    assert (found.code, found.ended, found.output) == (7, "by itself", "one\ntwo\nthree")


def test_the_lines_come_while_the_hook_runs(tmp_path: Path) -> None:
    host = Host(tmp_path, f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo done")
    host.start()
    with pytest.raises(HostError) as runs:
        hooks.wait(host.server, "one", "deploy", cancelled=lambda: host.lines == ["begun"], output=host.lines.append)
    assert runs.value.code == HOOK_RUNS
    (tmp_path / "go").touch()

    assert host.wait().output == "begun\ndone"


def test_a_daemon_that_a_hook_leaves_behind_holds_nothing(tmp_path: Path) -> None:
    """It has the hook's output in its hand, and its parent's session is not its own."""
    found = Host(tmp_path, f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & sleep 0.2; echo done").run()
    pid = int((tmp_path / "pid").read_text())

    assert (found.code, found.output, found.strays) == (0, "done", (pid,))
    assert hooks.running(tmp_path / "web1") is None
    os.kill(pid, signal.SIGKILL)


def test_what_is_left_of_a_hook_s_session_is_ended_with_it(tmp_path: Path) -> None:
    found = Host(tmp_path, f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & sleep 0.2").run()

    assert (found.code, found.strays) == (0, ())
    assert int((tmp_path / "pid").read_text()) not in {process.pid for process in processes.living()}


def test_a_hook_that_is_deaf_to_sigterm_is_killed_at_its_limit(tmp_path: Path) -> None:
    found = Host(tmp_path, "trap '' TERM; echo deaf; while :; do sleep 0.1; done").run(limit=0.3)

    assert (found.code, found.ended) == (None, "at its limit")
    assert found.output.splitlines()[0] == "deaf"  # a shell may tell of the kill of its `sleep` after that


def test_a_hook_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    assert Host(tmp_path, "exec >&- 2>&-; sleep 0.2; exit 4").run().code == 4


def test_a_hook_that_kills_its_wrapper_runs_until_its_session_is_empty_and_has_no_known_end(tmp_path: Path) -> None:
    host = Host(tmp_path, f"kill -9 $PPID; touch {tmp_path}/killed; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done")
    host.start()
    while not (tmp_path / "killed").exists():
        time.sleep(0.01)
    assert hooks.running(host.server) == "one"
    with pytest.raises(HostError) as runs:
        hooks.refuse_while_one_runs(host.server)
    assert runs.value.code == HOOK_RUNS
    (tmp_path / "go").touch()
    with pytest.raises(HostError) as unknown:
        host.wait()

    assert unknown.value.code == HOOK_UNKNOWN
    assert hooks.running(host.server) is None


def test_a_command_that_can_t_be_run_says_why(tmp_path: Path) -> None:
    host = Host(tmp_path, "true")
    path = host.server / "generations" / "one" / "generation.json"
    said = files.read(path)
    assert said is not None
    files.write(path, {**said, "hooks": {"deploy": ["/no/such/program"]}})
    found = host.run()

    assert (found.code, found.output) == (127, "/no/such/program: No such file or directory")


def test_the_first_and_the_last_of_much_output_are_kept_and_the_gap_is_named(tmp_path: Path) -> None:
    """100 MB, in lines of their numbers."""
    host = Host(tmp_path, "seq 1 12700000; echo end; exit 1")
    found = host.run()
    log = found.log.read_bytes()

    assert log.startswith(b"1\n2\n3\n")
    assert log.endswith(b"12700000\nend\n")
    assert hook_log.HEAD + hook_log.TAIL < len(log) < hook_log.HEAD + hook_log.TAIL + 100
    assert b"[edgeguard left out " in log
    assert found.output.splitlines()[-2:] == ["12700000", "end"]
    assert (host.lines[0], host.lines[-1]) == ("1", "end")
    assert sorted(path.name for path in found.log.parent.iterdir()) == ["deploy.json", "deploy.lock", "deploy.log"]
    assert found.log.stat().st_mode & 0o777 == 0o600


def test_a_long_line_in_the_end_is_shown_in_part(tmp_path: Path) -> None:
    found = Host(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x").run()

    assert len(found.output) <= hooks.SHOWN


def test_the_same_order_twice_is_one_hook_and_another_order_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path, f"echo run >> {tmp_path}/runs; sleep 0.3")
    host.start()
    host.start()
    with pytest.raises(HostError) as refused:
        host.start(nonce="another")
    assert refused.value.code == HOOK_RUNS
    host.wait()
    with pytest.raises(HostError) as started:
        hooks.refuse_second(host.server, "one", "deploy")

    assert started.value.code == HOOK_STARTED
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_program_that_can_t_be_started_leaves_no_claim(tmp_path: Path) -> None:
    host = Host(tmp_path, "true")
    with pytest.raises(HostError, match="could not be started"):
        hooks.start(host.server, hooks.Order("one", "deploy", {}, 5, "nonce"), ["/bin/false"])

    assert hooks.result(host.server, "one", "deploy") is None
    assert host.run().code == 0


def test_the_hooks_of_the_last_deploys_are_remembered(tmp_path: Path) -> None:
    for number in range(7):
        host = Host(tmp_path, "true", name=f"d{number}")
        host.run(keep=5)
        os.utime(hooks.ledger(host.server, f"d{number}", "deploy").parent, (number, number))
    kept = {path.name for path in (tmp_path / "web1" / "hooks").iterdir()}

    assert kept == {f"d{number}" for number in range(2, 7)}


def test_a_ledger_of_an_older_edgeguard_is_believed(tmp_path: Path) -> None:
    host = Host(tmp_path, "true")
    older = host.server / "generations" / "one" / "hook-deploy.json"
    older.with_suffix(".log").write_text("from before\n")
    files.write(older, {"done": True, "server": "web1", "code": 5, "ended": "by itself", "seconds": 1.5})

    found = hooks.result(host.server, "one", "deploy")
    assert found is not None
    assert (found.code, found.output, found.seconds) == (5, "from before", 1.5)
    with pytest.raises(HostError) as started:
        hooks.refuse_second(host.server, "one", "deploy")
    assert started.value.code == HOOK_STARTED


@pytest.mark.parametrize("size", [0, 5, hook_log.HEAD, hook_log.HEAD + 3, hook_log.HEAD + hook_log.TAIL, 30_000_000])
def test_an_offset_means_the_same_before_and_after_the_end(tmp_path: Path, size: int) -> None:
    said = (b"%07d\n" % (number % 10_000_000) for number in range(size // 8 + 1))
    content = b"".join(said)[:size]
    path = tmp_path / "deploy.log"
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with hook_log.Writer(path) as log:
        for begin in range(0, size, 30_000):
            os.write(writer, content[begin : begin + 30_000])
            log.take(reader)
        during = _all_from(path, None)
        written = log.close()
    after = _all_from(path, written)

    assert written == size
    for begin, piece in (*during, *after):
        assert content[begin : begin + len(piece)] == piece
    assert sum(len(piece) for _, piece in after) == min(size, hook_log.HEAD + hook_log.TAIL)
    with suppress(OSError):
        os.close(reader)
        os.close(writer)


def _all_from(path: Path, written: int | None) -> list[tuple[int, bytes]]:
    """The pieces that a reader gets who begins at 0, each with its offset."""
    pieces, offset = [], 0
    while (part := hook_log.read(path, offset, written=written)).content:
        pieces.append((part.next - len(part.content), part.content))
        offset = part.next
    return pieces


@for_root
def test_a_hook_that_fills_the_disk_runs_to_its_end_and_that_is_known(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as root:
        lines = "i=0; while [ $i -lt 5000 ]; do echo a line of the hook; i=$((i+1)); done"
        host = Host(root, f"cat /dev/zero > {root}/filler; {lines}; exit 7")
        found = host.run()
        assert (found.code, found.ended) == (7, "by itself")
        assert hooks.running(host.server) is None
