"""What is said of servers, from facts about them. Nothing is asked here."""

from __future__ import annotations

from edgeguard.cluster import ServerState
from edgeguard.cluster.facts import Facts, mixed
from edgeguard.doctor.servers import about

VERSIONS = {"Python": "3.11.2", "systemd": "252", "HAProxy": "2.6.12"}


def facts(*, systemd: str = "252", ahead: float = 0.0, free: int = 10_000_000) -> Facts:
    return Facts({**VERSIONS, "systemd": systemd}, ahead, 0.5, free, 5_000_000)


def said(**found: Facts) -> list[tuple[str, str]]:
    return [(finding.name, finding.text) for finding in about(found)]


def test_servers_that_are_alike_are_told_in_one_line() -> None:
    assert said(web1=facts(), web2=facts(ahead=2.4)) == [
        ("servers", "web1, web2: Python 3.11.2, systemd 252, HAProxy 2.6.12")
    ]
    assert said() == []


def test_a_server_that_differs_is_named() -> None:
    found = said(web1=facts(), web2=facts(systemd="249", ahead=-3600), web3=facts(ahead=90, free=1_000_000))
    assert [name for name, _ in found] == ["versions-differ", "little-room", "clocks-differ", "clocks-differ"]
    assert "web2: Python 3.11.2, systemd 249" in found[0][1]
    assert found[1][1] == "web3 has 1 MB free for images, and the one that serves takes 5 MB"
    assert found[2][1] == "the clock of web2 is 1 h behind this machine's"
    assert found[3][1] == "the clock of web3 is 90 s ahead of this machine's"


def test_servers_with_another_release_than_the_others_are_named() -> None:
    one, two = "a" * 64, "b" * 64
    servers = [
        ServerState(name, "g", release, release, open=True)
        for name, release in (("web1", one), ("web2", two), ("web3", one))
    ]
    assert mixed(servers) == "the servers have not one release (web1, web3: aaaaaaaaaaaa; web2: bbbbbbbbbbbb)"
    assert mixed(servers[:1]) is None
