"""People who log in on the servers of the driver `ssh`: they come and go with a release, or without a deploy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.cluster import Closure, Generation, Runs, User
from edgeguard.cluster.preparing import drift
from edgeguard.cluster.ssh.driver import SshCluster
from edgeguard.cluster.users import changes, not_named
from edgeguard.errors import ClusterError
from edgeguard.settings import ClusterSettings, UserSettings
from edgeguard.testing import images
from tests.lab import needs
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.skipif(
    bool(needs.missing()) and "CI" not in os.environ, reason="; ".join(needs.missing()) or "this machine can have a lab"
)

SERVERS = ("web1", "web2")
ROOT = Path("/var/lib/edgeguard-lab/users")
CLOSURE = Closure("d1", 2_000_000_000)
ENDED = 255  # ssh's own code, for a connection that ended or was not let in
_QUIET = ">/dev/null 2>&1 </dev/null"
_SSHD = "/etc/ssh/sshd_config.d"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab("users")
    made.down()
    made.up(SERVERS)
    try:
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def people(lab: Lab) -> dict[str, User]:
    """Two people with a key each, and the user of the servers as whom they log in."""
    folder = Path(lab.ssh_config).parent
    for server in SERVERS:
        lab.ssh(server, "useradd --system --create-home --shell /bin/bash site")
    found = {}
    for name in ("ada", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
        found[name] = User(name, ((folder / f"{name}.pub").read_text().strip(),), "ssh")
    lines = [line for line in Path(lab.ssh_config).read_text().splitlines() if "IdentityFile" not in line]
    (folder / "people_config").write_text("\n".join(lines) + "\n")
    return found


def named(people: Iterable[User]) -> tuple[UserSettings, ...]:
    return tuple(UserSettings(name=user.name, keys=user.keys) for user in people)


@pytest.fixture
def cluster(lab: Lab, people: dict[str, User]) -> Iterator[SshCluster]:
    settings = ClusterSettings(
        driver="ssh",
        servers=SERVERS,
        root=ROOT,
        user="site",
        users=named(people.values()),
        health_path="/health",
        start_timeout=20,
        options={"ssh_config": str(lab.ssh_config)},
    )
    found = SshCluster("test", settings)
    yield found
    found.unprepare()
    found.end()


def made_current(cluster: SshCluster, name: str, users: Iterable[User], *, greeting: str) -> Generation:
    """A generation with these users is current and healthy, behind closed gates."""
    image = ROOT / "releases" / "one"
    start = ("/bin/sh", "-c", f"exec /usr/bin/python3 -I -S {images.PROGRAM}")
    variables = {"PATH": "/usr/bin:/bin", "GREETING": greeting}
    runs = Runs(image / "app", start, user="site")
    found = Generation(name, images.make(image, "one"), image, runs, variables, tuple(users))
    if cluster.read_record()["web1"] is None:
        cluster.write_record(1, {}, expected=0)
    cluster.stage(1, found)
    cluster.close(1, CLOSURE)
    cluster.swap(1, name)
    cluster.check(found)
    return found


def said_by(lab: Lab, variable: str) -> str:
    """What the application has in this variable."""
    ask = (
        f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8888/env?{variable}').read().decode(), end='')"
    )
    return str(lab.ssh("web1", f'python3 -c "{ask}"').stdout)


def login_of(lab: Lab, who: str, command: str) -> list[str]:
    folder = Path(lab.ssh_config).parent
    own = ["-o", "User=site", "-o", f"IdentityFile={folder / who}", "-o", "ControlPath=none"]
    return ["ssh", "-F", str(folder / "people_config"), *own, "web1", command]


def log_in(lab: Lab, who: str, command: str = "true") -> subprocess.CompletedProcess[str]:
    return subprocess.run(login_of(lab, who, command), capture_output=True, text=True, timeout=60, check=False)


def let_in(lab: Lab, people: Iterable[str]) -> list[str]:
    """Those of these people who can log in."""
    return [who for who in people if log_in(lab, who).returncode == 0]


Stays = Callable[[str, str], "subprocess.Popen[str]"]


@pytest.fixture
def staying(lab: Lab) -> Iterator[Stays]:
    """A login that has done this, and stays."""
    with ExitStack() as ends:

        def stay(who: str, command: str) -> subprocess.Popen[str]:
            argv = login_of(lab, who, f"{command}\necho ready; exec sleep 4710")
            process = ends.enter_context(
                subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            ends.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            return process

        yield stay


def test_who_is_removed_can_not_log_in_after_the_swap_and_their_logins_end(
    lab: Lab, cluster: SshCluster, people: dict[str, User], staying: Stays
) -> None:
    """Also what hides whose it is. A release that comes back brings its people and its variables."""
    assert all(
        any(f"write {_SSHD}/eg-test.conf" in it for it in said) for said in cluster.prepare(dry_run=False).values()
    )
    assert drift(cluster, "test") == []
    both = made_current(cluster, "both", people.values(), greeting="old")
    assert [log_in(lab, who, "echo $EDGEGUARD_USER $(id -un)").stdout for who in people] == ["ada site\n", "bob site\n"]
    bob = staying("bob", f"(env -i setsid sleep 4711 {_QUIET} &); setsid sleep 4711 {_QUIET} & trap '' HUP TERM")
    ada = staying("ada", f"setsid sleep 4712 {_QUIET} &")
    assert cluster.logins()["web1"].open == {"ada": 2, "bob": 2}  # a third one of bob's says nothing of him

    made_current(cluster, "alone", [people["ada"]], greeting="new")
    assert bob.wait(timeout=30) == ENDED
    assert lab.ssh("web1", "pgrep -xf 'sleep 4711' || echo none; pgrep -xc sleep").stdout == "none\n2\n"
    assert (ada.poll(), let_in(lab, people), said_by(lab, "GREETING")) == (None, ["ada"], "new")

    cluster.swap(1, "both")  # as a deploy that is taken back
    cluster.check(both)
    assert (let_in(lab, people), said_by(lab, "GREETING")) == (["ada", "bob"], "old")
    assert str(not_named(cluster, "both", named([people["ada"]]))).startswith("bob (ssh-ed25519 …")
    assert not_named(cluster, "both", named(people.values())) is None

    bob = staying("bob", "true")
    cluster.let_in(1, [people["ada"]])
    assert (bob.wait(timeout=30), ada.poll(), let_in(lab, people)) == (ENDED, None, ["ada"])
    assert changes(cluster.logins(), [people["ada"]]) == {}
    cluster.stage(1, replace(both, name="again", variables={}, copy_of="both"))
    cluster.swap(1, "again")
    assert let_in(lab, people) == ["ada"]  # who was removed without a deploy stays out
    cluster.let_in(1, list(people.values()))
    assert let_in(lab, people) == ["ada", "bob"]
    cluster.unprepare()
    assert let_in(lab, people) == []


def test_nobody_is_let_in_where_that_would_not_hold(lab: Lab, cluster: SshCluster) -> None:
    """sshd looks elsewhere, does not trust the place, or the account can't have a shell. Then nothing was changed."""
    for breaks, mends, said in (
        (
            "printf 'Match User site\\nAuthorizedKeysFile none\\n' > {0}/a.conf",
            "rm {0}/a.conf",
            "sshd would not read",
        ),
        ("echo 'Match User site' > {0}/eg-other.conf", "rm {0}/eg-other.conf", "another environment log in as site"),
        ("echo Nonsense > {0}/b.conf", "rm {0}/b.conf", "refuses its configuration"),
        (f"chmod g+w {ROOT}", f"chmod g-w {ROOT}", "sshd trusts no keys below"),
        ("usermod --shell /usr/sbin/nologin site", "usermod --shell /bin/bash site", "the shell of site is"),
    ):
        lab.ssh("web2", breaks.format(_SSHD))
        with pytest.raises(ClusterError, match=said) as raised:
            cluster.prepare(dry_run=False)
        assert raised.value.remedy
        assert raised.value.server == "web2"
        assert "eg-test" not in lab.ssh("web2", f"ls {_SSHD}").stdout
        lab.ssh("web2", mends.format(_SSHD))
