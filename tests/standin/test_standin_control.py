from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.standin.conftest import Standin


def statuses(standin: Standin, count: int) -> list[int]:
    return [standin.api.get(standin.at("/version")).status_code for _ in range(count)]


def test_the_history_is_what_the_api_was_asked(standin: Standin) -> None:
    before = len(standin.control.get("/history").json())
    at = time.time()
    standin.api.get(standin.at("/version"))
    standin.api.get("/nothing")
    standin.api.post(standin.at("/purge"), headers={"Surrogate-Key": "a b", "Fastly-Soft-Purge": "1"})
    new = standin.control.get("/history").json()[before:]
    assert [
        ("GET", standin.at("/version"), 200),
        ("GET", "/nothing", 404),
        ("POST", standin.at("/purge"), 200),
    ] == [(entry["method"], entry["path"], entry["status"]) for entry in new]
    assert (new[2]["keys"], new[2]["soft"]) == (["a", "b"], True)
    assert at <= new[0]["at"] <= new[2]["at"]


def test_a_fault_fails_so_many_times(standin: Standin) -> None:
    standin.set("faults", api={"status": 503, "times": 2})
    assert statuses(standin, 3) == [503, 503, 200]


def test_a_fault_lasts_until_it_is_taken_back(standin: Standin) -> None:
    standin.set("faults", api={"status": 500})
    assert statuses(standin, 2) == [500, 500]
    assert [fault["status"] for fault in standin.control.get("/faults").json()] == [500]
    standin.control.delete("/faults")
    assert statuses(standin, 1) == [200]


def test_a_fault_for_some_requests(standin: Standin) -> None:
    standin.set("faults", api={"status": 503, "match": {"method": "POST", "path_prefix": standin.at("/purge")}})
    assert statuses(standin, 1) == [200]
    assert standin.api.post(standin.at("/purge_all")).status_code == 503


def test_throttling_with_and_without_a_hint(standin: Standin) -> None:
    standin.set("faults", api={"status": 429, "headers": {"Retry-After": "2"}, "times": 1})
    standin.set("faults", api={"status": 429, "times": 1})
    answers = [standin.api.get("/tokens/self") for _ in range(3)]
    assert [(answer.status_code, answer.headers.get("Retry-After")) for answer in answers] == [
        (429, "2"),
        (429, None),
        (200, None),
    ]


@pytest.mark.parametrize(("drop", "applied"), [("before", 0), ("after", 1)])
def test_an_answer_may_be_lost_before_or_after_the_act(standin: Standin, drop: str, applied: int) -> None:
    versions = len(standin.versions())
    standin.set("faults", api={"drop": drop, "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        standin.api.put(standin.at("/version/1/clone"))
    assert versions + applied == len(standin.versions())
    clone = [entry for entry in standin.control.get("/history").json() if entry["path"].endswith("/clone")][-1]
    assert clone["status"] is None


def test_an_answer_may_be_cut_in_the_middle_of_its_body(standin: Standin) -> None:
    standin.set("faults", api={"drop": "within", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        standin.api.get(standin.at("/version"))
    assert statuses(standin, 1) == [200]


@pytest.mark.parametrize(("apply", "applied"), [(False, 0), (True, 1)])
def test_another_answer_may_come_in_place_of_the_right_one(standin: Standin, *, apply: bool, applied: int) -> None:
    versions = len(standin.versions())
    fault = {"body": "<html>\xff", "headers": {"Content-Type": "text/html"}, "apply": apply, "times": 1}
    standin.set("faults", api=fault)
    answer = standin.api.put(standin.at("/version/1/clone"))
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, b"<html>\xff", "text/html")
    assert versions + applied == len(standin.versions())


def test_a_fault_lets_some_requests_pass_first(standin: Standin) -> None:
    standin.set("faults", api={"status": 401, "skip": 2, "times": 1, "match": {"method": "GET"}})
    assert statuses(standin, 4) == [200, 200, 401, 200]


def test_a_late_answer_may_be_to_what_was_done_at_once(standin: Standin) -> None:
    versions = len(standin.versions())
    standin.set("faults", api={"delay": 30, "apply": True, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        standin.api.put(standin.at("/version/1/clone"), timeout=0.1)
    assert len(standin.versions()) == versions + 1


def test_the_history_can_begin_anew(standin: Standin) -> None:
    standin.control.delete("/history")
    assert statuses(standin, 1) == [200]
    assert len(standin.control.get("/history").json()) == 1


def test_a_delay_holds_up_only_its_request(standin: Standin) -> None:
    standin.set("faults", api={"delay": 30, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        standin.api.get("/tokens/self", timeout=0.1)
    assert statuses(standin, 1) == [200]


@pytest.mark.parametrize(
    ("face", "content"),
    [
        ("faults", {"api": {"statuss": 503}}),
        ("faults", {"edge": {}}),
        ("faults", {"api": {"drop": "sometimes"}}),
        ("faults", {"api": {"body": "\u20ac"}}),
        ("switches", {"unknown": True}),
        ("switches", {"batch_is_atomic": "yes"}),
        ("propagation", {"seconds": -1}),
        ("clock", {}),
    ],
)
def test_what_it_can_not_take_is_refused(standin: Standin, face: str, content: dict[str, object]) -> None:
    answer = standin.control.post(f"/{face}", json=content)
    assert answer.status_code == 400
    assert answer.json()["msg"]
    assert standin.control.get("/faults").json() == []


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_change_needs_the_token_and_reading_does_not(standin: Standin, key: str | None) -> None:
    headers = {} if key is None else {"Fastly-Key": key}
    with httpx.Client(base_url=standin.control_url, headers=headers, trust_env=False) as stranger:
        for path in ("/history", "/faults", "/switches", "/nodes"):
            assert stranger.get(path).status_code == 200
        refused = [
            stranger.post("/faults", json={"api": {"status": 500}}),
            stranger.post("/switches", json={"batch_is_atomic": False}),
            stranger.post("/plants", json={"comment": "theirs"}),
            stranger.delete("/history"),
            stranger.delete("/nothing"),
        ]
    assert [answer.status_code for answer in refused] == [401] * len(refused)
    assert "Fastly-Key" in refused[0].json()["msg"]
    assert standin.control.get("/faults").json() == []


def test_an_unknown_path_is_not_found(standin: Standin) -> None:
    assert standin.control.get("/").status_code == 404
