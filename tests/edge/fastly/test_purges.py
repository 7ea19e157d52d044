"""Purges against the stand-in: the calls of the API, their pace, and the pages afterwards."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.edge.fastly.api import TIMEOUTS, Api
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.edge.fastly.policy import GROUPS
from edgeguard.edge.fastly.purges import PURGE_KEYS
from edgeguard.edge.purging import address
from edgeguard.errors import EdgeUnavailable, OriginsUnhealthy, UsageError
from edgeguard.purge import Purge
from edgeguard.purge.run import Run
from edgeguard.settings import EdgeSettings, PurgeSettings
from edgeguard.site.asking import ask
from tests.edge.standin_edge import TOKEN, StandinEdge
from tests.http_server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

SOFTLY, HARD = True, False


@pytest.fixture
def standin_edge(standin_edge: StandinEdge) -> Iterator[StandinEdge]:
    yield standin_edge
    standin_edge.control("DELETE", "/plants")


def purges(standin_edge: StandinEdge, since: int) -> list[dict[str, Any]]:
    """The purges that the API was asked for and carried out."""
    return [row for row in history(standin_edge)[since:] if row["method"] == "POST" and row["status"] == 200]


def history(standin_edge: StandinEdge) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = standin_edge.control("GET", "/history")
    return rows


@dataclass
class Waits:
    """Replaces the clock's sleep. It notes the waits, and runs an act at some of them."""

    at: dict[int, Callable[[], object]] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)

    def __call__(self, seconds: float) -> None:
        self.seen.append(seconds)
        self.at.get(len(self.seen), lambda: None)()


def run(standin_edge: StandinEdge, waits: Callable[[float], None] = lambda _: None, **settings: float) -> Run:
    return Run(standin_edge.edge, PurgeSettings.model_validate(settings), standin_edge.settings, sleep=waits)


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("/plain?x=1&y=%2F", "/plain?x=1&y=%2F"),
        ("/two words?q=a b", "/two%20words?q=a%20b"),
        ("/caf\u00e9?q=\u00fc", "/caf%C3%A9?q=%C3%BC"),
        ("/%e3%81%82", "/%e3%81%82"),
        ("/100%?p=%zz", "/100%?p=%zz"),
        ("/a/./b/../c/%2E%2e/d", "/a/d"),
        ("/a//b;c=1,2:3@4?", "/a//b;c=1,2:3@4?"),
        ("/page#part", "/page"),
        ("/a'b(c)*?a'b=[1]|{2}", "/a'b(c)*?a%27b=[1]|{2}"),
        ("", "/"),
    ],
)
def test_a_page_is_purged_by_the_address_that_its_visitors_type(
    standin_edge: StandinEdge, typed: str, asked: str
) -> None:
    standin_edge.origin.pages[asked] = (200, {"Cache-Control": "max-age=1000"})
    standin_edge.edge.purge_url(standin_edge.ready["edge_url"] + asked, soft=HARD)  # an earlier test's
    standin_edge.get(asked)
    standin_edge.get(asked)
    before = standin_edge.asked(asked)
    purged = standin_edge.edge.purge_url(standin_edge.ready["edge_url"] + typed, soft=SOFTLY)
    standin_edge.get(asked)
    assert (before, standin_edge.asked(asked)) == (1, 2)
    assert len(purged.ids) == 1


def test_a_softly_purged_page_is_served_stale_and_a_hard_purged_one_is_not(standin_edge: StandinEdge) -> None:
    standin_edge.install(standin_edge.policy())
    for soft, status in ((SOFTLY, 200), (HARD, 500)):
        path = standin_edge.page()
        standin_edge.get(path)
        standin_edge.edge.purge_url(standin_edge.ready["edge_url"] + path, soft=soft)
        standin_edge.origin.closed = True
        answer = standin_edge.get(path)
        standin_edge.origin.closed = False
        assert answer.status // 100 == status // 100
        assert history(standin_edge)[-1]["soft"] == soft


def test_no_address_becomes_another_call_of_the_api(standin_edge: StandinEdge) -> None:
    path = standin_edge.page(cache="max-age=1000")
    standin_edge.get(path)
    since = len(history(standin_edge))
    climbing = f"/service/{standin_edge.settings.service}/purge_all"
    for up in ("/../..", "/%2e%2e/.%2E", "/a/../../..", "/..\\.."):
        standin_edge.edge.purge_url(standin_edge.ready["edge_url"] + up + climbing)
    assert [row["path"] for row in history(standin_edge)[since:]] == [f"/purge/{_host(standin_edge)}{climbing}"] * 4
    standin_edge.get(path)
    assert standin_edge.asked(path) == 1


