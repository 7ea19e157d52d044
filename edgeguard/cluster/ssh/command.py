"""The command line of `ssh`: the user's own configuration, and what must not be the user's."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import HostError
from edgeguard.machine import process
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first value counts, so these come before those of any file.
_FORCED = (
    "BatchMode=yes",  # nobody is there to answer a question
    "StrictHostKeyChecking=yes",
    "ControlMaster=no",  # a shared connection ends when somebody else ends it
    "ControlPath=none",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",  # and tunnels
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",  # a host that is gone is known to be gone within 15 s
    "ServerAliveCountMax=2",
    "LogLevel=INFO",  # QUIET would hide why a connection fails
)
_SINCE_8_7 = ("SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no")  # older ones refuse unknown names
_HOST = re.compile(r"[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*")  # an option begins with a hyphen
_PYTHON = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]*")
_VERSION = re.compile(rb"OpenSSH(?:_for_Windows)?_(\d+)\.(\d+)")


@dataclass(frozen=True)
class Target:
    """How a server is reached. `config` is a file of ssh's to use instead of the user's own; `python` is the host's
    Python, by its name or path."""

    server: str
    host: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    config: str | None = None
    sudo: bool = False
    python: str = "python3"

    def options(self) -> Iterator[str]:
        """The options that tell `ssh` of this server, without those that are forced."""
        for option, value in (("-F", self.config), ("-l", self.user), ("-p", self.port), ("-i", self.identity)):
            if value is not None:
                yield from (option, str(value))
        if self.identity is not None:
            yield "-oIdentitiesOnly=yes"  # an agent with many keys would use up the host's patience

    def by_hand(self, *words: str) -> str:
        """The command with which a person looks at the same connection; `words` go before the host."""
        return on_one_line(shlex.join(["ssh", *words, *self.options(), "--", self.host]))


def argv(target: Target, remote: str) -> list[str]:
    """The command that runs `remote`, which a shell on the host reads.

    Raises:
        HostError: the host's name or the Python's can't be one, or there is no ssh.
    """
    if not _HOST.fullmatch(target.host):
        raise HostError(f"'{on_one_line(target.host)}' is no host's name", "Correct `hosts` in [cluster.options].")
    forced = (*_FORCED, *_SINCE_8_7) if _version() >= (8, 7) else _FORCED
    # -T: a terminal changes bytes, and without one there is no escape character.
    return ["ssh", "-T", *(f"-o{option}" for option in forced), *target.options(), "--", target.host, remote]


def words(target: Target, source: str) -> str:
    """The words with which any shell of the host (sh, csh, fish) runs this Python source."""
    if not _PYTHON.fullmatch(target.python):
        raise HostError(
            f"'{on_one_line(target.python)}' is no program's name", "Correct `python` in [cluster.options]."
        )
    code = base64.b64encode(source.encode()).decode()
    sudo = "sudo -n -- " if target.sudo else ""
    return f"{sudo}{target.python} -I -S -c \"import base64;exec(base64.b64decode('{code}'))\""


@cache
def _version() -> tuple[int, int]:
    """The version of this machine's ssh; (0, 0) if it is another program than OpenSSH's."""
    try:
        said = process.answer(("ssh", "-V")).stderr
    except OSError as exc:
        raise no_ssh(exc) from exc
    found = _VERSION.match(said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def no_ssh(exc: OSError) -> HostError:
    """The error that says that this machine's ssh can't be run."""
    return HostError(
        f"ssh can't be run on this machine: {exc.strerror}", "Install OpenSSH's client (Debian: openssh-client)."
    )


def started(command: list[str]) -> subprocess.Popen[bytes]:
    """Start ssh with three pipes, in a session of its own: a signal to the terminal's group is edgeguard's to hear.

    Its environment has none of edgeguard's tokens. Its locale, which many hosts take over, makes sudo and shells say
    what is known here.
    """
    try:
        return subprocess.Popen(
            command,
            env={**process.environment(), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as exc:
        raise no_ssh(exc) from exc
