"""A systemd unit of this server: what systemd tells of it, and what it is told."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeguard.cluster.host import files
from edgeguard.cluster.host.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 60.0
"""Seconds in which systemd carries out what it is told. A unit that is stopped has its own, shorter limit."""
_SHOWN = ("LoadState", "ActiveState", "SubState", "MainPID", "NeedDaemonReload", "DropInPaths")
_SAID = 4000  # bytes of what a unit wrote


@dataclass(frozen=True)
class Unit:
    """A unit by its whole name, such as `eg-production-web.service`."""

    name: str

    def show(self) -> dict[str, str]:
        """The unit's properties: LoadState, ActiveState, SubState, MainPID, NeedDaemonReload and
        DropInPaths, as systemctl(1) shows them. A unit that isn't there has the LoadState `not-found`."""
        said = _systemctl("show", *(f"--property={name}" for name in _SHOWN), "--", self.name)
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def enabled(self) -> bool:
        """Whether it starts with the server."""
        return _answer("is-enabled", "--", self.name) == "enabled"

    def runs(self) -> bool:
        """Whether systemd keeps it running: its process is there, or is started again soon."""
        return self.show().get("ActiveState") in ("active", "activating", "reloading", "deactivating")

    def start(self, *, wait: bool = True) -> None:
        """Start it, at once where systemd waits before it starts it again. One that runs is left alone. Without `wait`,
        systemd does so after this has returned; a unit that can't be started at all is refused all the same."""
        self._do("start", *(() if wait else ("--no-block",)))

    def stop(self) -> None:
        """Stop it: SIGTERM to all its processes, SIGKILL to those that go on. One that is stopped is left alone."""
        self._do("stop")

    def restart(self) -> None:
        """Stop it and start it again."""
        self._do("restart")

    def reload(self) -> None:
        """Let it read its configuration again, without an interruption."""
        self._do("reload")

    def said(self, invocation: str) -> str:
        """The last lines that one start of the unit wrote to the journal; empty where the journal has none."""
        argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={files.QUOTED}"]
        found = subprocess.run(
            [*argv, f"_SYSTEMD_INVOCATION_ID={invocation}"], stdout=subprocess.PIPE, timeout=LIMIT, check=False
        )
        return files.end_of(found.stdout, _SAID)

    def masked(self) -> bool:
        """Whether somebody has masked it, so that nobody can start it."""
        return self.show().get("LoadState") == "masked"

    def refuse_masked(self, found: str = "") -> None:
        """Raise HostError if it is masked; `found` is its LoadState, where the caller knows it."""
        if (found or self.show().get("LoadState")) == "masked":
            raise HostError(
                f"somebody has masked {self.name}", f"Run `systemctl unmask {self.name}` there, if that was a mistake."
            )

    def _do(self, verb: str, *options: str) -> None:
        try:
            _systemctl(verb, *options, "--", self.name)
        except HostError:  # only then a second question is worth its time
            found = self.show().get("LoadState", "")
            self.refuse_masked(found)
            if found == "loaded":
                raise
            raise HostError(
                f"systemd has no unit {self.name}",
                "Run `edgeguard cluster prepare` for this environment; it writes the units.",
            ) from None


def matching(*patterns: str) -> dict[str, dict[str, str]]:
    """The units that systemd has loaded whose names match one of these patterns, each with LoadState, ActiveState and
    ControlGroup ("" where it has none)."""
    shown = ("Id", "LoadState", "ActiveState", "ControlGroup")
    said = _systemctl("show", *(f"--property={name}" for name in shown), "--", *patterns)
    blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in said.strip().split("\n\n"))
    return {block["Id"]: {"ControlGroup": "", **block} for block in blocks if "Id" in block}


def start_all(*names: str) -> None:
    """Have these units started, without waiting for it. Those that run are left alone."""
    _systemctl("start", "--no-block", "--", *names)


def stop_all(*names: str) -> None:
    """Stop these units. Those that are stopped, or not there, are left alone."""
    _systemctl("stop", "--", *names)


def forget_failures(*patterns: str) -> None:
    """No unit whose name matches one of these patterns counts as failed any more."""
    _systemctl("reset-failed", "--", *patterns)


def reload_all() -> None:
    """Let systemd read its unit files again."""
    _systemctl("daemon-reload")


def enable(*names: str) -> None:
    """Let these units start when the server boots."""
    _systemctl("enable", "--quiet", "--", *names)


def disable(*names: str) -> None:
    """Let these units start no more when the server boots."""
    _systemctl("disable", "--quiet", "--", *names)


def stopping() -> bool:
    """Whether the server is on its way down."""
    return _answer("is-system-running") == "stopping"


def transient(name: str) -> tuple[str, ...]:
    """What stands before a command that is to run in a unit of its own, and not in its caller's. The command has the
    caller's open files."""
    return ("systemd-run", "--scope", "--quiet", "--collect", f"--unit={name}", "--")


def run(unit: str, argv: Sequence[str]) -> None:
    """Start a command in a service of this name, which is forgotten when the command ends."""
    command = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", "--property=Type=exec", "--", *argv]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=True)
    except (subprocess.SubprocessError, OSError) as exc:
        raise HostError(f"systemd did not start {unit}", "See `journalctl` there.") from exc


def _answer(*question: str) -> str:
    """What systemctl says to a question whose answer is also its exit code."""
    argv = ["systemctl", *question]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=False).stdout.strip()


def _systemctl(*arguments: str) -> str:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        found = subprocess.run(
            ["systemctl", "--no-ask-password", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
        )
    except FileNotFoundError as exc:
        raise HostError("systemctl is not there", "The driver ssh needs servers that run systemd.") from exc
    except subprocess.TimeoutExpired as exc:
        raise HostError(
            f"systemd did not `{' '.join(arguments)}` within {LIMIT:g} s",
            "See what it waits for: `systemctl list-jobs`.",
        ) from exc
    if found.returncode:
        said = found.stderr.strip()[:500] or f"exit {found.returncode}"
        raise HostError(f"`systemctl {' '.join(arguments)}` failed: {said}", "See `systemctl status` and `journalctl`.")
    return found.stdout