def _host(standin_edge: StandinEdge) -> str:
    return standin_edge.ready["edge_url"].removeprefix("http://")


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://WWW.Example.COM", "www.example.com/"),
        ("https://www.example.com:443/a", "www.example.com/a"),
        ("http://www.example.com:8080?q", "www.example.com:8080/?q"),
        ("https://b\u00fccher.example/", "xn--bcher-kva.example/"),
        ("http://[::1]:8080/", "[::1]:8080/"),
    ],
)
def test_hosts_are_written_as_browsers_send_them(url: str, sent: str) -> None:
    assert address(url) == sent


@pytest.mark.parametrize(
    "url",
    [
        *("", "news", "/news", "ftp://h/", "http://", "http:///x", "http://u:p@h/", "http://h:99999/", "http://h:x/"),
        *("http://h/a\nb", "http://h\t/", "http://[/", "https://a b/", "https://-\u00e4..\u00e4/", "javascript:x"),
    ],
)
def test_what_is_no_page_is_refused_unsent(standin_edge: StandinEdge, url: str) -> None:
    since = len(history(standin_edge))
    with pytest.raises(UsageError):
        standin_edge.edge.purge_url(url)
    assert history(standin_edge)[since:] == []


def test_the_api_is_called_as_bounded_for_addresses_as_for_all_else(standin_edge: StandinEdge) -> None:
    """A lost call is repeated only if it is soft, a 429 always. A wrong token is an error. No call waits for ever."""
    standin_edge.control("POST", "/plants", {"add": {"domain": [{"name": "h"}]}})
    fail(standin_edge, drop="after", times=1)
    standin_edge.edge.purge_url("http://h/")
    fail(standin_edge, drop="after", times=1)
    with pytest.raises(EdgeUnavailable, match="no answer"):
        standin_edge.edge.purge_url("http://h/", soft=HARD)
    fail(standin_edge, status=429, times=1)
    standin_edge.edge.purge_url("http://h/", soft=HARD)
    fail(standin_edge, delay=2.0, times=1)
    impatient = Api(standin_edge.settings.api_url, TOKEN, timeouts=(TIMEOUTS[0], 0.2))
    with pytest.raises(EdgeUnavailable, match="timed out"):
        impatient.post("/purge/h/", "purge", {})
    with pytest.raises(EdgeUnavailable, match="refused"):
        Api("http://127.0.0.1:9", TOKEN, sleep=lambda _: None).post("/purge/h/", "purge", {})
    with pytest.raises(EdgeUnavailable, match="SSL"):
        Api(standin_edge.settings.api_url.replace("http", "https"), TOKEN, sleep=lambda _: None).post(
            "/purge/h/", "p", {}
        )


def fail(standin_edge: StandinEdge, **fault: object) -> None:
    standin_edge.control("POST", "/faults", {"api": {"match": {"method": "POST"}, **fault}})


# -- long lists ------------------------------------------------------------------------------------------------------

KEYS = tuple(f"key-{number}" for number in range(10_000))


def test_ten_thousand_keys_are_forty_calls(standin_edge: StandinEdge) -> None:
    since, waits = len(history(standin_edge)), Waits()
    done = run(standin_edge, waits).purge(Purge(keys=KEYS))
    assert [row["keys"] for row in purges(standin_edge, since)] == [
        list(KEYS[n : n + PURGE_KEYS]) for n in range(0, 10_000, 256)
    ]
    assert (done["keys"], done["requests"], len(done["ids"])) == (10_000, 40, 10_000)
    assert waits.seen == [1.0] * 39


def test_a_throttled_list_is_purged_whole_and_no_key_twice(standin_edge: StandinEdge) -> None:
    """429 with a time to wait, without one, and more often than one call is tried."""
    since = len(history(standin_edge))
    waits = Waits(
        {
            3: lambda: fail(standin_edge, status=429, headers={"Retry-After": "0"}, times=2),
            20: lambda: fail(standin_edge, status=429, headers={"Retry-After": "30"}, times=1),
            30: lambda: fail(standin_edge, status=429, times=5),
        }
    )
    told: list[str] = []
    edge, settings = ByVcl(standin_edge.settings, TOKEN, ask), PurgeSettings(pace=0.5)
    Run(edge, settings, standin_edge.settings, sleep=waits, told=told.append).purge(Purge(keys=KEYS, soft=SOFTLY))
    assert [key for row in purges(standin_edge, since) for key in row["keys"]] == list(KEYS)
    assert len([row for row in history(standin_edge)[since:] if row["status"] == 429]) == 8
    assert 30.0 in waits.seen, "it comes back when it was told to"
    assert len([text for text in told if "again in" in text]) == 2


