"""`scripts/lab`: boot hosts, look at them, and make them suffer."""

# ruff: noqa: T201 (a program that prints)

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.lab import base, needs, network
from tests.lab.base import LabError
from tests.lab.lab import Lab

_HOSTS = ("web1", "web2", "web3")


def main() -> int:
    """Do what the arguments say."""
    said = _arguments()
    os.umask(0o022)  # the hosts' folders are made by this process
    trouble = needs.missing()
    if trouble:
        print("lab: this machine can't have a lab.", *trouble, sep="\n  ", file=sys.stderr)
        return 1
    try:
        return _do(said)
    except LabError as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Three real hosts on this machine: Debian with systemd, sshd and HAProxy, in namespaces.",
    )
    parser.add_argument("--name", default="lab", help="which lab; several can be up at once (default: lab)")
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("up", help="boot the hosts, and print how to reach them")
    acts.add_parser("down", help="end everything, and remove the hosts' disks")
    acts.add_parser("status", help="what is up, and what it takes")
    run = acts.add_parser("run", help="run a command where the hosts can be reached; without one, a shell")
    run.add_argument("command", nargs=argparse.REMAINDER)
    for act, told in (
        ("reboot", "reboot a host in an orderly way"),
        ("off", "pull a host's plug"),
        ("on", "start a host whose plug was pulled, or that was shut down"),
        ("cut", "take a host off both networks"),
        ("split", "take a host off the network over which it is driven; visitors still reach it"),
        ("mend", "put a host on both networks again"),
    ):
        acts.add_parser(act, help=told).add_argument("host")
    return parser.parse_args()


def _do(said: argparse.Namespace) -> int:
    lab = Lab(said.name)
    if said.act == "run":
        command = said.command[1:] if said.command[:1] == ["--"] else said.command
        return lab.run(command or [os.environ.get("SHELL") or "/bin/sh"])
    if said.act == "up":
        wanted = needs.packages()
        if wanted:
            subprocess.run(["scripts/packages", *wanted], check=True)
        lab.up(_HOSTS)
        _tell(lab)
    elif said.act == "down":
        lab.down()
    elif said.act == "status":
        return _status(lab)
    else:
        if said.host not in lab.hosts:
            raise LabError(
                f"There is no host {said.host!r}; the hosts are {', '.join(lab.hosts) or 'none, it is down'}."
            )
        _suffer(lab, said.act, said.host)
    return 0


def _suffer(lab: Lab, act: str, host: str) -> None:
    if act == "reboot":
        lab.reboot(host)
    elif act in ("on", "off"):
        lab.tell(f"{act} {host}")
        if act == "on":
            lab.wait([host])
    else:
        word = "plug" if act == "mend" else "unplug"
        for net in (network.ADMIN,) if act == "split" else (network.ADMIN, network.VISITORS):
            lab.tell(f"{word} {network.interface(net, host)}")


def _status(lab: Lab) -> int:
    if lab.pid() is None:
        print(f"{lab.name} is down")
        return 1
    for number, host in enumerate(lab.hosts, 1):
        addresses = ", ".join(f"{net} {network.address(net, number)}" for net in network.PREFIX)
        print(f"{host}  {lab.booted(host):10}  {addresses}")
    disk = subprocess.run(
        ["du", "-sm", *base.KEPT.glob("base-*/"), lab.folder / "hosts"], capture_output=True, text=True, check=False
    )
    for line in disk.stdout.splitlines():
        size, _, path = line.partition("\t")
        print(f"{size:>5} MB on disk in {path}")
    print(f"{lab.memory() // 2**20:>5} MB of memory")
    return 0


def _tell(lab: Lab) -> None:
    _status(lab)
    script = "scripts/lab" if lab.name == "lab" else f"scripts/lab --name {lab.name}"
    print(
        "\nThe hosts have networks of their own. A command reaches them this way:\n\n"
        f"    {script} run ssh -F {lab.ssh_config} web1\n\n"
        f"`{script} run` alone opens a shell there, and `{script} down` ends everything.\n\n"
        "A guarded deploy to them, with a stand-in for Fastly and with visitors (the hosts have Debian's Python):\n\n"
        f"    PATH=/usr/bin:$PATH .venv/bin/edgeguard rehearse --driver ssh --driver-config {lab.driver_config}\n\n"
        "With --stay the servers and the stand-in go on, and every command can be tried on them: it prints where the\n"
        "environment's file is."
    )


if __name__ == "__main__":
    sys.exit(main())
