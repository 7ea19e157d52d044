from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeguard.edge.fastly import policy
from edgeguard.edge.fastly.api import ATTEMPTS, PATIENCE, Api, Throttled
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.edge.fastly.purges import PURGE_BYTES, PURGE_KEYS
from edgeguard.errors import EdgeError, EdgeguardError, EdgeUnauthorized, EdgeUnavailable, UsageError
from edgeguard.site.asking import ask
from tests.edge.standin_edge import TOKEN, StandinEdge
from tests.http_server import HEAD, HOSTILE, bomb, hostile, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

    from edgeguard.settings import EdgeSettings


@pytest.fixture
def standin_edge(module_standin_edge: StandinEdge) -> StandinEdge:
    module_standin_edge.reset()
    return module_standin_edge


@pytest.fixture
def edge(standin_edge: StandinEdge) -> ByVcl:
    edge = ByVcl(standin_edge.settings, TOKEN, ask)
    edge.install("the tests: a policy is needed")
    return edge


def elsewhere(standin_edge: StandinEdge, token: str = TOKEN, **settings: str) -> ByVcl:
    return ByVcl(standin_edge.settings.model_copy(update=settings), token, ask)


def asked(standin_edge: StandinEdge, act: Callable[[], object]) -> list[str]:
    """The requests to the API in the block: their methods, and the last parts of their paths."""
    before = len(standin_edge.control("GET", "/history"))
    act()
    rows = standin_edge.control("GET", "/history")[before:]
    return [f"{row['method']} {row['path'].split('?')[0].split('/')[-1]}" for row in rows]


def fail(standin_edge: StandinEdge, **fault: object) -> None:
    standin_edge.control("POST", "/faults", {"api": fault})


# -- the policy ------------------------------------------------------------------------------------------------------


def test_install_is_idempotent_and_policy_tells_what_differs(standin_edge: StandinEdge) -> None:
    edge = ByVcl(standin_edge.settings, TOKEN, ask)
    before = edge.policy()
    assert before.revision is None
    assert "snippet edgeguard_init is missing" in before.differences
    assert "dictionary edgeguard is missing" in before.differences
    installed = edge.install("ops: first time")
    assert (installed.revision, installed.differences) == (policy.revision(standin_edge.settings), ())
    comment = standin_edge.api("GET", f"/version/{installed.version}")["comment"]
    assert comment == f"edgeguard policy {installed.revision}: ops: first time"
    calls = asked(standin_edge, lambda: edge.install("again"))
    assert [call for call in calls if not call.startswith("GET")] == []
    assert edge.policy() == replace(installed, diff="")


def test_installing_leaves_the_snippets_of_others_and_what_is_in_the_dictionary(
    standin_edge: StandinEdge, edge: ByVcl
) -> None:
    edge.write({"deploy0": "0:0"})
    draft = standin_edge.api("PUT", f"/version/{standin_edge.active()}/clone")["number"]
    foreign = {"name": "theirs", "type": "recv", "content": "# theirs", "priority": "5", "dynamic": "0"}
    standin_edge.api("POST", f"/version/{draft}/snippet", foreign)
    standin_edge.api("DELETE", f"/version/{draft}/snippet/edgeguard_miss")
    old = foreign | {"name": "edgeguard_of_old"}
    standin_edge.api("POST", f"/version/{draft}/snippet", old)
    standin_edge.api("PUT", f"/version/{draft}/activate")
    assert edge.policy().differences == ("snippet edgeguard_of_old is superfluous", "snippet edgeguard_miss is missing")
    installed = edge.install("repair")
    names = {row["name"] for row in standin_edge.api("GET", f"/version/{installed.version}/snippet")}
    assert names == {"theirs"} | {one.name for one in standin_edge.policy()}
    assert edge.items()["deploy0"] == "0:0"


def test_another_setting_is_another_revision(standin_edge: StandinEdge, edge: ByVcl) -> None:
    other = elsewhere(standin_edge, status_name="other-name")
    assert [line for line in other.policy().differences if "content" in line]
    assert other.install("other name").revision != policy.revision(standin_edge.settings)
    assert other.status().base == standin_edge.settings.base_grace
    edge.install("back")


