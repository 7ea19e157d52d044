"""What people do to servers of the driver `ssh` by hand: they prepare them, reboot them, and take it all away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cluster import Closure, Generation, Runs, Task
from edgeguard.cluster.facts import facts
from edgeguard.cluster.host.haproxy_rules import MARK
from edgeguard.cluster.preparing import drift, unready
from edgeguard.cluster.ssh.driver import SshCluster
from edgeguard.errors import ClusterError
from edgeguard.settings import ClusterSettings
from edgeguard.testing import images
from edgeguard.testing.world import until
from tests.lab import needs
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)

SERVERS = ("web1", "web2")
ROOT = Path("/var/lib/edgeguard-lab/servers")
CLOSURE = Closure("d1", 2_000_000_000)
_ASKED = f"""\
trap '' TERM
echo begun >> {ROOT}/said
until [ -e {ROOT}/asked ]; do sleep 0.05; done
echo asked >> {ROOT}/said
"""
TIDY = Task(
    "cron-tidy", ("/bin/sh", "-c", _ASKED), schedule="0 0 29 2 *", stop=("/usr/bin/touch", f"{ROOT}/asked"), limit=600
)
"""A cron that ignores SIGTERM, and ends when it is asked to."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab("servers")
    made.down()
    made.up(SERVERS)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture
def cluster(lab: Lab) -> Iterator[SshCluster]:
    found = driver(lab)
    yield found
    found.end()


def driver(lab: Lab, **options: Any) -> SshCluster:  # noqa: ANN401 (options)
    settings = ClusterSettings(
        driver="ssh",
        servers=SERVERS,
        root=ROOT,
        health_path="/health",
        start_timeout=20,
        options={"ssh_config": str(lab.ssh_config), **options},
    )
    return SshCluster("test", settings)


def deployed(cluster: SshCluster, name: str = "one", tasks: tuple[Task, ...] = ()) -> Generation:
    """A generation that is current on all servers, and healthy, behind closed gates."""
    image = ROOT / "releases" / name
    start = ("/bin/sh", "-c", f"exec /usr/bin/python3 -I -S {images.PROGRAM}")
    runs = Runs(image / "app", start, tasks=tasks)
    found = Generation(name, images.make(image, name), image, runs, {"PATH": "/usr/bin:/bin"})
    if cluster.read_record()["web1"] is None:
        cluster.write_record(1, {}, expected=0)
    cluster.stage(1, found)
    cluster.close(1, CLOSURE)
    cluster.swap(1, name)
    cluster.check(found)
    return found


def test_an_unprepared_server_says_what_to_do(cluster: SshCluster) -> None:
    cluster.write_record(1, {}, expected=0)
    with pytest.raises(ClusterError) as raised:
        cluster.close(1, CLOSURE)
    assert "cluster prepare" in raised.value.remedy


def test_preparing_says_what_it_does_and_is_repeated_without_harm(lab: Lab, cluster: SshCluster) -> None:
    wanted = cluster.prepare(dry_run=True)
    assert all("write /etc/systemd/system/eg-test-web.service" in sentences for sentences in wanted.values())
    assert "eg-test" not in lab.ssh("web1", "ls /etc/systemd/system").stdout
    assert cluster.prepare(dry_run=False) == wanted
    assert cluster.prepare(dry_run=False) == {"web1": [], "web2": []}
    assert [(state.gate, state.open) for state in cluster.state()] == [(True, False)] * 2
    assert lab.ssh("web1", "stat -c %a /etc/systemd/system/eg-test-web.service").stdout == "644\n"


