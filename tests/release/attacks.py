"""Runs in a build hook: attacks what a build must leave alone, and prints which attacks succeeded, as JSON.

The one argument is a JSON object: `paths` of secrets, the `port` of a server, the `pid` of a victim, the PID
`namespace` of the world outside, and a folder `outside`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"sentinel-of-the-attacks"


def reads(path: str) -> bool:
    return SECRET in Path(path).read_bytes()


def environments() -> bool:
    """Of the shell that was given the token, or of anybody else's process."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if SECRET in path.read_bytes():
                return True
    return False


def unmounts(namespace: str) -> bool:
    """Take /proc away, beneath which is that of the world outside. Never there itself."""
    if os.readlink("/proc/self/ns/pid") == namespace:  # noqa: PTH115 (no path)
        return False
    return subprocess.run(["umount", "/proc"], check=False, capture_output=True).returncode == 0


def writes(folder: str) -> bool:
    Path(folder, "written").touch()
    return True


def links(path: str) -> bool:
    os.link(path, "second")
    return reads("second")


def connects(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), 5).close()
    return True


def capable() -> bool:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("CapEff:")[2].split()[0], 16) != 0


def kills(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    os.kill(pid, 0)
    return b"sleep" in command


def main(given: dict[str, Any]) -> dict[str, bool]:
    paths = given["paths"]
    attacks: dict[str, Callable[[], bool]] = {
        "token in a process": environments,
        "token in its file": lambda: reads(paths["token"]),
        "variables of a release": lambda: reads(paths["variables"]),
        "the environment's file": lambda: reads(paths["environment"]),
        "a process of others": lambda: kills(given["pid"]),
        "unmounting /proc": lambda: unmounts(given["namespace"]),
        "capabilities": capable,
        "writing outside": lambda: writes(given["outside"]),
        "a hard link to a secret": lambda: links(paths["token"]),
        "loopback": lambda: connects(given["port"]),
    }
    found = {}
    for name, attack in attacks.items():
        found[name] = False
        with suppress(OSError):
            found[name] = attack()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
