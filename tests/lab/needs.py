"""Whether this machine can have a lab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "haproxy": "haproxy",
    "socat": "socat",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
"""Each program that a lab needs, and the Debian package that has it."""


def packages() -> list[str]:
    """The Debian packages that are missing here."""
    return sorted({package for program, package in _PROGRAMS.items() if shutil.which(program) is None})


def missing() -> list[str]:
    """Why this machine can't have a lab, a sentence each; empty if it can. Missing packages are not among them."""
    found = []
    if sys.platform != "linux":
        return ["This is not Linux."]
    if os.geteuid() != 0:
        found.append("Only root can make namespaces and mounts: run it as root, or with sudo.")
    if shutil.which("apt-get") is None:
        found.append("The hosts are made of Debian's packages, and this machine has no apt-get.")
    filesystems = Path("/proc/filesystems").read_text(encoding="ascii")
    if "overlay" not in filesystems and subprocess.call(["modprobe", "-q", "overlay"], stderr=subprocess.DEVNULL):
        found.append("The kernel has no overlay file system.")
    if "cgroup2" not in filesystems:
        found.append("The kernel has no cgroup2.")
    if not found and subprocess.call(
        ["unshare", "--pid", "--fork", "--mount", "--net", "true"], stderr=subprocess.DEVNULL
    ):
        found.append("This machine doesn't let root make namespaces (is it a container?).")
    return found
