"""What tests put into the service past the API, and what the API and the edge make of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin, SwitchableOrigin


@pytest.fixture(autouse=True)
def weeded(standin: Standin) -> Iterator[None]:
    yield
    standin.control.delete("/plants")


def plant(standin: Standin, **what: object) -> Any:  # noqa: ANN401 - JSON
    answer = standin.control.post("/plants", json=what)
    assert answer.status_code == 200, answer.text
    return answer.json()


def in_active(standin: Standin, kind: str) -> Any:  # noqa: ANN401 - JSON
    active = next(version["number"] for version in standin.versions() if version["active"])
    return standin.ok("GET", f"/version/{active}/{kind}")


CHECKED: dict[str, dict[str, Any]] = {
    "add": {"healthcheck": [{"name": "alive", "path": "/health", "check_interval": 2000, "window": 10}]},
    "change": {"backend": {"origin": {"healthcheck": "alive", "shield": "london-uk"}}},
}


def test_everything_planted_is_in_the_active_version_and_in_the_details(standin: Standin) -> None:
    before = standin.ok("GET", "")
    planted = plant(
        standin,
        type="wasm",
        comment="theirs",
        settings={"general.stale_if_error": True, "general.stale_if_error_ttl": 60},
        remove={},
        change=CHECKED["change"],
        add=CHECKED["add"]
        | {
            "request_settings": [{"name": "aged", "max_stale_age": "30"}],
            "cache_settings": [{"name": "kept", "stale_ttl": "1500"}],
            "header": [{"name": "cookie", "dst": "http.X"}],
            "snippet": [{"name": "theirs", "type": "deliver", "content": 'set resp.http.X-Theirs = "1";'}],
        },
        draft={"comment": "half done"},
    )
    settings = in_active(standin, "settings")
    assert (settings["general.stale_if_error"], settings["general.stale_if_error_ttl"]) == (True, 60)
    backend, check = in_active(standin, "backend")[0], in_active(standin, "healthcheck")[0]
    assert (backend["name"], backend["healthcheck"], backend["shield"]) == ("origin", "alive", "london-uk")
    assert (check["path"], check["check_interval"], check["window"], check["threshold"]) == ("/health", 2000, 10, 3)
    assert in_active(standin, "request_settings")[0]["max_stale_age"] == "30"
    assert in_active(standin, "cache_settings")[0]["stale_ttl"] == "1500"
    assert in_active(standin, "header")[0]["dst"] == "http.X"
    service, whole = standin.ok("GET", ""), standin.ok("GET", "/details")["active_version"]
    assert (service["type"], whole["comment"], whole["backends"]) == ("wasm", "theirs", [backend])
    drafts = [version for version in service["versions"] if version["number"] == planted["draft"]]
    assert [(draft["comment"], draft["active"], draft["locked"]) for draft in drafts] == [("half done", False, False)]
    assert standin.edge.get("/").headers["X-Theirs"] == "1"

    standin.control.delete("/plants")
    assert standin.ok("GET", "") == before
    assert "X-Theirs" not in standin.edge.get("/").headers


@pytest.mark.parametrize(
    "wrong",
    [
        {"add": {"snippet": [{"name": "broken", "type": "recv", "content": "nonsense"}]}},
        {"add": {"backend": [{"name": "origin"}]}},
        {"remove": {"snippet": ["absent"]}, "type": "wasm"},
        {"change": {"dictionary": {"d": {"name": "e"}}}},
        {"sick": True},
        {"unknown": True},
    ],
)
def test_what_could_not_be_is_refused_whole(standin: Standin, wrong: dict[str, object]) -> None:
    before = standin.ok("GET", "/details")
    answer = standin.control.post("/plants", json={"comment": "not left behind", **wrong})
    assert (answer.status_code, bool(answer.json()["msg"])) == (400, True)
    assert standin.ok("GET", "/details") == before


def test_a_sick_backend_is_not_asked_and_what_is_stale_is_served(standin: Standin, origin: SwitchableOrigin) -> None:
    plant(standin, **CHECKED)
    origin.answers(cache_control="max-age=1, stale-if-error=60")
    assert standin.edge.get("/sick").status_code == 200
    standin.set("clock", skew=10)
    plant(standin, sick=True)
    asked = len(origin.asked)
    stale, cold = standin.edge.get("/sick"), standin.edge.get("/cold")
    assert (stale.status_code, stale.headers["X-Cache"], cold.status_code) == (200, "HIT", 503)
    assert len(origin.asked) == asked
    draft = standin.ok("PUT", f"/version/{plant(standin)['active']}/clone")["number"]
    standin.ok("PUT", f"/version/{draft}/activate")
    assert standin.edge.get("/cold").status_code == 200, "a new version takes its backends to be healthy"


MAIN = """
sub vcl_recv {
  #FASTLY recv
  return(lookup);
}
sub vcl_deliver {
  set resp.http.X-Main = "1";
  return(deliver);
}
"""


def test_a_snippet_without_its_macro_does_nothing(standin: Standin) -> None:
    """In a custom VCL that lacks #FASTLY deliver. The macros it has, and what it doesn't speak of, work."""
    snippets = [
        {"name": "in recv", "type": "recv", "content": 'set req.http.X-Recv = "1";'},
        {"name": "in fetch", "type": "fetch", "content": "set beresp.http.X-Recv = req.http.X-Recv;"},
        {"name": "in deliver", "type": "deliver", "content": 'set resp.http.X-Lost = "1";'},
    ]
    active = plant(standin, add={"vcl": [{"name": "main", "main": True, "content": MAIN}], "snippet": snippets})
    headers = standin.edge.get("/macros").headers
    assert (headers["X-Main"], headers["X-Recv"], headers.get("X-Lost")) == ("1", "1", None)
    whole = standin.ok("GET", f"/version/{active['active']}/generated_vcl")["content"]
    assert "# Snippet in recv : 100" in whole
    assert "in deliver" not in whole


