"""What somebody else wrote into the dictionary: named by every command that reads it, and never in anybody's way."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from edgeguard.cli import main
from edgeguard.edge.claim import Claim
from edgeguard.edge.fastly.api import ATTEMPTS, Api
from edgeguard.edge.fastly.by_vcl import ByVcl
from edgeguard.errors import EdgeUnavailable, Locked
from edgeguard.grace import audit, claims, pipeline, show, support
from edgeguard.grace.strays import MOST, find
from edgeguard.machine.signals import Stop
from edgeguard.site.asking import ask
from tests.edge.standin_edge import BASE, CEILING, TOKEN, StandinEdge
from tests.grace.edge_side import claimed, edge_side, in_force
from tests.http_server import Request, serving

if TYPE_CHECKING:
    from pathlib import Path

    from edgeguard.environment import EdgeSide

NOW = 1_800_000_000
LINE = "audit-1700000000000-bad"
DEEP = "[" * 3999 + "]" * 3999
LINES = {
    "deep": DEEP,
    "deep in a known part": f'{{"who": {"[" * 3000}{"]" * 3000}}}',
    "nothing": "",
    "no JSON": "{torn",
    "no object": '"text"',
    "null": "null",
    "a large float": '{"until": 1e300}',
    "an endless number": '{"until": 1e999}',
    "not a number": '{"until": NaN, "grace": -Infinity}',
    "4000 digits": f'{{"until": {"9" * 4000}}}',
    "5000 digits": f'{{"grace": {"9" * 5000}}}',
    "a negative time": '{"until": -1}',
    "a yes": '{"until": true}',
    "a list for a text": '{"who": ["a"]}',
    "a number for a text": '{"did": 7}',
    "null for a text": '{"why": null}',
    "an object for a nonce": '{"nonce": {"a": 1}}',
    "more than an item holds": json.dumps({"why": "x" * 9000}),
}
SLOT_VALUES = {
    "JSON": '{"until": 1}',
    "deep": DEEP,
    "4000 digits": f"{'9' * 4000}:600:abcd1234",
    "half a character": "\ud800",
    "other digits": "\u0661" * 10 + ":600:abcd1234",
    "a line more": "1900000000:600:abcd1234\n",
    "another slot's": "1900000000:600:1900000000:abcd1234",
    "a float": "1e300",
    "far too long": "9999999999:600:abcd1234",
    "control characters": "\x1b[2J\x00",
}


@pytest.mark.parametrize("value", LINES.values(), ids=LINES.keys())
def test_a_line_of_another_form_is_named_and_hides_no_other(value: str) -> None:
    good = audit.line({}, at=NOW, did="grace extend", why="w", slot="support1", who="me")
    items = {LINE: value, **{key: said or "" for key, said in good.items()}}
    assert [said["who"] for said in audit.lines(items)] == ["me"]
    [found] = find(items, now=NOW, ceiling=CEILING)
    assert (found.name, LINE in found.text, found.bad) == ("unreadable-audit", True, True)
    assert found.text.isascii()
    assert found.remedy


def test_half_a_character_in_a_line_can_be_printed() -> None:
    [said] = audit.lines({LINE: '{"who": "\\ud800x", "why": "\\udfff", "until": 1, "later": [1.5]}'})
    assert said == {"at": 1_700_000_000.0, "who": "?x", "why": "?", "until": 1}
    json.dumps(said, ensure_ascii=False).encode()


@pytest.mark.parametrize("value", SLOT_VALUES.values(), ids=SLOT_VALUES.keys())
def test_a_slot_without_a_claim_is_named(value: str) -> None:
    items = {"support3": value, "support1": Claim("support1", NOW + 60, 600, "abcd1234").value(), "support2": "0:0"}
    [found] = find(items, now=NOW, ceiling=CEILING)
    assert (found.name, "support3" in found.text, found.bad) == ("unreadable-claim", True, True)
    assert "grace release ENV support3" in found.remedy
    assert found.text.isascii()
    assert found.text.isprintable()


def test_a_hold_that_is_too_long_is_named_and_a_claim_that_has_ended_is_not() -> None:
    held = Claim("deploy0", NOW + 60, 600, "abcd1234", NOW + 7200).value()
    [found] = find({"deploy0": held, "deploy1": held.replace("18", "17")}, now=NOW, ceiling=CEILING)
    assert (found.name, "deploy0 holds" in found.text) == ("unreadable-claim", True)


def test_items_of_others_are_noted_and_counted() -> None:
    found = find({f"base{number:02}": "1e300" for number in range(MOST + 7)}, now=NOW, ceiling=CEILING)
    assert {(each.name, each.severity) for each in found} == {("unknown-item", "note")}
    assert len(found) == MOST + 1
    assert found[-1].text == f"7 more items are like these {MOST}"


# -- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def config(standin_edge: StandinEdge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment's file, and a site that is well."""
    ready = standin_edge.ready
    (tmp_path / "site.toml").write_text(
        f'[edge]\nservice = "{ready["service_id"]}"\nurl = "{ready["edge_url"]}"\nhealth_url = "{ready["edge_url"]}/"\n'
        f'api_url = "{ready["api_url"]}"\nbase_grace = {BASE}\nceiling = {CEILING}\npropagation = 0.05\n'
        "confirm_timeout = 5\nhealthy_rounds = 1\nhealthy_for = 0\nhealthy_timeout = 1\n"
        '[claim]\nduration = 600\nhold = 3\n[purge]\ndefault = "none"\n'
    )
    monkeypatch.setenv("FASTLY_API_TOKEN", TOKEN)
    monkeypatch.setenv("EDGEGUARD_CONFIG", str(tmp_path))
    standin_edge.origin.pages["/"] = (200, {"Cache-Control": "max-age=1"})


