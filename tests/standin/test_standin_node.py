"""The node through its port, with a small policy of its own installed through the API and a real origin behind it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.standin.conftest import Standin, SwitchableOrigin

POLICY = {
    "recv": """
        declare local var.grace INTEGER;
        set var.grace = std.atoi(table.lookup(policy, "grace", "60"));
        set req.max_stale_if_error = var.grace;
    """,
    "miss": 'if (table.lookup(policy, "hold", "0") == "1" && stale.exists) { return(deliver_stale); }',
    "fetch": """
        if (beresp.status >= 500 && beresp.status < 600) {
          if (stale.exists) { return(deliver_stale); }
        } else if (beresp.cacheable && beresp.ttl > 0s) {
          set beresp.stale_if_error = 1000s;
        }
    """,
    "error": "if (obj.status >= 500 && obj.status < 600 && stale.exists) { return(deliver_stale); }",
    "deliver": """
        if (resp.stale) { set resp.http.Seen-Stale = "yes"; }
        set resp.http.Seen-State = fastly_info.state;
    """,
}
_paths = (f"/page{number}" for number in itertools.count())


@pytest.fixture
def path() -> str:
    return next(_paths)


@pytest.fixture
def items(standin: Standin) -> Iterator[Callable[..., None]]:
    """Installs the policy, and sets its dictionary's items."""
    dictionary = standin.install(dictionary="policy", **POLICY)

    def put(**values: str) -> None:
        rows = [{"op": "upsert", "item_key": key, "item_value": value} for key, value in values.items()]
        standin.ok("PATCH", f"/dictionary/{dictionary}/items", json={"items": rows})

    put(grace="60", hold="0")
    yield put
    standin.install()


def broken(origin: SwitchableOrigin) -> None:
    origin.answers(500, b"broken")


def refusing(origin: SwitchableOrigin) -> None:
    origin.down()


@pytest.mark.parametrize("fail", [broken, refusing])
@pytest.mark.parametrize(
    ("grace", "later", "expected"),
    [
        ("60", 9, (200, None)),
        ("60", 11, (200, "yes")),
        ("60", 69, (200, "yes")),
        ("60", 71, ("error", None)),
        ("500", 71, (200, "yes")),
        ("500", 511, ("error", None)),
        ("9999", 1009, (200, "yes")),
        ("9999", 1011, ("error", None)),
        ("0", 11, ("error", None)),
    ],
)
def test_a_page_outlives_its_origin_by_the_lower_limit(
    *,
    standin: Standin,
    origin: SwitchableOrigin,
    items: Callable[..., None],
    path: str,
    fail: Callable[[SwitchableOrigin], None],
    grace: str,
    later: float,
    expected: tuple[int | str, str | None],
) -> None:
    """TTL 10 s, 1000 s stored with the object; the dictionary's limit is read at the request, so it reaches objects
    that are cached already."""
    standin.edge.get(path)
    fail(origin)
    items(grace=grace)
    standin.set("clock", skew=later)
    answer = standin.edge.get(path)
    status = 500 if fail is broken else 503
    assert (status if expected[0] == "error" else expected[0], expected[1]) == (
        answer.status_code,
        answer.headers.get("Seen-Stale"),
    )


def test_a_limit_that_was_raised_and_lowered_acts_at_once(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str
) -> None:
    standin.edge.get(path)
    broken(origin)
    standin.set("clock", skew=100)
    seen = []
    for grace in ("60", "600", "60", "600"):
        items(grace=grace)
        seen.append(standin.edge.get(path).status_code)
    assert seen == [500, 200, 500, 200]


