"""A lab's hosts are real, two labs never meet, and nothing is left of a lab that is gone."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import base, needs, network
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab("test-lab")
    made.down()
    made.up(["web1", "web2"])
    try:
        yield made
    finally:
        made.down()


def test_a_host_is_a_server_of_its_own_with_systemd_sshd_and_haproxy(lab: Lab) -> None:
    said = lab.ssh(
        "web2", "hostname; cat /proc/1/comm; systemctl is-active ssh haproxy; ls -d /work /var/lib/edgeguard-lab"
    )
    assert said.stdout.split() == ["web2", "systemd", "active", "active"]


def test_the_hosts_reach_each_other_and_nothing_else(lab: Lab) -> None:
    said = lab.ssh("web1", "ip -o route; ssh-keyscan -T 2 10.91.0.12 2>/dev/null | head -c 10")
    assert "default" not in said.stdout
    assert said.stdout.endswith("10.91.0.12")


def test_the_deploy_user_may_become_root(lab: Lab) -> None:
    assert lab.ssh("web1", "id -un; sudo -n id -un", user="deploy").stdout.split() == ["deploy", "root"]


def test_a_host_that_is_split_off_still_serves_visitors(lab: Lab) -> None:
    lab.tell(f"unplug {network.interface(network.ADMIN, 'web1')}")
    try:
        assert not _answers(lab, network.address(network.ADMIN, 1))
        assert _answers(lab, network.address(network.VISITORS, 1))
    finally:
        lab.tell(f"plug {network.interface(network.ADMIN, 'web1')}")
    assert _answers(lab, network.address(network.ADMIN, 1))


def test_a_rebooted_host_keeps_its_disk_and_one_without_power_loses_what_it_did_not_write(lab: Lab) -> None:
    lab.ssh("web2", "echo kept >/root/kept; sync; touch /run/lost")
    lab.reboot("web2")
    assert lab.ssh("web2", "cat /root/kept; ls /run/lost").stdout == "kept\n"
    lab.tell("off web2")
    assert not _answers(lab, network.address(network.VISITORS, 2))
    lab.tell("on web2")
    lab.wait(["web2"])
    assert lab.ssh("web2", "cat /root/kept").stdout == "kept\n"


def test_two_labs_have_the_same_addresses_and_never_meet(lab: Lab) -> None:
    other = Lab("test-other")
    try:
        other.up(["web1"])
        other.ssh("web1", "touch /root/other")
        assert lab.ssh("web1", "ls /root/other").returncode != 0
    finally:
        other.down()
    assert lab.ssh("web1", "hostname").stdout == "web1\n"


def test_nothing_is_left_of_a_lab_whose_keeper_is_killed() -> None:
    lab = Lab("test-killed")
    lab.up(["web1"])
    keeper = lab.pid()
    assert keeper is not None
    try:
        os.kill(keeper, signal.SIGKILL)
        while lab.pid() is not None:
            pass
        assert _left(lab) == []
        assert lab.hosts == ["web1"]
        lab.up(["web1"])  # a lab that was killed starts anew
        assert lab.ssh("web1", "hostname").stdout == "web1\n"
    finally:
        lab.down()
    assert _left(lab) == []
    assert not lab.folder.exists()
    assert not list(Path("/sys/fs/cgroup").glob("*/edgeguard-lab-test-killed-*"))


def _answers(lab: Lab, address: str) -> bool:
    return subprocess.call(lab.inside(["ssh-keyscan", "-T", "2", address]), stdout=-3, stderr=-3) == 0 and (
        subprocess.run(lab.inside(["ssh-keyscan", "-T", "2", address]), capture_output=True, check=False).stdout != b""
    )


def _left(lab: Lab) -> list[str]:
    """Mounts of this machine and processes that mention the lab's folder."""
    found = [line for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines() if str(lab.folder) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(lab.folder / "hosts") in words and state != "Z":
            found.append(words)
    return found


def test_the_base_is_outside_of_the_clone() -> None:
    assert not base.made().is_relative_to(Path(__file__).parents[2])