def plant(standin_edge: StandinEdge, items: dict[str, str]) -> None:
    """Write items as anybody with a token can: also half characters, which JSON can write."""
    standin_edge.edge.items()
    dictionary = standin_edge.api("GET", f"/version/{standin_edge.active()}/dictionary")[0]["id"]
    rows = [{"op": "upsert", "item_key": key, "item_value": value} for key, value in items.items()]
    url = f"{standin_edge.ready['api_url']}/service/{standin_edge.ready['service_id']}/dictionary/{dictionary}/items"
    headers = {"Fastly-Key": TOKEN, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"items": rows}).encode(), headers, method="PATCH")
    with urllib.request.urlopen(request, timeout=10):
        pass


ODD = {
    LINE: DEEP,
    "audit-1700000000001-bad": '{"until": 1e300, "who": "\\ud800"}',
    "audit-1700000000002-bad": '{"who": NaN}',
    "audit-1700000000003-odd": '{"who": "\\ud800", "why": "\\udfff\\u0000"}',
    "support3": "\ud800",
    "support4": "9" * 4000,
    "deploy1": '{"until": [1e300]}',
    "base": "NaN",
    "\ud801": "\x1b[2J",
}


@pytest.mark.usefixtures("config")
def test_every_command_names_what_others_wrote_and_goes_on(
    standin_edge: StandinEdge, capsys: pytest.CaptureFixture[str]
) -> None:
    claimed(standin_edge, support1=600)
    plant(standin_edge, ODD)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, _ = run("grace", "show", "site", "--audit", "50", "--json")
    shown: dict[str, Any] = json.loads(out)
    assert code == 0
    assert [claim["id"] for claim in shown["claims"]] == ["support1"]
    named = [each["text"] for each in shown["findings"]]
    assert all(any(name in text for text in named) for name in ODD if name.isascii() and not name.endswith("odd"))
    assert run("grace", "show", "site", "--audit", "50")[0] == 0
    for arguments in (
        ("hook", "pre", "site"),
        ("hook", "post", "site", "deploy0"),
        ("wrap", "site", "--", "true"),
        ("grace", "extend", "site", "--for", "10m"),
        ("grace", "release", "site", "support2"),
    ):
        code, _, err = run(*arguments)
        assert code == 0, (arguments, err)
        assert all(name in err for name in ("support3", "support4", "deploy1", LINE)), (arguments, err)
    code, out, _ = run("doctor", "site", "--json")
    names = {each["name"] for each in json.loads(out)["findings"]}
    assert {"unreadable-claim", "unreadable-audit", "unknown-item"} <= names
    code, out, _ = run("probe", "site", "--format", "json")
    assert code == 0
    texts = [each["text"] for each in json.loads(out)["findings"] if each["name"] == "unreadable-claim"]
    assert [text.split()[2] for text in texts] == ["deploy1", "support3", "support4"]
    assert in_force(standin_edge) == BASE + 600
    assert run("grace", "release", "site", "support3")[0] == 0
    assert standin_edge.edge.item("support3") == "0:0"