@pytest.mark.usefixtures("items")
def test_a_healthy_origin_is_asked_when_a_page_is_stale(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    states = [standin.edge.get(path).headers["Seen-State"]]
    states.append(standin.edge.get(path).headers["Seen-State"])
    standin.set("clock", skew=11)
    states.append(standin.edge.get(path).headers["Seen-State"])
    assert states == ["MISS", "HIT", "MISS"]
    assert len(origin.asked) == 2


def test_a_hold_serves_stale_without_asking_and_asks_for_what_is_cold(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str
) -> None:
    standin.edge.get(path)
    origin.asked.clear()
    items(hold="1")
    standin.set("clock", skew=11)
    held = standin.edge.get(path)
    assert (
        held.headers["Seen-Stale"],
        held.headers["Seen-State"],
        held.headers["X-Cache"],
    ) == ("yes", "HIT-STALE", "HIT")
    assert origin.asked == []
    assert standin.edge.get(next(_paths)).status_code == 200
    assert len(origin.asked) == 1


@pytest.mark.usefixtures("items")
def test_a_held_visitor_waits_only_when_the_fetch_comes_first(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str
) -> None:
    """The older order of Fastly's documentation: a conditional fetch, without vcl_miss."""
    origin.answers(etag='"1"', cache_control="max-age=10")
    standin.edge.get(path)
    origin.asked.clear()
    broken(origin)
    items(hold="1")
    standin.set("clock", skew=11)
    standin.set("switches", vcl_miss_before_conditional_fetch=False)
    assert standin.edge.get(path).headers.get("Seen-Stale") == "yes"
    assert [headers["if-none-match"] for _, _, headers, _ in origin.asked] == ['"1"']


@pytest.mark.usefixtures("items")
def test_soft_and_hard_purges(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(surrogate_key="one two", cache_control="max-age=10")
    for soft, expected in (({"Fastly-Soft-Purge": "1"}, 200), ({}, 500)):
        origin.answers(surrogate_key="one two", cache_control="max-age=10")
        standin.edge.get(path)
        broken(origin)
        ids = standin.ok("POST", "/purge", headers={"Surrogate-Key": "zero two", **soft})
        assert isinstance(ids, dict)
        assert {"zero", "two"} == ids.keys()
        assert expected == standin.edge.get(path).status_code


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_purge_by_url_and_of_everything(standin: Standin, origin: SwitchableOrigin, path: str, scheme: str) -> None:
    standin.edge.get(f"{path}?q=1")
    standin.edge.get(path)
    host = standin.edge.base_url.netloc.decode()
    assert standin.api.post(f"/purge/{scheme}{host}{path}?q=1").status_code == 200
    assert [standin.edge.get(p).headers["Seen-State"] for p in (f"{path}?q=1", path)] == ["MISS", "HIT"]
    standin.ok("POST", "/purge_all", headers={"Fastly-Soft-Purge": "1"})
    broken(origin)
    assert standin.edge.get(path).status_code == 500, "a purge of everything is never soft"


@pytest.mark.usefixtures("items")
def test_a_304_renews_the_page_without_vcl_fetch(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    """It keeps its body; the limit that vcl_fetch had set is lost when the 304 names a TTL, unless switched."""
    outcomes = []
    for survives in (False, True):
        standin.reset()
        standin.set("switches", sie_survives_304=survives)
        origin.answers(body=b"first", etag='"1"', cache_control="max-age=10")
        standin.edge.get(path)
        origin.answers(304, etag='"1"', cache_control="max-age=20", x_new="1")
        standin.set("clock", skew=11)
        renewed = standin.edge.get(path)
        assert (
            renewed.status_code,
            renewed.content,
            renewed.headers["x-new"],
            renewed.headers["Age"],
        ) == (200, b"first", "1", "0")
        broken(origin)
        standin.set("clock", skew=30)
        assert standin.edge.get(path).status_code == 200, "fresh for 20 s"
        standin.set("clock", skew=32)
        outcomes.append(standin.edge.get(path).status_code)
    assert outcomes == [500, 200]


@pytest.mark.usefixtures("items")
def test_what_is_passed_is_never_kept(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    for _ in range(2):
        assert standin.edge.post(path, content=b"data").headers["Seen-State"] == "PASS"
    assert [(method, body) for method, _, _, body in origin.asked] == [("POST", b"data")] * 2
    origin.answers(cache_control="private, max-age=10")
    standin.edge.get(path)
    origin.answers(set_cookie="a=b", cache_control="max-age=10")
    standin.edge.get(path)
    broken(origin)
    assert standin.edge.get(path).status_code == 500


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize(("status", "kept"), [(200, True), (404, True), (301, True), (403, False), (201, False)])
def test_which_statuses_are_kept(
    standin: Standin, origin: SwitchableOrigin, path: str, status: int, *, kept: bool
) -> None:
    origin.answers(status, cache_control="max-age=10")
    standin.edge.get(path)
    assert ("HIT" if kept else "MISS") == standin.edge.get(path).headers["X-Cache"]


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize(
    ("headers", "remaining"),
    [
        ({}, 3600),
        ({"Cache-Control": "public"}, 3600),
        ({"Cache-Control": "max-age=50"}, 50),
        ({"Cache-Control": "max-age=50, s-maxage=40"}, 40),
        ({"Cache-Control": "max-age=50", "Surrogate-Control": "max-age=30"}, 30),
        ({"Cache-Control": "max-age=50", "Age": "20"}, 30),
    ],
)
def test_ttl_and_debug_header(
    standin: Standin, origin: SwitchableOrigin, path: str, headers: dict[str, str], remaining: int
) -> None:
    origin.behaviour.headers = (("Surrogate-Key", "k"), *headers.items())
    plain = standin.edge.get(path)
    assert not {"surrogate-key", "surrogate-control", "fastly-debug-ttl"} & set(plain.headers)
    debugged = standin.edge.get(path, headers={"Fastly-Debug": "1"})
    found, node, ttl, sie, age = debugged.headers["Fastly-Debug-TTL"].strip("()").split()
    assert ("H", debugged.headers["X-Served-By"], 1000.0) == (found, node, float(sie))
    assert remaining - 5 < float(ttl) <= remaining
    assert int(headers.get("Age", "0")) <= int(age) == int(debugged.headers["Age"])
    assert debugged.headers["Surrogate-Key"] == "k"


@pytest.mark.usefixtures("items")
def test_head_conditions_and_hop_by_hop(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(body=b"x" * 123, etag='"1"', cache_control="max-age=10", connection="X-Secret", x_secret="s")
    head = standin.edge.head(path, headers={"If-None-Match": '"1"', "Connection": "X-Mine", "X-Mine": "m"})
    assert head.status_code == 304
    method, _, headers, _ = origin.asked[0]
    assert method == "GET", "a HEAD that misses is fetched whole"
    assert not {"if-none-match", "x-mine"} & headers.keys()
    assert headers["x-forwarded-for"] == "127.0.0.1"
    whole = standin.edge.head(path)
    assert (whole.headers["Content-Length"], whole.content, whole.headers.get("X-Secret")) == ("123", b"", None)
    assert standin.edge.get(path, headers={"If-None-Match": 'W/"1", "2"'}).status_code == 304
    assert standin.edge.get(path, headers={"If-None-Match": '"2"'}).status_code == 200
    assert len(origin.asked) == 1


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize("early", [True, False])
def test_misses_of_one_page_are_one_fetch(
    standin: Standin, origin: SwitchableOrigin, path: str, *, early: bool
) -> None:
    standin.set("switches", collapse_before_miss=early)
    release = threading.Event()
    origin.behaviour.delay = release
    with ThreadPoolExecutor(8) as visitors:
        waiting = [visitors.submit(standin.edge.get, path) for _ in range(8)]
        while not origin.asked:
            time.sleep(0.005)
        release.set()
        answers = [visitor.result() for visitor in waiting]
    assert {200} == {answer.status_code for answer in answers}
    assert len(origin.asked) == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_hold_and_a_fetch_that_was_under_way_before(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str, *, waits: bool
) -> None:
    """Whoever asks for the same page waits for that fetch, if requests are collapsed before vcl_miss."""
    standin.set("switches", collapse_before_miss=waits)
    standin.edge.get(path)
    release = threading.Event()
    origin.behaviour.delay = release
    standin.set("clock", skew=11)
    origin.asked.clear()
    with ThreadPoolExecutor(1) as visitors:
        first = visitors.submit(standin.edge.get, path)
        while not origin.asked:
            time.sleep(0.005)
        items(hold="1")
        try:
            answer = standin.edge.get(path, timeout=0.3)
        except httpx.ReadTimeout:
            answer = None
        release.set()
        assert first.result().headers["Seen-State"] == "MISS"
    assert (answer is None) is waits
    assert answer is None or answer.headers["Seen-State"] == "HIT-STALE"


@pytest.mark.usefixtures("items")
def test_a_visitor_who_leaves_holds_up_nobody(standin: Standin, origin: SwitchableOrigin, path: str) -> None:
    origin.answers(500)
    with socket.create_connection(("127.0.0.1", standin.edge.base_url.port)) as visitor:
        visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert standin.edge.get(path).status_code == 500


def test_dictionary_writes_arrive_late_whole_and_in_order(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str
) -> None:
    standin.edge.get(path)
    broken(origin)
    standin.set("clock", skew=100)
    standin.set("propagation", seconds=0.3)
    written = time.monotonic()
    items(grace="600")
    standin.set("propagation", seconds=0)
    items(hold="1")
    assert standin.edge.get(path).status_code == 500
    while standin.edge.get(path).status_code == 500:
        assert time.monotonic() < written + 5
        time.sleep(0.02)
    assert time.monotonic() >= written + 0.3


@pytest.mark.parametrize(("is_error", "expected"), [(True, 503), (False, 200)])
def test_deliver_stale_with_nothing_to_deliver(
    standin: Standin, origin: SwitchableOrigin, path: str, *, is_error: bool, expected: int
) -> None:
    standin.install(miss="return(deliver_stale);")
    standin.set("switches", deliver_stale_with_nothing_is_error=is_error)
    assert expected == standin.edge.get(path).status_code
    assert (0 if is_error else 1) == len(origin.asked)


def test_stale_exists_may_promise_what_the_limit_forbids(
    standin: Standin, origin: SwitchableOrigin, items: Callable[..., None], path: str
) -> None:
    standin.edge.get(path)
    broken(origin)
    items(grace="5")
    standin.set("clock", skew=20)
    assert standin.edge.get(path).status_code == 500
    standin.set("switches", stale_exists_obeys_limit=False)
    assert (
        (answer := standin.edge.get(path)).status_code,
        answer.reason_phrase,
    ) == (503, "No stale object available")


def test_an_error_of_the_policys_own(standin: Standin, origin: SwitchableOrigin) -> None:
    """error in recv goes by way of vcl_hash to vcl_error; what that makes is delivered and not stored."""
    standin.install(
        recv='if (req.url == "/own") { error 661 "mine"; }',
        error="""
            if (obj.status == 661) {
              set obj.status = 200;
              set obj.response = "OK";
              set obj.http.Content-Type = "text/plain";
              synthetic "now=" now.sec;
              return(deliver);
            }
        """,
    )
    standin.set("clock", skew=5000)
    answer = standin.edge.get("/own")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain")
    assert abs(time.time() + 5000 - int(answer.text.removeprefix("now="))) < 5
    assert origin.asked == []


def test_restarts_end(standin: Standin, path: str) -> None:
    standin.install(error="restart;", recv='error 601 "again";')
    assert standin.edge.get(path).status_code == 503


def test_an_edge_without_an_active_version_serves_nothing(standin: Standin, path: str) -> None:
    standin.install()
    active = next(version["number"] for version in standin.versions() if version["active"])
    standin.ok("PUT", f"/version/{active}/deactivate")
    try:
        assert standin.edge.get(path).status_code == 500
    finally:
        standin.ok("PUT", f"/version/{active}/activate")
    assert standin.edge.get(path).status_code == 200


def test_a_visitor_of_another_time(standin: Standin, path: str) -> None:
    """HTTP/1.0, no Host, no keep-alive."""
    standin.install()
    with socket.create_connection(("127.0.0.1", standin.edge.base_url.port)) as visitor:
        visitor.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while data := visitor.recv(65536):
            answer += data
    assert answer.split(b"\r\n")[0].endswith(b"200 OK")
    assert answer.endswith(b"\r\n\r\npage")


def test_what_is_not_http_is_refused(standin: Standin) -> None:
    with socket.create_connection(("127.0.0.1", standin.edge.base_url.port)) as visitor:
        visitor.sendall(b"hello\r\n\r\n")
        assert b" 400 " in visitor.recv(65536).split(b"\r\n")[0]
        assert visitor.recv(65536) == b""
