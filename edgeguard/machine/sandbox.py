"""Runs a program of others so that it sees little of this machine: in bubblewrap's sandbox, or else among its own
processes only, or else (`Seclusion.NONE`) as it is.

Linux shows the environment with which a process began to all processes of the same user. So a clean environment for a
program is not enough: the program could read `/proc/<its parent>/environ`. The program that makes the seclusion runs
with an empty environment itself; the program's variables (LD_PRELOAD may be among them) are set inside of it. They
travel through a file in memory, since others can read an argument vector.
"""

from __future__ import annotations

import enum
import os
import shutil
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.machine import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REMEDY = "Install bubblewrap, and let this user make user namespaces"
"""What gives a machine a sandbox."""

_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")  # of /; links into /usr on most systems
_CONFIGURATION = (  # of /etc: the resolver, authorities, and what programs of /usr need; no private key, no password
    *("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services", "protocols"),
    *("ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "ca-certificates", "ca-certificates.conf"),
    *("pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf", "crypto-policies"),
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types", "fonts"),
    *("pip.conf", "xdg/pip", "gitconfig"),
)
_STORES = ("/nix/store", "/gnu/store")
_USER = 1000
"""The user in the sandbox where edgeguard is root: archivers of root's restore owners, and there are no others here."""

# The first program in a PID namespace. It gives up every capability for good, also those that root gets with a new
# program (prctl(2), PR_SET_NO_NEW_PRIVS; capset(2), version 3), and takes the variables from a descriptor.
_INSIDE = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
with open(int(sys.argv[1]), "rb") as file:
    env = dict(line.split(b"=", 1) for line in file.read().split(b"\\0") if line)
os.execve(sys.argv[2], sys.argv[2:], env)
"""
_WAITING = (
    "-c",
    '"$@"\nexit $?',
    "sh",
)  # the kernel keeps most signals from a namespace's first process: it only waits


class Seclusion(enum.Enum):
    """How well a program of others is kept apart on this machine."""

    SANDBOX = "sandbox"
    PROCESSES = "processes"
    NONE = "none"


@dataclass(frozen=True)
class Sandbox:
    """What a program may see besides this machine's own programs. Its /tmp is in memory, and ends with it.

    What `hidden` holds is not seen, unless it is writable or readable. A readable place that is a link is seen as one,
    with what it leads to.
    """

    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    home: Path = Path("/")
    network: bool = True

    def lack(self) -> str:
        """Why there can be no sandbox here; "" where a trial run shows that there can."""
        if sys.platform != "linux":
            return f"there is none for {sys.platform}"
        if shutil.which("bwrap") is None:
            return "bubblewrap is not installed"
        with self._wrapped(["true"], {"PATH": os.defpath}, Path("/")) as command:
            tried = process.answer(command.argv, env=command.environment, inherit=command.descriptors)
        return "" if tried.returncode == 0 else tried.stderr.decode(errors="replace").strip() or "bubblewrap fails"

    @contextmanager
    def around(self, seclusion: Seclusion, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Command]:
        """The command that runs a program so secluded, as long as the block lasts.

        The exit code stays the same; for a program that a signal ended, it is 128 and the signal's number. When the
        program ends, or its session's leader is killed, all processes that it started end, too. A program that PATH
        does not have is left as it is: the caller reports that.
        """
        if seclusion is Seclusion.NONE or shutil.which(argv[0], path=env.get("PATH")) is None:
            yield Command(tuple(argv), env)
        elif seclusion is Seclusion.SANDBOX:
            with self._wrapped(argv, env, cwd) as command:
                yield command
        else:
            with _in_memory("".join(f"{name}={value}\0" for name, value in env.items())) as variables:
                prefix = (*_own_processes(), sys.executable, "-I", "-S", "-c", _INSIDE, str(variables))
                yield Command((*prefix, shutil.which("sh") or "sh", *_WAITING, *argv), {}, (variables,))

    @contextmanager
    def _wrapped(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> Iterator[Command]:
        user, group = (os.geteuid(), os.getegid()) if os.geteuid() else (_USER, _USER)
        with ExitStack() as stack:

            def keep(content: str) -> int:
                return stack.enter_context(_in_memory(content))

            nobody = "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"  # owns what other users own outside
            users = keep(f"root:x:0:0::/root:/bin/sh\nweb:x:{user}:{group}::{self.home}:/bin/sh\n{nobody}")
            groups = keep(f"root:x:0:\nweb:x:{group}:\nnogroup:x:65534:\n")
            options = [
                *("--unshare-user", "--uid", str(user), "--gid", str(group), "--cap-drop", "ALL"),
                *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"),
                *(() if self.network else ("--unshare-net",)),
                *_system(),
                *("--ro-bind-data", str(users), "/etc/passwd", "--ro-bind-data", str(groups), "/etc/group"),
                *self._places(),
                *("--remount-ro", "/", "--chdir", str(cwd), "--clearenv"),
                *(option for name, value in env.items() for option in ("--setenv", name, value)),
            ]
            read = keep("".join(f"{option}\0" for option in options))
            bubblewrap = shutil.which("bwrap") or "bwrap"
            yield Command((bubblewrap, "--args", str(read), "--", *argv), {}, (read, users, groups))

    def _places(self) -> Iterator[str]:
        """The options for /tmp, then for what hides, then for what is seen of that, the outermost first."""
        yield from ("--perms", "1777", "--tmpfs", "/tmp")  # noqa: S108 (a new one)
        links, seen = _followed(self.readable)
        system = (Path("/usr"), *map(Path, _STORES))
        for place in self.hidden:
            if any(place.is_relative_to(above) for above in (*system, *seen)):
                yield from ("--tmpfs", str(place))
        for place in sorted(seen):
            yield from ("--ro-bind-try", str(place), str(place))
        for link, to in links.items():
            if not any(link.is_relative_to(above) for above in (*system, *seen)):
                yield from ("--symlink", to, str(link))
        for place in sorted(self.writable):
            yield from ("--bind", str(place), str(place))


@dataclass(frozen=True)
class Command:
    """A command to run, with its whole environment and the descriptors that it inherits."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM:
        folder = Path("/", name)
        if folder.is_symlink():
            yield from ("--symlink", str(folder.readlink()), str(folder))
        else:
            yield from ("--ro-bind-try", str(folder), str(folder))
    for place in (*_STORES, *(f"/etc/{name}" for name in _CONFIGURATION)):
        yield from ("--ro-bind-try", place, place)
    yield from ("--proc", "/proc", "--dev", "/dev")


def _followed(places: Sequence[Path]) -> tuple[dict[Path, str], set[Path]]:
    """The links among places, each with its target, and the files and folders to which all of them lead."""
    links: dict[Path, str] = {}
    seen: set[Path] = set()
    for place in places:
        while place.is_symlink() and place not in links:
            links[place] = str(place.readlink())
            place = Path(os.path.normpath(place.parent / links[place]))  # noqa: PLW2901 (a step further)
        if not place.is_symlink():
            seen.add(place)
    return links, seen


@cache
def second_best() -> Seclusion:
    """How well a program can be kept apart where there is no sandbox. In many containers, and for users of Ubuntu since
    24.04, no PID namespace can be made either."""
    prefix = _own_processes()
    made = bool(prefix) and process.answer([*prefix, "true"], env={"PATH": os.defpath}).returncode == 0
    return Seclusion.PROCESSES if made else Seclusion.NONE


def without(lack: str) -> str:
    """The sentence that says what it means that there is no sandbox."""
    return f"a build is in no sandbox here ({lack}): it can read and write what edgeguard's user can"


@cache
def _own_processes() -> tuple[str, ...]:
    """The argv that makes a PID namespace with a /proc of its own; empty where there is no such program.

    A user other than root needs a user namespace around it, and stays the same user in there.
    """
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None or shutil.which("sh") is None:
        return ()
    user = () if os.geteuid() == 0 else ("--user", "--map-current-user")
    return (unshare, *user, "--pid", "--fork", "--kill-child", "--mount-proc", "--")


@contextmanager
def _in_memory(content: str) -> Iterator[int]:
    """A descriptor from which a program that inherits it reads this content."""
    descriptor = os.memfd_create("edgeguard")  # Linux only, as its callers are
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(os.fsencode(content))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