def changed(settings: EdgeSettings) -> EdgeSettings:
    """Settings under which the policy differs, so that there is something to install."""
    return settings.model_copy(update={"status_name": "changed"})


@pytest.mark.parametrize(("method", "last"), [("POST", "snippet"), ("GET", "validate"), ("PUT", "activate")])
@pytest.mark.usefixtures("edge")
def test_a_draft_that_fails_is_named_and_not_activated(standin_edge: StandinEdge, method: str, last: str) -> None:
    active = standin_edge.active()
    versions = len(standin_edge.api("GET", "/version"))
    fail(standin_edge, status=400, match={"method": method, "path_prefix": _next(standin_edge, last)})
    with pytest.raises(EdgeError, match=f"draft {versions + 1} is left behind, not activated"):
        ByVcl(changed(standin_edge.settings), TOKEN, ask).install("will fail")
    assert standin_edge.active() == active
    standin_edge.control("DELETE", "/faults")
    standin_edge.api("PUT", f"/version/{versions + 1}/lock")  # so that no later attempt goes on with it


def test_a_policy_that_does_not_compile_beside_the_services_own_vcl_is_told_in_fastlys_words(
    standin_edge: StandinEdge, edge: ByVcl
) -> None:
    draft = standin_edge.api("PUT", f"/version/{standin_edge.active()}/clone")["number"]
    for row in standin_edge.api("GET", f"/version/{draft}/snippet"):
        standin_edge.api("DELETE", f"/version/{draft}/snippet/{row['name']}")
    theirs = {"name": "theirs", "type": "init", "content": "sub edgeguard_grace { }", "priority": "5", "dynamic": "0"}
    standin_edge.api("POST", f"/version/{draft}/snippet", theirs)
    standin_edge.api("PUT", f"/version/{draft}/activate")
    with pytest.raises(EdgeError, match=f"Fastly refuses the policy: .*edgeguard_grace.*draft {draft + 1}"):
        edge.install("will not compile")
    assert standin_edge.active() == draft
    draft = standin_edge.api("PUT", f"/version/{draft}/clone")["number"]
    standin_edge.api("DELETE", f"/version/{draft}/snippet/theirs")
    standin_edge.api("PUT", f"/version/{draft}/activate")


def test_an_activation_whose_answer_is_lost_is_looked_up_not_repeated(standin_edge: StandinEdge, edge: ByVcl) -> None:
    fail(standin_edge, drop="after", times=1, match={"method": "PUT", "path_prefix": _next(standin_edge, "activate")})
    calls = asked(standin_edge, lambda: ByVcl(changed(standin_edge.settings), TOKEN, ask).install("lost"))
    assert calls.count("PUT activate") == 1
    edge.install("back")


def _next(standin_edge: StandinEdge, last: str) -> str:
    return f"/service/{standin_edge.settings.service}/version/{len(standin_edge.api('GET', '/version')) + 1}/{last}"


# -- items -----------------------------------------------------------------------------------------------------------


def test_a_claim_is_one_write(standin_edge: StandinEdge, edge: ByVcl) -> None:
    edge.items()
    assert asked(standin_edge, lambda: edge.write({"deploy0": "0:0", "support1": "0:0"})) == ["PATCH items"]
    assert asked(standin_edge, lambda: edge.write({})) == []


def test_removing_is_harmless_twice(edge: ByVcl) -> None:
    edge.write({"audit-1": "a", "audit-2": "b"})
    for _ in range(2):
        edge.write({"audit-1": None, "never-there": None, "audit-2": "c"})
        assert (edge.items().get("audit-1"), edge.items()["audit-2"]) == (None, "c")


def test_a_write_whose_answer_is_lost_is_repeated(standin_edge: StandinEdge, edge: ByVcl) -> None:
    edge.write({"gone": "x"})
    fail(standin_edge, drop="after", times=1, match={"method": "PATCH"})
    edge.write({"deploy0": "1:1", "gone": None})
    assert (edge.items()["deploy0"], "gone" in edge.items()) == ("1:1", False)


def test_many_items_are_read_page_by_page(edge: ByVcl) -> None:
    many = {f"many-{n}": "x" for n in range(900)}
    edge.write(many)
    edge.write({f"more-{n}": "x" for n in range(200)})
    assert len([key for key in edge.items() if key[:4] in {"many", "more"}]) == 1100
    edge.write(dict.fromkeys(many))
    edge.write({f"more-{n}": None for n in range(200)})