def ask(standin: Standin, secret: str, method: str, path: str) -> int:
    headers = {"Fastly-Key": secret}
    return httpx.request(method, f"{standin.api_url}{path}", headers=headers, trust_env=False).status_code


CALLS = (("GET", "/version"), ("PUT", "/version/1/clone"), ("POST", "/purge/key"), ("POST", "/purge_all"))


@pytest.mark.parametrize(
    ("scopes", "statuses", "itself"),
    [
        (["global"], [200, 200, 200, 200], 200),
        (["global:read"], [200, 403, 403, 403], 200),
        (["purge_select"], [403, 403, 200, 403], 403),
        (["purge_all"], [403, 403, 403, 200], 403),
        (["global:read", "purge_select"], [200, 403, 200, 403], 200),
    ],
)
def test_a_token_may_do_what_its_scopes_say(
    standin: Standin, scopes: list[str], statuses: list[int], itself: int
) -> None:
    plant(standin, tokens={"another": {"scopes": scopes}})
    assert [ask(standin, "another", method, standin.at(path)) for method, path in CALLS] == statuses
    assert ask(standin, "another", "GET", "/tokens/self") == itself
    plant(standin, tokens={"another": {"scopes": scopes, "sees_itself": itself == 403}})
    assert ask(standin, "another", "GET", "/tokens/self") == (200 if itself == 403 else 403)


def test_a_token_is_for_its_services_and_until_it_ends(standin: Standin) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    gone = (soon - timedelta(hours=2)).isoformat()
    plant(
        standin,
        tokens={
            "other": {"services": ["another"]},
            "ours": {"services": [standin.service_id], "expires_at": soon.isoformat()},
            "gone": {"expires_at": gone},
        },
    )
    statuses = [ask(standin, secret, "GET", standin.at("/version")) for secret in ("other", "ours", "gone", "never")]
    assert statuses == [403, 200, 401, 401]
    told = httpx.get(f"{standin.api_url}/tokens/self", headers={"Fastly-Key": "ours"}, trust_env=False).json()
    assert (told["expires_at"], told["services"]) == (soon.strftime("%Y-%m-%dT%H:%M:%SZ"), [standin.service_id])


def test_objects_are_edited_in_drafts_only(standin: Standin) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    made = standin.ok("POST", f"/version/{draft}/healthcheck", data={"name": "a/b", "window": "7", "junk": "x"})
    assert (made["window"], made["version"], "junk" in made) == (7, draft, False)
    path = f"/version/{draft}/healthcheck/a%2Fb"
    assert standin.ok("PUT", path, data={"threshold": "6"})["threshold"] == 6
    assert standin.ok("GET", path)["window"] == 7
    taken = standin.api.post(standin.at(f"/version/{draft}/healthcheck"), data={"name": "a/b"})
    wrong = standin.api.put(standin.at(path), data={"threshold": "many"})
    locked = standin.api.post(standin.at("/version/1/backend"), data={"name": "b"})
    assert (taken.status_code, wrong.status_code, locked.status_code) == (409, 400, 422)
    standin.ok("DELETE", path)
    assert standin.ok("GET", f"/version/{draft}/healthcheck") == []


@pytest.mark.parametrize("kind", ["snippet", "dictionary", "healthcheck"])
def test_names_change_in_a_draft_and_stay_unique(standin: Standin, kind: str) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    for name in ("one", "two"):
        standin.ok("POST", f"/version/{draft}/{kind}", data={"name": name, "type": "log", "content": "#"})
    path = f"/version/{draft}/{kind}"
    assert standin.api.put(standin.at(f"{path}/one"), data={"name": "two"}).status_code == 409
    assert standin.api.put(standin.at(f"{path}/absent"), data={"name": "three"}).status_code == 404
    assert standin.ok("PUT", f"{path}/one", data={"name": "three"})["name"] == "three"
    assert {row["name"] for row in standin.ok("GET", path)} == {"two", "three"}
