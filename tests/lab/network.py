"""The lab's two networks: over one the hosts are driven, over the other visitors reach them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

ADMIN, VISITORS = "adm", "vis"
PREFIX = {ADMIN: "10.91.0", VISITORS: "10.92.0"}
"""The first three numbers of each network's addresses. The machine's own end is 1, and hosts count from 11."""
INSIDE = {ADMIN: "host0", VISITORS: "host1"}
"""What the interface is called in a host."""


def address(network: str, number: int) -> str:
    """The address of the host with this number (from 1) in a network."""
    return f"{PREFIX[network]}.{10 + number}"


def interface(network: str, host: str) -> str:
    """The outer end of a host's cable."""
    return f"{network}-{host}"


def lay() -> None:
    """Make both networks; the namespace is empty."""
    ip("link", "set", "lo", "up")
    for network, prefix in PREFIX.items():
        ip("link", "add", network, "type", "bridge")
        ip("addr", "add", f"{prefix}.1/24", "dev", network)
        ip("link", "set", network, "up")


def plug(unplugged: set[str]) -> None:
    """Plug every cable in that is there, but for these. A host that boots brings new cables."""
    for link in links():
        name, network = link["ifname"], link["ifname"].partition("-")[0]
        if network in PREFIX and name not in PREFIX:
            if name in unplugged:
                if "UP" in link["flags"]:
                    ip("link", "set", name, "down")
            elif link.get("master") != network or "UP" not in link["flags"]:
                ip("link", "set", name, "master", network, "up")


def links() -> list[dict[str, Any]]:
    """Every interface of the namespace that this process is in."""
    said = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return found


def ip(*argv: str) -> None:
    """Run ip(8). A cable that vanishes meanwhile is no error: its host is booting."""
    subprocess.run(["ip", *argv], check=False, stderr=subprocess.DEVNULL)
