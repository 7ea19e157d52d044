"""What OpenSSH, sudo and shells say when a host can't be used, and what a person does about it."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from edgeguard.cluster.host.errors import HostError
from edgeguard.visible import on_one_line

if TYPE_CHECKING:
    from edgeguard.cluster.ssh.command import Target

_SHOWN = 300  # characters of somebody else's words

# What is said, by a pattern; what that means; what to do. {1} and {2} are the pattern's groups, {ssh} and {ssh_v} are
# commands to run by hand. The first pattern that fits counts. The words are OpenSSH's (sshconnect.c, sshconnect2.c,
# packet.c of 9.2), sudo's (1.9) and those of bash, dash, zsh, tcsh and fish.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (
        r"Offending \S+ key in (.+):\d+[^$]*Host key for (\S+) has changed",
        "its host key is not the one that is known here",
        (
            "Find out why: the host was made anew, or somebody stands between. If it is right, remove the old key"
            " (`ssh-keygen -f '{1}' -R '{2}'`), run `{ssh}` by hand, and compare the fingerprint with the host's own."
        ),
    ),
    (
        r"No \S+ host key is known for (.+?) and you have requested strict checking",
        "the host key of {1} is not known here",
        (
            "Run `{ssh}` by hand and compare the fingerprint with the host's own (there: `ssh-keygen -lf"
            " /etc/ssh/ssh_host_ed25519_key.pub`); for many hosts, compare and keep what `ssh-keyscan` prints."
        ),
    ),
    (
        r"Host key verification failed",
        "its host key is refused",
        "Run `{ssh}` by hand; it says why.",
    ),
    (
        r"Too many authentication failures",
        "the host has refused the first keys and looks at no others",
        "Name the right one as `identity_file` in [cluster.options].",
    ),
    (
        r"Permission denied \(",
        "the host refuses the user or the key",
        (
            "See whether `ssh-add -l` lists the key, and whether the user's ~/.ssh/authorized_keys there has it;"
            " `{ssh_v}` shows which were tried."
        ),
    ),
    (
        r"Could not resolve hostname (\S+?):",
        "the name {1} is not found",
        "Correct `hosts` in [cluster.options], or HostName in your ssh configuration.",
    ),
    (
        r"connect to host (\S+) port (\d+): Connection refused",
        "nothing listens at {1}, port {2}",
        "Start its sshd, or correct the host or the port.",
    ),
    (
        r"connect to host (\S+) port (\d+): (?:Connection|Operation) timed out",
        "{1}, port {2}, does not answer",
        "Is the host up, and does a firewall let this machine in?",
    ),
    (
        r"timed out during banner exchange|Connection to \S+ port \d+ timed out",
        "it accepts connections and says nothing",
        "Something else than sshd listens there, or its sshd hangs: look from the host's console.",
    ),
    (
        r"(?:No route to host|Network is unreachable)",
        "there is no way to the host",
        "Is the host up, and is this machine in the right network (a VPN)?",
    ),
    (
        r"kex_exchange_identification|ssh_exchange_identification|banner exchange: Connection to",
        "it ends connections before anybody can log in",
        (
            "Is the host starting or going down? Is it an sshd that listens there? One that is well may refuse this"
            " address, or have too many callers at a time (MaxStartups in its sshd_config)."
        ),
    ),
    (
        r"Unable to negotiate with|no mutual signature",
        "ssh and its sshd have no algorithm in common",
        "Run `{ssh_v}` by hand; it says which.",
    ),
    (
        r"(Bad configuration option: \S+|Bad owner or permissions on \S+|Can't open user config file .+)",
        "ssh can't use its configuration: {1}",
        "Correct it.",
    ),
    (
        r"sudo: sorry, you must have a tty",
        "sudo wants a terminal there",
        "Take `requiretty` out of its Defaults (`visudo`), or log in as root.",
    ),
    (
        r"a password is required|a terminal is required|no tty present",
        "sudo wants a password there",
        "Allow the user to run it without one (`visudo`: `USER ALL=(root) NOPASSWD: ALL`), or log in as root.",
    ),
    (
        r"not in the sudoers file|is not allowed to (?:execute|run sudo)",
        "sudo does not allow the user to act as root there",
        "Allow it (`visudo`: `USER ALL=(root) NOPASSWD: ALL`), or log in as root.",
    ),
    (
        r"sudo: not found|sudo: [Cc]ommand not found|command not found: sudo|Unknown command: '?sudo",
        "there is no sudo",
        "Install it there, or log in as root without it.",
    ),
    (
        r"[Uu]nknown option:? -I|No module named '?encodings",
        "its Python can't run edgeguard's host program, which needs 3.9 or newer",
        "Install a newer one there, and name it as `python` in [cluster.options].",
    ),
    (
        r"not found|Unknown command|No such file or directory",
        "there is no {python}",
        "Install it there (Debian: python3), or name the host's Python as `python` in [cluster.options].",
    ),
)
_SSH_FAILED = 255
_NO_PROGRAM = (1, 126, 127)  # sudo's code, and shells'


def of(target: Target, code: int | None, said: bytes, printed: bytes = b"") -> HostError:
    """Why ssh has ended with this code (None: it was ended), by the end of what it said, and of what the host printed.

    What can only be said by the host's shell counts only if the host's command has failed.
    """
    words = said.decode(errors="replace")
    for pattern, meaning, remedy in _MEANINGS:
        found = re.search(pattern, words)
        if found is None or ("{python}" in meaning and code not in _NO_PROGRAM):
            continue
        if pattern.startswith("Permission denied") and (gone := _gone_agent(target)):
            return HostError(f"the host refuses the user or the key, and {gone}", "Start it, and add the key to it.")
        groups = [on_one_line(group or target.host)[:_SHOWN] for group in found.groups()] or [target.host]
        given = {"ssh": target.by_hand(), "ssh_v": target.by_hand("-v"), "python": target.python}
        return HostError(meaning.format("", *groups, **given), remedy.format("", *groups, **given))
    return _ended(target, code, _last_line(words) or _last_line(printed.decode(errors="replace")))


def cut(target: Target, code: int | None, said: bytes) -> HostError:
    """Why ssh has ended while the host program ran: what is said then is ssh's, or the host program's own."""
    return _ended(target, code, _last_line(said.decode(errors="replace")))


def _ended(target: Target, code: int | None, last: str) -> HostError:
    cut_off = code is None or code < 0 or code == _SSH_FAILED
    how = "the connection was cut" if cut_off else f"edgeguard's host program does not run there (exit code {code})"
    return HostError(
        f"{how}: {last}" if last else how, f"Run `{target.by_hand()} true` by hand: it shows the way there."
    )


def hangs(target: Target, seconds: float, words: str) -> HostError:
    """The error about a host that has let ssh in, or not, and where nothing has started for so long."""
    last = _last_line(words)
    return HostError(
        f"edgeguard's host program did not start within {seconds:.0f} s" + (f": {last}" if last else ""),
        f"Run `{target.by_hand()} true` by hand: its login, its login scripts or the host itself may hang.",
    )


def _last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return on_one_line(lines[-1])[:_SHOWN].rstrip(".") if lines else ""


def _gone_agent(target: Target) -> str:
    """What is wrong with the agent that ssh should have asked; empty if it is there, or isn't needed."""
    if target.identity is not None:
        return ""
    path = os.environ.get("SSH_AUTH_SOCK")
    if not path:
        return ""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(1)
        try:
            agent.connect(path)
        except OSError:
            return f"no agent answers at {on_one_line(path)}"
    return ""
