"""`edgeguard` as a process to which something happens at a chosen moment: `python -m tests.crash.mortal …`.

    [--at N] [--does ACT] [--acts FILE] [--api PORT] [--root FOLDER] [--break NAME] -- ARGUMENTS OF EDGEGUARD

Its acts on the outside are counted, by the interpreter's own audit events, and around the calls that have none. The
acts are making, renaming and removing files, starting and signalling processes, ordering a hook, writing bytes to
files, fsync, requests to the edge's API, and the end of the process. The moment of an act is before it, and after the
previous act. A write of bytes also has a moment in its midst (half a line in the journal). A request to the API has two
more: when half of it is sent, and when the answer is there but unread.

At moment N the act is done. N is a number, or PHASE|BEGINNING OF THE ACT|WHICH OF THESE. The acts are:

    KILL, STOP, INT, TERM HUP, …   the whole process group gets this signal; and at each moment that follows, the next
    gate, host, …                  processes of the cluster in FOLDER are killed (kinds.FELLED), and this one goes on

edgeguard's code does not know of this. Threads that only renew are not counted, so that a moment is the same in every
run. They die with the process.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tests.crash import broken
from tests.crash.felled import fell
from tests.crash.kinds import FELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_AUDITED = ("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.kill", "os.killpg")
_DEPLOY = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_TURN = threading.RLock()
_BEGIN = re.compile(rb'"event":"(begin|undoing|committed|end)"(?:.*?"step":"([a-z-]+)")?')


class Moments:
    """Counts moments, writes them down, and lets something happen at one of them."""

    def __init__(
        self, at: str, happens: Sequence[Callable[[], None]], acts: Path | None, api: int, *, halves: bool
    ) -> None:
        """`happens`: the act of the moment `at`, and those of the moments that follow. `halves`: at a moment in the
        midst of an act, half of that is done; only for a process that will not do the whole of it afterwards."""
        self._at = int(at) if at.isdigit() else 0
        self._phase_at, self._act_at, which = ("", "", "0") if at.isdigit() else at.split("|")
        self._left = int(which)
        self._happens = list(happens)
        self._halves = halves
        self._began = False
        self._acts = None if acts is None else os.open(acts, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._api = api
        self._mutex = threading.Lock()
        self._count = 0
        self._phase = "start"
        self._write, self._exit = os.write, os._exit
        self._inside = threading.local()

    def moment(self, act: str, half: Callable[[], object] = lambda: None) -> None:
        """One moment. `half` does the half of an act that is done if something happens now."""
        if threading.current_thread().name.startswith("renew") or getattr(self._inside, "now", False):
            return
        with self._mutex:
            act = _DEPLOY.sub("DEPLOY", act)
            self._count += 1
            now = bool(self._happens) and (self._began or self._is_it(act))
            if self._acts is not None:
                mark = f"\t{time.time()}" if now and not self._began else ""
                self._write(self._acts, f"{self._count}\t{self._phase}\t{act}{mark}\n".encode())
            if now:
                self._began = self._inside.now = True
                try:
                    if self._halves:
                        half()
                    # Who writes in the journal holds no server's lock, and a renewal that does is waited for.
                    with _TURN if act.startswith("write ") else nullcontext():
                        self._happens.pop(0)()
                finally:  # a signal's handler may raise
                    self._inside.now = False

    def _is_it(self, act: str) -> bool:
        if self._phase == self._phase_at and act.startswith(self._act_at):
            self._left -= 1
            return self._left == 0
        return self._count == self._at

    def exit(self, code: int) -> NoReturn:
        """As os._exit."""
        self.moment("exit")
        self._exit(code)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | os.PathLike) and flags & _WRITES and not str(path).endswith(("/lock", "/null")):
                self.moment(f"open {_named(path)}")
        elif event == "os.mkdir" and os.path.lexists(arguments[0]):  # nothing will be made
            return
        elif event in _AUDITED:
            self.moment(f"{event.removeprefix('os.')} {' '.join(_named(each) for each in arguments[:2])}")
        elif event == "subprocess.Popen":
            self.moment(f"start {' '.join(_named(word) for word in arguments[1][:4])}")
        elif event == "socket.sendmsg" and arguments[0].family == socket.AF_UNIX:
            self.moment("order a hook")

    def write(self, descriptor: int, content: bytes) -> int:
        """As os.write."""
        if found := _BEGIN.search(content):
            self._phase = b" ".join(part for part in found.groups() if part).decode().removeprefix("begin ")
        self.moment(f"write {len(content)} bytes")
        self.moment("write half of them", lambda: self._write(descriptor, content[: len(content) // 2]))
        return self._write(descriptor, content)

    def sendall(self, sock: socket.socket, content: bytes, *flags: int) -> None:
        """As socket.sendall."""
        send = super(socket.socket, sock).sendall
        if not self._to_the_api(sock):
            send(content, *flags)
            return
        line = bytes(content).split(b"\r\n", 1)[0][:60].decode(errors="replace")
        self.moment(f"ask {line}")
        self.moment(f"ask half of {line}", lambda: send(content[: len(content) // 2]))
        send(content, *flags)

    def recv_into(self, sock: socket.socket, *arguments: Any) -> int:  # noqa: ANN401 (its own)
        """As socket.recv_into."""
        if self._to_the_api(sock):
            self.moment("answer unread", lambda: select.select([sock], [], [], 5))
        return super(socket.socket, sock).recv_into(*arguments)

    def watch(self) -> None:
        """From here on."""
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            self.moment("fsync")
            fsync(descriptor)

        os.write, os.fsync, os._exit = self.write, watched, self.exit  # type: ignore[assignment]
        socket.socket.sendall = lambda sock, *said: self.sendall(sock, *said)  # type: ignore[method-assign]  # noqa: PLW0108 (the class has to bind it)
        socket.socket.recv_into = lambda sock, *said: self.recv_into(sock, *said)  # type: ignore[method-assign]  # noqa: PLW0108 (as above)
        sys.addaudithook(self.audit)

    def _to_the_api(self, sock: socket.socket) -> bool:
        with suppress(OSError):
            return bool(sock.getpeername()[1] == self._api)
        return False


def _queue_for_locks() -> None:
    """One thread of this process at a time wants or holds servers' locks."""
    from edgeguard.cluster.host import fence  # noqa: PLC0415 (what it imports is imported before it is watched)

    locked = fence.locked

    @contextmanager
    def in_turn(*arguments: Any, **more: Any) -> Iterator[None]:  # noqa: ANN401 (its own)
        with _TURN, locked(*arguments, **more):
            yield

    fence.locked = in_turn