@pytest.mark.usefixtures("edge")
def test_items_need_the_policy(standin_edge: StandinEdge) -> None:
    with pytest.raises(EdgeError, match="no dictionary 'other'") as caught:
        elsewhere(standin_edge, dictionary="other").items()
    assert "edge install" in caught.value.remedy


# -- status ----------------------------------------------------------------------------------------------------------


def test_what_is_not_our_status_is_no_status(standin_edge: StandinEdge, edge: ByVcl) -> None:
    assert edge.status().revision == policy.revision(standin_edge.settings)
    for settings in (
        {"status_name": "nothing-there"},
        {"url": "http://127.0.0.1:9"},
        {"url": standin_edge.ready["control_url"]},
    ):
        with pytest.raises(EdgeUnavailable) as caught:
            elsewhere(standin_edge, **settings).status()
        assert "edge diff" in caught.value.remedy


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "node=a revision=b now=x base=1 grace=1 hold=0",
        "node=a revision=b now=1 base=1 grace=1 hold=2",
        "=" * 9,
    ],
)
def test_a_line_that_is_no_status_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a status answer"):
        policy.read_status(line)


# -- purges ----------------------------------------------------------------------------------------------------------


def test_purges_go_in_calls_of_256_keys_and_softly(standin_edge: StandinEdge, edge: ByVcl) -> None:
    before = len(standin_edge.control("GET", "/history"))
    purged = edge.purge([f"key-{n}" for n in range(600)] + ["key-0"])
    assert [one.keys for one in purged] == [PURGE_KEYS, PURGE_KEYS, 88]
    assert [len(one.ids) for one in purged] == [PURGE_KEYS, PURGE_KEYS, 88]
    rows = standin_edge.control("GET", "/history")[before:]
    assert [(len(row["keys"]), row["soft"]) for row in rows] == [(256, True), (256, True), (88, True)]
    edge.purge(["hard/key?"], soft=False)
    assert standin_edge.control("GET", "/history")[-1]["keys"] == ["hard/key?"]
    assert not standin_edge.control("GET", "/history")[-1]["soft"]
    long = ["k" * 1000 + str(n) for n in range(40)]
    assert [one.keys for one in edge.purge(long)] == [PURGE_BYTES // 1003] * 2 + [40 - 2 * (PURGE_BYTES // 1003)]
    assert edge.purge([]) == ()


def test_a_soft_purge_is_repeated_a_hard_one_is_not(standin_edge: StandinEdge, edge: ByVcl) -> None:
    fail(standin_edge, drop="after", times=1)
    assert asked(standin_edge, lambda: edge.purge(["a"])) == ["POST purge"] * 2
    fail(standin_edge, drop="after", times=1)
    with pytest.raises(EdgeUnavailable):
        edge.purge(["a"], soft=False)


@pytest.mark.parametrize("key", ["", "two keys", "a\nb", "\u00e4", "k" * 1025])
def test_what_can_not_be_a_key_is_refused_before_anything_is_purged(
    standin_edge: StandinEdge, edge: ByVcl, key: str
) -> None:
    def act() -> None:
        with pytest.raises(UsageError):
            edge.purge(["good", key])

    assert asked(standin_edge, act) == []


# -- bad days --------------------------------------------------------------------------------------------------------


def test_a_wrong_token_a_wrong_service_and_no_api_are_told_apart(standin_edge: StandinEdge) -> None:
    for token in ("wrong", "x" * 40):
        with pytest.raises(EdgeUnauthorized, match="401"):
            elsewhere(standin_edge, token=token).items()
    with pytest.raises(EdgeError, match="no Fastly service 'nobody'") as caught:
        elsewhere(standin_edge, service="nobody").items()
    assert "edge.service" in caught.value.remedy
    with pytest.raises(EdgeUnavailable, match="Connection refused"):
        elsewhere(standin_edge, api_url="http://127.0.0.1:9").items()
    with pytest.raises(EdgeUnavailable, match="TLS"):
        elsewhere(standin_edge, api_url=standin_edge.ready["api_url"].replace("http", "https")).items()


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_pass_is_waited_for(standin_edge: StandinEdge, edge: ByVcl, status: int) -> None:
    fail(standin_edge, status=status, times=ATTEMPTS - 1)
    edge.write({"deploy1": "0:0"})
    fail(standin_edge, status=status, times=ATTEMPTS)
    with pytest.raises(EdgeUnavailable, match=str(status)):
        edge.write({"deploy1": "0:0"})


def test_a_throttled_call_waits_as_long_as_it_is_told_and_no_longer_than_it_may(standin_edge: StandinEdge) -> None:
    naps: list[float] = []
    api = Api(standin_edge.settings.api_url, TOKEN, sleep=naps.append)
    call = "service.get_service_detail", "look", {"service_id": standin_edge.settings.service}
    fail(standin_edge, status=429, headers={"Retry-After": "7"}, times=1)
    api.call(*call, repeat=True)
    assert naps == [7.0]
    fail(standin_edge, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(Throttled) as caught:
        api.call(*call, repeat=True)
    assert PATIENCE < 3600
    assert (naps, caught.value.wait) == ([7.0], 3600)
    assert caught.value.remedy.startswith("Try again in 1 h;")


@contextmanager
def api_that_answers(body: bytes, status: int = 200) -> Iterator[str]:
    """An API that gives other answers."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with serving(answer) as url:
        yield url


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), (b"\xff\xfe", 200), (b"\xff\xfe", 502), (b"", 200), (b"[]" * 9, 400), (b"", 418)],
)
def test_an_api_of_another_kind_ends_in_our_errors(body: bytes, status: int) -> None:
    with api_that_answers(body, status) as url, pytest.raises(EdgeError):
        Api(url, TOKEN).call("service.get_service_detail", "look", {"service_id": "s"})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500])
def test_no_error_shows_the_token(status: int) -> None:
    """Also if an answer echoes it, and if the quotation is cut in the middle of it."""
    for body in (f'{{"msg": "no {TOKEN}", "detail": "{TOKEN}"}}', "x" * 490 + TOKEN, f"{TOKEN}\n"):
        with api_that_answers(body.encode(), status) as url, pytest.raises(EdgeError) as caught:
            Api(url, TOKEN).call("service.get_service_detail", "look", {"service_id": "s"})
        shown = str(caught.value) + caught.value.message + caught.value.remedy
        assert TOKEN not in shown
        assert TOKEN[:10] not in shown


@pytest.mark.parametrize("how", [*HOSTILE, "is a gzip bomb"])
@pytest.mark.parametrize("status", [b"200", b"500"])
def test_an_api_that_is_hostile_ends_in_our_errors(how: str, status: bytes) -> None:
    """Also where the client reads the body of an error."""
    packed = bomb(64)
    gzip = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    first, pieces, pause = HOSTILE.get(how, (gzip, [packed], 0))
    with serving(hostile(first.replace(b"200", status, 1), pieces, pause)) as url:
        api = Api(url, TOKEN, longest=0.5)
        with pytest.raises(EdgeError, match="no answer"):
            api.once("service.get_service_detail", "look", {"service_id": "s"})
        with pytest.raises(EdgeError, match=r"no answer|not JSON|: 500"):
            api._post("/purge/x", "purge", {})  # noqa: SLF001 (one attempt)


@pytest.mark.parametrize("token", ["", "two words", f"{TOKEN}\nX: y", "t\u00f6ken"])
def test_a_token_that_can_not_be_one_is_refused_unseen(standin_edge: StandinEdge, token: str) -> None:
    with pytest.raises(EdgeguardError) as caught:
        elsewhere(standin_edge, token=token)
    assert TOKEN not in str(caught.value) + caught.value.remedy


def test_importing_the_adapter_imports_no_client() -> None:
    heavy = "{'fastly', 'urllib3', 'tenacity', 'httpx'}"
    adapter = "edgeguard.edge.mechanisms, edgeguard.edge.fastly.service, edgeguard.edge.fastly.api"
    code = f"import sys, {adapter}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_several_threads_may_use_it_at_once(standin_edge: StandinEdge, edge: ByVcl) -> None:
    results: list[object] = []

    def work(n: int) -> None:
        for turn in range(5):
            edge.write({f"thread-{n}": str(turn)})
            results.append(edge.items()[f"thread-{n}"] == str(turn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20
    assert standin_edge.active()