@pytest.mark.parametrize("value", [None, 7, 1.5, True, ["0:0"], {"until": 1}, [[[]]]])
def test_a_value_that_is_no_text_hides_no_other(standin_edge: StandinEdge, value: object) -> None:
    """The API gives texts. A dictionary of which one value is another thing can be read all the same."""
    service = standin_edge.ready["service_id"]
    rows = [{"item_key": "support1", "item_value": "0:0"}, {"item_key": "support2", "item_value": value}]

    def act(request: Request) -> None:
        said: object = rows if "/items" in request.path else rows[1] if "/item/" in request.path else None
        if request.path.endswith("/dictionary"):
            said = [{"id": "d", "name": "edgeguard"}]
        body = json.dumps(said or {"active_version": {"number": 1}}).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with serving(act) as url:
        settings = standin_edge.settings.model_copy(update={"api_url": url, "service": service})
        edge = ByVcl(settings, TOKEN, ask)
        items = edge.items()
        assert items["support2"] == edge.item("support2") == json.dumps(value)
    assert items["support1"] == "0:0"
    assert [found.name for found in find(items, now=NOW, ceiling=CEILING)] == ["unreadable-claim"]


def test_a_dictionary_of_120_lines_shows_the_claim_behind_them(standin_edge: StandinEdge) -> None:
    """Two people, a dictionary of more than a page, and slots that come last in it."""
    plant(standin_edge, {f"audit-{1_700_000_000_000 + number}-abcd": "{}" for number in range(120)})
    environment = edge_side(standin_edge)
    claimed(standin_edge, support1=600)

    made = support.extend(environment, lasting=300, reason="")
    assert made["id"] == "support2"


# -- writes that land late ------------------------------------------------------------------------------------------


def late(standin_edge: StandinEdge, seconds: float) -> EdgeSide:
    """An environment whose first write is answered late, and done only then: its command gives it up before."""
    api = Api(standin_edge.settings.api_url, TOKEN, timeouts=(2.0, 0.2), sleep=lambda _: None)
    edge = ByVcl(standin_edge.settings, TOKEN, ask, api=api)
    edge.items()
    fault = {"delay": seconds, "times": ATTEMPTS, "match": {"method": "PATCH"}}
    standin_edge.control("DELETE", "/history")
    standin_edge.control("POST", "/faults", {"api": fault})
    return edge_side(standin_edge, edge)


def names(environment: EdgeSide) -> dict[str, str]:
    found = show.grace(environment, now=time.time())["findings"]
    return {each["name"]: f"{each['text']} {each['remedy']}" for each in found}


def named(standin_edge: StandinEdge, name: str) -> str:
    """The finding of this name, once every attempt of a late write has landed. Empty if none has come."""
    until = time.monotonic() + 30
    found = ""
    while (not found or under_way(standin_edge)) and time.monotonic() < until:
        time.sleep(0.05)
        found = names(edge_side(standin_edge)).get(name, "")
    return found


def under_way(standin_edge: StandinEdge) -> bool:
    """Whether a write has come to the API and is not done yet."""
    asked = standin_edge.control("GET", "/history")
    return any(each["method"] == "PATCH" and each["status"] is None for each in asked)


