"""The border to other programs: the environment that they get, and running one until its whole session has ended."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TERM_SECONDS = 2.0  # between SIGTERM and SIGKILL
_POLL = 0.02
_LONGEST_LINE = 65_536


# Git sets these variables for its own hooks (`git rev-parse --local-env-vars`). They would lead our calls of Git, which
# name their repository, to another one. GIT_CONFIG_COUNT is not among them: people set it, for credentials too.
_OF_ANOTHER_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
        *("GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"),
        *("GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE"),
        *("GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX"),
    }
)
_OURS = ("FASTLY_", "EDGEGUARD_")


def environment() -> dict[str, str]:
    """This process's environment for other programs: without edgeguard's own settings and tokens, and without the place
    of another Git repository."""
    return {name: value for name, value in outside_of_git().items() if not is_ours(name)}


def outside_of_git() -> dict[str, str]:
    """This process's environment without the place of another Git repository, for an edgeguard that a hook starts."""
    return {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}


def is_ours(name: str) -> bool:
    """Whether a variable is one of edgeguard's own: a setting or a token."""
    return name.upper().startswith(_OURS)


def forget() -> None:
    """Remove the variables that other programs don't get from this process's own environment."""
    for name in os.environ.keys() - environment().keys():
        del os.environ[name]


def apart(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], inherit: Sequence[int]) -> None:
    """Start a program that outlives this process: in a session of its own, and with none of this process's streams."""
    started = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=tuple(inherit),
    )
    started.returncode = 0  # nobody waits for it


class Ended(Exception):
    """The process was ended before its time."""


class TimedOut(Ended):
    """The process had not finished at its limit."""


class Cancelled(Ended):
    """The caller asked for the process's end."""


def answer(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    inherit: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that answers on its stdout, in a session of its own: a signal to the terminal's group is for this
    process to hear, and would look like a failure of the program. The program inherits the descriptors in `inherit`.

    Raises:
        Cancelled: `cancelled()` turned true, and the program was ended.
    """
    with subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=tuple(inherit),
    ) as process:
        try:
            while True:
                try:
                    out, errors = process.communicate(timeout=_POLL)
                except subprocess.TimeoutExpired:
                    if cancelled():
                        raise Cancelled from None
                else:
                    return subprocess.CompletedProcess(argv, process.returncode, out, errors)
        except BaseException:
            end_session(process)
            raise


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limit: float,
    cancelled: Callable[[], bool],
    output: Callable[[str], None],
    errors: Callable[[str], None] | None = None,
    inherit: Sequence[int] = (),
) -> int:
    """Run a program to its end and return its exit code (negative: the signal that ended it).

    The output of the program and its children goes to `output` line by line, errors included, unless `errors` gets
    those. At `limit` seconds, or when `cancelled()` turns true, or when `output` or `errors` raises, the
    program is ended: SIGTERM, and SIGKILL to what still runs 2 s later. When this returns or raises, no process of its
    session runs any more, also after a normal end. The program inherits the descriptors in `inherit`.

    Raises:
        TimedOut, Cancelled: the program was ended.
        UsageError: there is no such program.
    """
    with (
        _started(argv, cwd, env, inherit, apart=errors is not None) as process,
        selectors.DefaultSelector() as selector,
    ):
        pipes = [
            _Lines(pipe, to)
            for pipe, to in ((process.stdout, output), (process.stderr, errors))
            if pipe is not None and to is not None
        ]
        for lines in pipes:
            selector.register(lines.pipe, selectors.EVENT_READ, lines)
        deadline = time.monotonic() + limit
        try:
            while process.poll() is None:
                if cancelled():
                    raise Cancelled
                if time.monotonic() > deadline:
                    raise TimedOut
                for key, _ in selector.select(_POLL):
                    if not key.data.read():  # this end was closed
                        selector.unregister(key.fileobj)
        finally:
            end_session(process)
            for lines in pipes:
                while lines.read():
                    pass
                lines.close()
        return process.returncode


@contextmanager
def piped(
    argv: Sequence[str], *, env: Mapping[str, str], deadline: float, cancelled: Callable[[], bool]
) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Run a program with a pipe to it and a pipe from it, as long as the block lasts. Its errors are dropped.

    The program is killed at the block's end, at `deadline` (of the monotonic clock), and when `cancelled()` turns true,
    with the programs that it has started: one of them may hold the pipe open. The latter two end a read or a write that
    waits for the program, and the block's own error about that is replaced.

    Raises:
        TimedOut, Cancelled: the program was killed before the block had ended.
    """
    over = threading.Event()
    why: list[type[Ended]] = []
    with subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the terminal's group is this process's to hear, not the program's
    ) as process:

        def watch() -> None:
            while not over.wait(_POLL):
                if cancelled() or time.monotonic() > deadline:
                    why.append(Cancelled if cancelled() else TimedOut)
                    _kill_group(process)
                    return

        watcher = threading.Thread(target=watch, name=Path(argv[0]).name, daemon=True)
        watcher.start()
        try:
            with process.stdin as to, process.stdout as out:  # type: ignore[union-attr]  # both are pipes, as said above
                yield to, out
        except (OSError, EOFError, ValueError) as exc:
            if not why:
                raise
            raise why[0] from exc
        else:
            if why:
                raise why[0]
        finally:
            over.set()
            watcher.join()
            _kill_group(process)