def test_a_unit_that_somebody_edited_is_named_and_put_right(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    lab.ssh("web2", "sed -i s/RestartSec/RestartUSec/ /etc/systemd/system/eg-test-web.service")
    lab.ssh("web2", "rm /etc/systemd/system/multi-user.target.wants/eg-test-gate.service")
    found = cluster.prepare(dry_run=True)
    assert found["web1"] == []
    assert [sentence.split(";")[0] for sentence in found["web2"]] == [
        "write /etc/systemd/system/eg-test-web.service anew",
        "let eg-test-gate.service start with the server",
    ]
    cluster.prepare(dry_run=False)
    assert cluster.prepare(dry_run=True)["web2"] == []


def test_a_prepare_that_died_half_way_is_done_again_and_the_gate_runs_from_what_is_written(
    lab: Lab, cluster: SshCluster
) -> None:
    cluster.prepare(dry_run=False)
    lab.ssh("web2", f"touch {ROOT}/servers/web2/preparing")  # all is written, and the gate is as it was before
    before = lab.ssh("web2", "systemctl show --value -p MainPID eg-test-gate").stdout
    assert cluster.prepare(dry_run=True)["web2"] == ["do again what an earlier `cluster prepare` began and did not end"]
    cluster.prepare(dry_run=False)
    assert lab.ssh("web2", "systemctl show --value -p MainPID eg-test-gate").stdout != before
    assert cluster.prepare(dry_run=True)["web2"] == []


def test_a_host_program_of_another_version_is_no_drift(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    lab.ssh("web2", f"cd {ROOT}/servers/web2; cp program ../../host/another.pyz; ln -sf ../../host/another.pyz program")
    assert cluster.prepare(dry_run=True)["web2"] == []
    lab.ssh("web2", f"rm {ROOT}/host/another.pyz")
    [said] = cluster.prepare(dry_run=True)["web2"]
    assert said.endswith("/program name the host program")
    cluster.prepare(dry_run=False)
    assert cluster.prepare(dry_run=True)["web2"] == []


def test_a_host_is_one_server_of_an_environment(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    twice = driver(lab, hosts={"web2": "web1"})
    with pytest.raises(ClusterError, match=rf"^web2: this host is {ROOT}/servers/web1 of test already") as raised:
        twice.prepare(dry_run=False)
    assert "Correct `hosts`" in raised.value.remedy
    twice.end()
    assert drift(cluster, "production") == []


def test_a_unit_that_somebody_masked_is_named_and_left_alone(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    unit = "/etc/systemd/system/eg-test-web.service"
    lab.ssh("web2", f"mv {unit} /root; systemctl daemon-reload; systemctl mask eg-test-web")
    assert [sentence.split(" (")[0] for sentence in cluster.prepare(dry_run=True)["web2"]] == [
        "stop at eg-test-web.service, which somebody has masked"
    ]
    with pytest.raises(ClusterError, match=r"^web2: somebody has masked eg-test-web\.service") as raised:
        cluster.prepare(dry_run=False)
    assert "systemctl unmask" in raised.value.remedy
    assert lab.ssh("web2", f"readlink {unit}").stdout == "/dev/null\n"
    lab.ssh("web2", "systemctl unmask eg-test-web")
    assert len(cluster.prepare(dry_run=False)["web2"]) == 2  # written, and started with the server


def test_a_gate_that_can_not_be_told_anything_is_named_and_started_anew(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    lab.ssh("web2", f"rm {ROOT}/servers/web2/gate/master")
    with pytest.raises(ClusterError, match="is gone, though the gate runs") as raised:
        cluster.state()
    assert "systemctl restart eg-test-gate" in raised.value.remedy
    [said] = cluster.prepare(dry_run=True)["web2"]
    assert said.startswith("restart eg-test-gate.service: the gate's socket")
    cluster.prepare(dry_run=False)
    assert [(state.gate, state.open) for state in cluster.state()] == [(True, False)] * 2


def test_a_gate_whose_last_reload_did_not_come_is_reloaded(lab: Lab, cluster: SshCluster) -> None:
    """Its configuration is ours on disk, and another one in the process."""
    cluster.prepare(dry_run=False)
    edit = f"cp haproxy.cfg ours; sed -Ei 's/({MARK})[0-9a-f]{{4}}/\\10000/' haproxy.cfg"
    lab.ssh("web2", f"cd {ROOT}/servers/web2/gate; {edit}; systemctl reload eg-test-gate; mv ours haproxy.cfg")
    [said] = cluster.prepare(dry_run=True)["web2"]
    assert said.startswith("reload eg-test-gate.service: the gate runs with another configuration")
    cluster.prepare(dry_run=False)
    assert cluster.prepare(dry_run=True)["web2"] == []


def test_a_user_who_becomes_root_does_all_of_it(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    as_deploy = driver(lab, user="deploy", sudo=True)
    try:
        deployed(as_deploy)
        assert [state.running is not None for state in as_deploy.state()] == [True, True]
    finally:
        as_deploy.end()
    assert lab.ssh("web1", f"stat -c %U {ROOT}/servers/web1/record.json").stdout == "root\n"


def test_a_server_that_can_t_take_a_release_says_so_before_it_is_carried(lab: Lab, cluster: SshCluster) -> None:
    image = ROOT / "releases" / "narrow"
    release = images.make(image, "narrow")
    one = Generation("narrow", release, image, Runs(image / "app", ("/bin/true",), user="nobody"))
    cluster.unprepare()
    assert [sentence.split(" (")[0] for sentence in unready(cluster, one)] == [
        "web1, web2: this server is not prepared",
    ]
    cluster.prepare(dry_run=False)
    assert unready(cluster, one) == []
    listens = Generation("narrow", release, image, Runs(image / "app", ("/bin/true",), socket=True))
    [sockets] = unready(cluster, listens)
    assert sockets.startswith("web1, web2: the web process listens on a unix socket")
    there = f"{ROOT}/releases"
    lab.ssh("web2", f"mkdir -p {there} && mount -t tmpfs -o size=8k none {there}")
    [room] = unready(cluster, one)
    assert room.startswith(f"web2: there is no room for the image on the disk of {there}: 1 MB are needed, ")
    assert lab.ssh("web2", f"ls -A {there}").stdout == ""
    lab.ssh("web2", f"umount {there}")
    lab.ssh("web1", "sed -i s/^nobody:/somebody:/ /etc/passwd")
    [user] = unready(cluster, one)
    assert user.startswith("web1: there is no user nobody here (Make it (useradd")
    lab.ssh("web1", "sed -i s/^somebody:/nobody:/ /etc/passwd")


def test_a_server_comes_back_from_a_reboot_as_it_was(lab: Lab, cluster: SshCluster) -> None:
    def work() -> list[bool]:
        return [state.since is not None for state in cluster.tasks() if state.task.kind == "worker"]

    cluster.prepare(dry_run=False)
    two = deployed(cluster, "two", (Task("worker-queue", ("/bin/sleep", "4717")), TIDY))
    lab.reboot("web1")
    cluster.check(two)
    assert [(state.generation, state.open) for state in cluster.state()] == [("two", False)] * 2
    lab.ssh("web1", "systemctl start eg-test-worker@queue eg-test-tasks eg-test-cron@tidy")
    assert [state.since for state in cluster.tasks()] == [None] * 4
    cluster.open(1, "two")
    until(lambda: work() == [True, True], "the workers run")
    lab.reboot("web2")
    cluster.check(two)
    assert [(state.generation, state.open, state.deaths) for state in cluster.state()] == [("two", True, 0)] * 2
    until(lambda: work() == [True, True], "the worker of the server that was restarted runs")
    assert lab.ssh("web2", "pgrep -fxc '/bin/sleep 4717'").stdout == "1\n"

    lab.ssh("web1", "systemctl start eg-test-cron@tidy eg-test-cron@tidy; systemctl start eg-test-cron@tidy")
    until(lambda: lab.ssh("web1", f"cat {ROOT}/said").stdout == "begun\n", "the cron runs, once")
    assert cluster.stop_tasks(1) == len(SERVERS) + 1
    assert lab.ssh("web1", f"cat {ROOT}/said").stdout == "begun\nasked\n"
    [last] = [state.last for state in cluster.tasks() if state.task == TIDY and state.last]
    assert (last.code, last.why) == (None, "stopped")
    assert lab.ssh("web1", "systemctl list-units --failed --no-legend 'eg-test-*'").stdout == ""


def test_a_server_without_units_for_tasks_is_fit_for_a_release_without_tasks_alone(
    lab: Lab, cluster: SshCluster
) -> None:
    cluster.prepare(dry_run=False)
    one = deployed(cluster)
    with_task = replace(one, runs=replace(one.runs, tasks=(Task("worker-queue", ("/bin/true",)),)))
    lab.ssh("web2", "cd /etc/systemd/system && rm eg-test-*@* eg-test-crons.* eg-test-tasks.*; systemctl daemon-reload")
    assert (drift(cluster, "test"), unready(cluster, one)) == ([], [])
    [said] = unready(cluster, with_task)
    assert said.startswith("web2: the release has workers or crons, and this server was prepared before")
    assert list(cluster.prepare(dry_run=False)) == list(SERVERS)
    assert unready(cluster, with_task) == []


def test_servers_tell_what_they_are(cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    deployed(cluster)
    found = facts(cluster)
    assert list(found) == list(SERVERS)
    for server in found.values():
        assert all(version[0].isdigit() for version in server.versions.values())
        assert list(server.versions) == ["Python", "systemd", "HAProxy"]
        assert server.free > server.image > 0
        assert abs(server.ahead) < server.unsure + 1  # the hosts have this machine's clock


def test_what_was_prepared_is_taken_away_again(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    cluster.unprepare()
    cluster.prepare(dry_run=False)
    assert [(state.gate, state.open) for state in cluster.state()] == [(True, False)] * 2
    cluster.unprepare()
    assert "eg-test" not in lab.ssh("web1", "ls -R /etc/systemd/system; systemctl list-units --all").stdout
    assert cluster.unprepare() == {"web1": [], "web2": []}


def test_a_rehearsal_on_them_has_no_error_for_anonymous_visitors(lab: Lab, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "edgeguard", "rehearse", "--driver", "ssh", "--json"]
    ended = subprocess.run(
        [*command, "--driver-config", lab.driver_config],
        env={**os.environ, "PATH": f"/usr/bin:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )
    report = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode, report["outcome"]) == (0, "deployed")
    assert [(server["name"], server["open"]) for server in report["servers"]] == [("web1", True), ("web2", True)]
    assert report["visitors"]["anonymous"]["errors"] == 0
    assert report["visitors"]["origin"]["errors"] > 0  # it was closed


def test_a_server_that_was_changed_is_named_where_people_look(lab: Lab, cluster: SshCluster) -> None:
    cluster.prepare(dry_run=False)
    assert drift(cluster, "production") == []
    lab.ssh("web2", "echo >> /etc/systemd/system/eg-test-web.service")
    [said] = drift(cluster, "production")
    assert said.startswith("web2 is not as `edgeguard cluster prepare production` leaves it; that would write /etc/")
