"""People's logins on this server, over its own sshd.

`authorized_keys` of a generation has the people who may log in while it is current. sshd reads that of the current one
(sshd.py), so a swap changes at one moment who may log in. Each key leads to `login` below, as the application's user,
which becomes that user's shell. Every process of a login carries EDGEGUARD_LOGIN, `FOLDER/logins/NAME/KEY`, in its
environment: its owner, and which key let them in.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files, processes
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

MARK = "EDGEGUARD_LOGIN"
"""In the environment of a login's processes: whose it is, and by which key."""
_KEYS = "authorized_keys"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_WORDS = re.compile(r"[ -!#-~\u00a1-\U0010ffff]+")  # no quotation mark, and no other line
_LINE = re.compile(rf'restrict,pty,command="/usr/bin/env {MARK}=(\S+/logins/(\S+)/([0-9a-f]+)) [^"]*" (\S.*)')
_READABLE = 0o644
_PATIENCE = 10.0
_POLL = 0.005
_SSHD = ("ssh.service", "sshd.service")


@dataclass(frozen=True)
class Way:
    """A key by which somebody may log in: the mark of such a login, its owner, and the key's line."""

    mark: str
    name: str
    key: str


def keys(folder: Path, people: Mapping[str, Sequence[str]]) -> str:
    """The `authorized_keys` that let these people in: keys by names. Raises HostError where one can't stand there."""
    said = []
    for name, theirs in people.items():
        for key in theirs:
            if not _NAME.fullmatch(name) or not _WORDS.fullmatch(key):
                raise HostError("a user's name or key can't stand in authorized_keys", "Correct cluster.users.")
            mark = folder / "logins" / name / hashlib.sha256(_content(key).encode()).hexdigest()[:16]
            program = f"{sys.executable} -I -S {folder / 'program'} login {folder}"
            said.append(f'restrict,pty,command="/usr/bin/env {MARK}={mark} {program}" {key}\n')
    return "".join(said)


def write(generation: Path, content: str) -> None:
    """Replace the `authorized_keys` of a generation in one step, durably. Public keys are no secret, and sshd reads
    them as the user who logs in."""
    fresh = generation / f".{_KEYS}.tmp"
    files.write_text(fresh, content)
    fresh.chmod(_READABLE)
    fresh.replace(generation / _KEYS)
    files.sync(generation)