def _kill_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill the leader of a process group, which nobody has waited for yet, and all others in it."""
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses if all of them have ended
        os.killpg(leader.pid, signal.SIGKILL)


@contextmanager
def _started(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], inherit: Sequence[int], *, apart: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, with its output in a pipe that is read without waiting; `apart`: its errors in another."""
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            start_new_session=True,
            pass_fds=tuple(inherit),
            umask=0o022,  # an image must not depend on the user who builds it
        )
    except FileNotFoundError as exc:
        if not cwd.is_dir():
            raise
        raise UsageError(f"{argv[0]} can't be run here: {exc.strerror}", f"Install {Path(argv[0]).name}.") from exc
    with ExitStack() as stack:
        for pipe in filter(None, (process.stdout, process.stderr)):
            os.set_blocking(stack.enter_context(pipe).fileno(), False)
        yield process


class _Lines:
    """Hands the bytes of a pipe on as lines of text. A very long line comes in pieces."""

    def __init__(self, pipe: IO[bytes], output: Callable[[str], None]) -> None:
        self.pipe = pipe
        self._output = output
        self._rest = b""

    def read(self) -> bool:
        """Take the bytes that are there now. False: there are none, or the pipe has ended."""
        try:
            said = os.read(self.pipe.fileno(), _LONGEST_LINE)
        except BlockingIOError:
            return False
        *whole, self._rest = (self._rest + said).split(b"\n")
        if len(self._rest) >= _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            self._output(line.decode(errors="replace").rstrip("\r"))
        return bool(said)

    def close(self) -> None:
        """Hand on the last line, which no newline ends."""
        if self._rest:
            self._output(self._rest.decode(errors="replace"))


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End every process of this leader's session, and reap the leader. Nothing happens when none is left."""
    _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + TERM_SECONDS
    while _alive(process) and time.monotonic() < deadline:
        time.sleep(_POLL)
    while _alive(process):
        _signal(process, signal.SIGKILL)
        time.sleep(_POLL)
    process.wait()


def _alive(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None or bool(_members(process.pid))


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    for pid in _members(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _members(session: int) -> list[int]:
    """The processes of a session that still run; zombies are not counted. A process whose first thread alone has ended
    shows as a zombie, too, but has more than one thread (proc_pid_stat(5), field 20).

    Without /proc, only the leader's own process group is found, as one negative id. Other process groups of the
    session are not found there and go on.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(session, 0)
        except (ProcessLookupError, PermissionError):
            return []
        return [-session]
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                stat = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
                fields = stat.rpartition(")")[2].split()
                state, of, threads = fields[0], int(fields[3]), int(fields[17])
                if of == session and (state not in "ZX" or threads > 1):
                    found.append(int(entry.name))
    return found