def _named(argument: object) -> str:
    """The name of an act's object: the end of a path, or a word."""
    return (
        "/".join(str(argument).rsplit("/", 3)[-2:])[-60:] if isinstance(argument, str | os.PathLike) else str(argument)
    )


def _acts(does: str, root: Path) -> list[Callable[[], None]]:
    """An act, as the options say it."""
    if does in FELLED:
        return [partial(fell, root, does)]
    return [partial(os.killpg, os.getpgrp(), signal.Signals[f"SIG{name}"]) for name in does.split()]


def main() -> None:
    """Run the command, and let happen to it whatever was asked for."""
    split = sys.argv.index("--")
    own, arguments = sys.argv[1:split], sys.argv[split + 1 :]
    parser = argparse.ArgumentParser()
    parser.add_argument("--at", default="0")
    parser.add_argument("--does", default="KILL")
    parser.add_argument("--acts", type=Path)
    parser.add_argument("--api", type=int, default=0)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--break", dest="broken", choices=sorted(broken.WAYS))
    said = parser.parse_args(own)
    from edgeguard import cli  # noqa: F401, PLC0415 (what it imports is imported before it is watched)
    from edgeguard.__main__ import main as run  # noqa: PLC0415 (as above)

    if said.broken:
        broken.WAYS[said.broken]()
    if said.does == "STOP":
        _queue_for_locks()
    dies = said.does in {"KILL", "STOP"}
    Moments(said.at, _acts(said.does, said.root), said.acts, said.api, halves=dies).watch()
    sys.argv = ["edgeguard", *arguments]
    run()


if __name__ == "__main__":
    main()