@pytest.mark.parametrize("ahead", [0.0, 0.5, 1.0, 1.9])
def test_a_line_that_takes_back_is_newer_than_a_write_under_way_whatever_the_clock_said_then(ahead: float) -> None:
    claim = Claim("support1", NOW + 60, 600, "abcd1234")
    under_way = audit.line({}, at=NOW + ahead, did="grace extend", why="", slot="support1", claim=claim)
    taken = audit.line({}, at=NOW, did="grace extend", why="given up", slot="support1", takes_back=True)
    items = {key: said or "" for key, said in (taken | under_way).items()} | {"support1": claim.value()}
    assert [found.name for found in find(items, now=NOW, ceiling=CEILING)] == ["claim-late"]
    after = audit.line(items, at=NOW - 1, did="grace release", why="", slot="support1")
    assert max(*items.keys() - {"support1"}, *after) in after


def test_a_claim_that_lands_after_its_command_gave_it_up_is_named(standin_edge: StandinEdge) -> None:
    with pytest.raises(EdgeUnavailable):
        support.extend(late(standin_edge, 1.5), lasting=600, reason="")
    assert names(edge_side(standin_edge)) == {}
    found = named(standin_edge, "claim-late")
    assert "support1 is in force" in found
    assert "edgeguard grace release site support1" in found
    said: list[str] = []
    assert support.extend(edge_side(standin_edge), lasting=60, reason="", say=said.append)["id"] == "support2"
    assert any("support1" in text for text in said)
    support.release(edge_side(standin_edge), "support1", reason="")
    assert names(edge_side(standin_edge)) == {}


def test_a_pipelines_claim_that_lands_after_it_was_taken_back_is_named(standin_edge: StandinEdge) -> None:
    with pytest.raises(EdgeUnavailable):
        pipeline.pre(late(standin_edge, 1.5), stop=Stop(), lasting=600)
    assert "edgeguard hook post site deploy0" in named(standin_edge, "claim-late")
    said: list[str] = []
    with pytest.raises(Locked):
        pipeline.pre(edge_side(standin_edge), stop=Stop(), lasting=600, say=said.append)
    assert "deploy0" in said[0]


def test_a_release_that_lands_late_and_takes_a_claim_away_is_named(standin_edge: StandinEdge) -> None:
    support.extend(edge_side(standin_edge), lasting=600, reason="")
    standin_edge.edge.write({"support1": "0:0"})
    assert "support1 has no claim in force" in names(edge_side(standin_edge))["claim-lost"]


def test_ordinary_claims_are_no_strays(standin_edge: StandinEdge) -> None:
    standin_edge.origin.pages["/"] = (200, {"Cache-Control": "max-age=1"})
    environment = edge_side(standin_edge, purge__default="none")
    support.extend(environment, lasting=600, reason="", who="me")
    support.extend(environment, lasting=300, reason="", who="me", prolongs="support1")
    made = pipeline.pre(environment, stop=Stop(), lasting=600, hold=60)
    claims.renew(environment, made.claim, now=time.time(), lasting=900, hold=60)
    assert names(environment) == {}
    pipeline.post_failed(environment, made.claim.slot)
    assert names(environment) == {}
    pipeline.pre(environment, stop=Stop(), lasting=600)
    pipeline.post(environment, made.claim.slot, stop=Stop())
    support.release(environment, "support1", reason="")
    assert names(environment) == {}


def test_two_people_at_one_moment_in_a_full_dictionary_leave_no_stray(standin_edge: StandinEdge) -> None:
    plant(standin_edge, {f"audit-{1_700_000_000_000 + number}-abcd": "{}" for number in range(199)})
    made: list[str] = []
    environments = [edge_side(standin_edge, edge__propagation=0.5) for _ in range(2)]
    people = [
        threading.Thread(target=lambda each=each: made.append(support.extend(each, lasting=600, reason="")["id"]))
        for each in environments
    ]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert len(set(made)) == 2
    shown = show.grace(edge_side(standin_edge), now=time.time())
    assert {claim["id"] for claim in shown["claims"]} == set(made)
    assert shown["findings"] == []
