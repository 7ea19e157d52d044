"""What all hosts of all labs share: a small Debian, made once and kept outside of the clone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = Path(os.environ.get("EDGEGUARD_LAB") or "/var/lib/edgeguard-lab")
"""The folder of the base, and of every lab."""
SUITE = "bookworm"
PACKAGES = "ca-certificates,dbus,haproxy,iproute2,nodejs,openssh-server,procps,python3,sudo,systemd,systemd-sysv"
_SOURCE = re.compile(r"^(?:URIs:|deb(?: +\[[^]]*\])?) +(\S+/debian/?)(?: |$)", re.MULTILINE)
_SETTLED = """\
set -eu
useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/deploy
rm -f /etc/ssh/ssh_host_* /etc/machine-id
touch /etc/machine-id
systemctl -q enable systemd-networkd
systemctl -q mask systemd-networkd-wait-online systemd-resolved e2scrub_reap.service apt-daily.timer
systemctl -q mask apt-daily-upgrade.timer
"""


class LabError(Exception):
    """The lab can't do this. The text says why, and what to do."""


def made() -> Path:
    """The folder with the base. The first call takes minutes.

    Raises:
        LabError: it can't be made.
    """
    digest = hashlib.sha256(f"{SUITE} {PACKAGES} {_SETTLED}".encode()).hexdigest()[:12]
    folder = KEPT / f"base-{digest}"
    with alone(KEPT / "base.lock"):
        if folder.is_dir():
            return folder
        sys.stderr.write(f"lab: making the hosts' base in {folder}; this is done once and takes minutes\n")
        fresh, log = KEPT / f".{folder.name}", KEPT / "base.log"
        shutil.rmtree(fresh, ignore_errors=True)
        with log.open("w", encoding="utf-8") as output:
            for argv in (
                ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(fresh), _mirror()],
                ["chroot", str(fresh), "sh", "-c", _SETTLED],
            ):
                if subprocess.call(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL):
                    raise LabError(f"The hosts' base can't be made; {log} tells why.")
        shutil.rmtree(fresh / "var/cache/apt/archives", ignore_errors=True)
        for older in KEPT.glob("base-*/"):
            shutil.rmtree(older)
        fresh.rename(folder)
    return folder


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock, which its holder's death frees."""
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mirror() -> str:
    """The mirror of Debian that this machine's own apt names."""
    for path in [*Path("/etc/apt/sources.list.d").glob("*"), Path("/etc/apt/sources.list")]:
        if path.is_file() and (found := _SOURCE.search(path.read_text(encoding="utf-8"))):
            return found[1]
    return "http://deb.debian.org/debian"