def test_a_hard_purge_is_repeated_where_it_was_surely_not_done_only(standin_edge: StandinEdge) -> None:
    wanted = Purge(keys=KEYS[:300], soft=HARD)
    since = len(history(standin_edge))
    run(standin_edge, Waits({1: lambda: fail(standin_edge, status=429, times=5)})).purge(wanted)
    assert [key for row in purges(standin_edge, since) for key in row["keys"]] == list(KEYS[:300])
    since = len(history(standin_edge))
    with pytest.raises(EdgeUnavailable, match=r"; 1 of 2 calls are made, and what comes next is key-256$"):
        run(standin_edge, Waits({1: lambda: fail(standin_edge, drop="after", times=1)})).purge(wanted)
    assert len(history(standin_edge)[since:]) == 3, "a look at the service, and two purges"


def test_an_api_that_stays_away_is_waited_for_so_long_and_no_longer(standin_edge: StandinEdge) -> None:
    waits = Waits({2: lambda: fail(standin_edge, status=503)})
    with pytest.raises(EdgeUnavailable, match=r"503.*; 2 of 40 calls are made, and what comes next is key-512$"):
        run(standin_edge, waits, patience=2).purge(Purge(keys=KEYS))
    assert waits.seen == [1.0, 1.0, 1.0]
    standin_edge.control("DELETE", "/faults")
    fail(standin_edge, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(EdgeUnavailable, match=r"; nothing is purged$") as caught:
        run(standin_edge).purge(Purge(keys=KEYS))
    assert "1 h" in caught.value.remedy


def test_one_key_that_can_not_be_one_keeps_all_from_being_purged(standin_edge: StandinEdge) -> None:
    since = len(history(standin_edge))
    for wanted in (Purge(keys=(*KEYS, "two words")), Purge(keys=("news",), urls=("http://h/", "nonsense"))):
        with pytest.raises(UsageError):
            run(standin_edge).purge(wanted)
    assert history(standin_edge)[since:] == []


# -- shields ---------------------------------------------------------------------------------------------------------


def test_a_shielded_service_is_purged_twice(standin_edge: StandinEdge) -> None:
    planted = {"backend": [{"name": "site", "shield": "bwi-va-us"}], "domain": [{"name": "h"}]}
    standin_edge.control("POST", "/plants", {"add": planted})
    wanted, waits = Purge(keys=KEYS[:600], urls=("http://h/x",)), Waits()
    since = len(history(standin_edge))
    done = run(standin_edge, waits, pace=0).purge(wanted)
    paths = [row["path"].split("/")[-1] for row in purges(standin_edge, since)]
    assert paths == ["purge"] * 3 + ["x"] + ["purge"] * 3 + ["x"]
    assert (done["keys"], done["urls"], done["requests"], done["second_pass"]) == (600, 1, 8, True)
    assert 1.5 < max(waits.seen) <= 2.0
    since = len(history(standin_edge))
    run(standin_edge, pace=0, second_pass=0).purge(wanted)
    assert len(purges(standin_edge, since)) == 4


def test_a_second_pass_can_be_asked_for_and_begins_while_the_first_goes_on(standin_edge: StandinEdge) -> None:
    since = len(history(standin_edge))
    Run(standin_edge.edge, PurgeSettings(pace=0.05, second_pass=0.02), standin_edge.settings, sleep=time.sleep).purge(
        Purge(keys=KEYS[:700])
    )
    firsts = [row["keys"][0] for row in purges(standin_edge, since)]
    assert firsts == ["key-0", "key-0", "key-256", "key-256", "key-512", "key-512"]


def test_a_token_for_purges_alone_will_do_and_purges_twice_to_be_sure(standin_edge: StandinEdge) -> None:
    standin_edge.control("POST", "/plants", {"tokens": {"only-purges": {"scopes": ["purge_select"]}}})
    edge = ByVcl(standin_edge.settings, "only-purges", ask)
    assert edge.shielded() is None
    done = Run(edge, PurgeSettings(), standin_edge.settings, sleep=lambda _: None).purge(Purge(keys=("news",)))
    assert (done["requests"], done["second_pass"]) == (2, True)
    assert standin_edge.edge.shielded() is False


# -- every page ------------------------------------------------------------------------------------------------------


@dataclass
class Door:
    """A front door. A test chooses the duration and the status of its answers."""

    url: str = ""
    seconds: float = 0.0
    status: int = 200


@contextmanager
def door() -> Iterator[Door]:
    here = Door()

    def answer(request: BaseHTTPRequestHandler) -> None:
        time.sleep(here.seconds)
        request.send_response(here.status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(answer) as url:
        here.url = f"{url}/"
        yield here


def behind(standin_edge: StandinEdge, here: Door) -> EdgeSettings:
    return standin_edge.settings.model_copy(update={"health_url": here.url})


def test_every_page_is_purged_by_its_group_a_few_at_a_time(standin_edge: StandinEdge) -> None:
    standin_edge.install(standin_edge.policy())
    path = standin_edge.page(cache="max-age=1000")
    standin_edge.get(path)
    since, waits = len(history(standin_edge)), Waits()
    with door() as here:
        done = Run(standin_edge.edge, PurgeSettings(), behind(standin_edge, here), sleep=waits).purge(
            Purge(groups=True)
        )
    rows = purges(standin_edge, since)
    assert [key for row in rows for key in row["keys"]] == list(GROUPS)
    assert {(len(row["keys"]), row["soft"]) for row in rows} == {(8, True)}
    assert (done["keys"], done["requests"]) == (256, 32)
    assert len(waits.seen) >= 31
    standin_edge.get(path)
    assert standin_edge.asked(path) == 2


@pytest.mark.parametrize("bad", [{"seconds": 0.6}, {"status": 503}])
def test_the_purge_waits_for_an_origin_that_can_not_keep_up(standin_edge: StandinEdge, bad: dict[str, Any]) -> None:
    told: list[str] = []
    made: list[int] = []
    since = len(history(standin_edge))
    with door() as here:

        def turn(state: dict[str, Any]) -> None:
            vars(here).update(state)
            made.append(len(purges(standin_edge, since)))

        waits = Waits({5: lambda: turn(bad), 7: lambda: turn({"seconds": 0.0, "status": 200})})
        Run(standin_edge.edge, PurgeSettings(), behind(standin_edge, here), sleep=waits, told=told.append).purge(
            Purge(groups=True)
        )
    assert made[0] == made[1], "nothing is purged while the origin is not well"
    assert [key for row in purges(standin_edge, since) for key in row["keys"]] == list(GROUPS)
    assert len([text for text in told if "when it is well" in text]) >= 2


def test_the_purge_is_given_up_where_the_origin_stays_slow(standin_edge: StandinEdge) -> None:
    since = len(history(standin_edge))
    with door() as here:
        waits = Waits({3: lambda: vars(here).update(seconds=0.6)})
        slow = Run(standin_edge.edge, PurgeSettings(patience=3), behind(standin_edge, here), sleep=waits)
        with pytest.raises(OriginsUnhealthy, match=r"can't keep up: .* of 32 calls are made.* eg-[0-9a-f]{2}$"):
            slow.purge(Purge(groups=True))
    assert 1 <= len(purges(standin_edge, since)) <= 3


def test_every_page_of_a_site_that_is_not_well_is_not_purged(standin_edge: StandinEdge) -> None:
    since = len(history(standin_edge))
    with door() as here:
        here.status = 500
        with pytest.raises(OriginsUnhealthy, match=r"answers 500 .*; nothing is purged$"):
            Run(standin_edge.edge, PurgeSettings(), behind(standin_edge, here)).purge(Purge(groups=True))
    assert purges(standin_edge, since) == []


def test_everything_at_once_takes_the_grace_away(standin_edge: StandinEdge) -> None:
    """Fastly can't do it softly, so a person has to ask for it twice."""
    path = standin_edge.page(cache="max-age=1000")
    standin_edge.get(path)
    since = len(history(standin_edge))
    done = run(standin_edge).purge(Purge(everything=True, soft=HARD))
    assert [row["path"].split("/")[-1] for row in purges(standin_edge, since)] == ["purge_all"]
    assert (done["keys"], done["requests"], done["ids"]) == (0, 1, [])
    standin_edge.origin.closed = True
    assert standin_edge.get(path).status >= 500