def read(generation: Path) -> str:
    """The `authorized_keys` of a generation; "" where it has none."""
    try:
        return (generation / _KEYS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def ways(generation: Path) -> list[Way]:
    """The keys by which people may log in while this generation is current."""
    found = map(_LINE.fullmatch, read(generation).splitlines())
    return [Way(line[1], line[2], line[4]) for line in found if line is not None]


def apply(folder: Path, people: Mapping[str, Sequence[str]]) -> None:
    """Let these people log in from now on, and nobody else: neither now nor when an earlier generation comes back, nor
    one that is staged. Other generations lose people and gain none. Open logins of the others end."""
    wanted = keys(folder, people)
    contents = {_content_of(line) for line in wanted.splitlines()}
    there, before = folder / "current", ways(folder / "current")
    for generation in (folder / "generations").iterdir() if (folder / "generations").is_dir() else ():
        if there.exists() and generation.samefile(there):
            write(generation, wanted)
        elif said := read(generation):
            write(generation, "".join(line for line in said.splitlines(True) if _content_of(line) in contents))
    end_revoked(folder, before)


def open_now(folder: Path) -> dict[str, int]:
    """How many processes people's logins have, by their owners' names."""
    found: dict[str, int] = {}
    for mark in processes.belonging(f"{folder / 'logins'}/", MARK).values():
        if mark is not None:
            found[mark.parent.name] = found.get(mark.parent.name, 0) + 1
    return found


def end_revoked(folder: Path, before: Collection[Way]) -> None:
    """End, by SIGKILL, every process of the logins that the current generation does not let in. `before` are the ways
    in which people could log in until now: where one of them is gone, what has hidden its owner ends, too.

    A login that begins at this moment ends itself (`login`). Raises HostError where a process goes on.
    """
    allowed = {way.mark for way in ways(folder / "current")}
    gone = any(way.mark not in allowed for way in before)
    deadline = time.monotonic() + _PATIENCE
    while left := _revoked(folder, allowed, strays=gone):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise HostError(
                f"processes of people who may not log in any more go on: {', '.join(map(str, sorted(left)))}",
                "See what keeps them (`ps -o pid,stat,wchan,args -p …`), and end them there.",
            )
        time.sleep(_POLL)


def _revoked(folder: Path, allowed: Collection[str], *, strays: bool) -> set[int]:
    found = processes.belonging(f"{folder / 'logins'}/", MARK)
    every = {process.pid: process for process in processes.living()}
    kept = {pid for pid, mark in found.items() if str(mark) in allowed}
    left = found.keys() - kept
    numbers = {_owner(pid) for pid in left} | ({_login_user(folder)} if strays else set())
    sparing = set(kept)
    for pid in kept:  # sshd's own processes above a login
        while (pid := every[pid].parent if pid in every else 0) > 1:
            sparing.add(pid)
    if strays or left:
        spared = {_group(pid) for pid in kept}
        for pid in every.keys() - sparing:
            group, owner = _group(pid), _owner(pid)
            of_sshd = group.endswith(_SSHD) and owner in numbers and owner != 0
            of_login = any(number and f"/user-{number}.slice/session-" in group for number in numbers)
            if of_sshd or (of_login and group not in spared):
                left = left | {pid}
    return set(left)


def _group(pid: int) -> str:
    """The control group of a process as systemd names it; "" where it has just ended."""
    with suppress(OSError):
        lines = Path("/proc", str(pid), "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
        named = [line.split(":", 2)[2] for line in lines if line.startswith("0::") or ":name=systemd:" in line]
        return max(named, key=len, default="")
    return ""


def _owner(pid: int) -> int | None:
    with suppress(OSError):
        return Path("/proc", str(pid)).stat().st_uid
    return None


def _login_user(folder: Path) -> int | None:
    """The number of the user as whom people log in, as `cluster prepare` has written it down (prepared.py)."""
    with suppress(KeyError, HostError):
        login = (files.read(folder / "prepared.json") or {}).get("login")
        return None if login is None else pwd.getpwnam(str(login)).pw_uid
    return None


def _content(key: str) -> str:
    return " ".join(key.split()[:2])


def _content_of(line: str) -> tuple[str, str]:
    """Whose key a line of `authorized_keys` has, and which."""
    found = _LINE.fullmatch(line.rstrip("\n"))
    return (found[2], found[3]) if found is not None else ("", "")


def login(folder: Path) -> None:
    """Become the shell of the user as whom this process runs, in the application's folder. sshd starts this for whoever
    logs in with a key of `authorized_keys`, with the command that they named, if any, in SSH_ORIGINAL_COMMAND.

    A login that has begun before a swap, and would go on after it, looks again who may log in: the swap ends those that
    carry their mark, and this process carries it already.
    """
    mark = os.environ.get(MARK, "")
    generation = folder / "current"
    if mark not in {way.mark for way in ways(generation)}:
        sys.exit("you may not log in here any more")
    image, person = (generation / "image").resolve(), pwd.getpwuid(os.getuid())
    home = generation.resolve() / "home"
    shell = person.pw_shell or "/bin/sh"
    path = os.pathsep.join(filter(None, (str(image / "toolchain" / "bin"), os.environ.get("PATH", os.defpath))))
    own = {"HOME": str(home), "PATH": path, "EDGEGUARD_USER": Path(mark).parent.name, "EDGEGUARD_SERVER": folder.name}
    for place in (image / "app", home, Path("/")):
        with suppress(OSError):
            os.chdir(place)
            break
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    argv = [f"-{Path(shell).name}"] if command is None else [shell, "-c", command]
    try:
        os.execve(shell, argv, {**os.environ, **own})  # noqa: S606 (it becomes the person's shell)
    except OSError as exc:
        sys.exit(f"{shell} can't be started: {exc.strerror}")


def unfit(login: str) -> Iterator[str]:
    """Why people can't log in as this user of the server, a sentence each with its remedy behind a colon."""
    try:
        account = pwd.getpwnam(login)
    except KeyError:
        yield f"there is no user {login} here: make it (useradd --system --create-home --shell /bin/bash {login})"
        return
    if account.pw_uid == 0:
        yield f"{login} is root, and nobody else's shell may be root's: let cluster.user name an unprivileged user"
    if account.pw_shell.endswith(("/nologin", "/false")):
        yield f"the shell of {login} is {account.pw_shell}: give it one (usermod --shell /bin/bash {login})"
    if login in (os.environ.get("SUDO_USER"), os.environ.get("LOGNAME")):
        yield f"edgeguard itself logs in as {login}, and would lose access: let options.user name another user"
