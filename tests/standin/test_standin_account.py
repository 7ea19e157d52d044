"""Services, tokens and what the stand-in does not imitate: the account's side of the API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from edgeguard.standin.unimitated import NOT_IMITATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin, SwitchableOrigin


@pytest.fixture(autouse=True)
def weeded(standin: Standin) -> Iterator[None]:
    yield
    standin.control.delete("/plants")


@pytest.fixture
def another(standin: Standin) -> Iterator[dict[str, Any]]:
    """A second service of the account."""
    made = standin.api.post("/service", data={"name": "another", "comment": "ours", "type": "vcl"}).json()
    yield made
    for version in standin.api.get(f"/service/{made['id']}/version").json():
        standin.api.put(f"/service/{made['id']}/version/{version['number']}/deactivate")
    standin.api.delete(f"/service/{made['id']}")


def test_a_service_is_made_found_changed_and_deleted(standin: Standin) -> None:
    made = standin.api.post("/service", data={"name": "another", "comment": "ours"}).json()
    path = f"/service/{made['id']}"
    assert (made["name"], made["comment"], made["type"], made["environments"]) == ("another", "ours", "vcl", [])
    assert [(row["number"], row["active"]) for row in made["versions"]] == [(1, False)]
    assert made == standin.api.get(path).json()
    listed = {row["id"]: row for row in standin.api.get("/service").json()}
    assert listed.keys() == {standin.service_id, made["id"]}
    assert (listed[made["id"]]["version"], "publish_key" in listed[made["id"]]) == (1, False)
    assert standin.api.get("/service?direction=descend").json()[0]["id"] == made["id"]
    assert standin.api.get("/service/search?name=another").json()["id"] == made["id"]
    details = standin.api.get(f"{path}/details").json()
    assert (details["active_version"], details["version"]["backends"]) == (None, [])
    assert standin.api.put(path, data={"name": "renamed"}).json()["comment"] == "ours"
    assert standin.api.get("/service/search?name=another").status_code == 404
    assert [standin.api.delete(path).json() for _ in range(2)] == [{"status": "ok"}] * 2, "as recorded"
    assert standin.api.get(path).status_code == 404
    assert standin.api.delete("/service/never").status_code == 404


def test_a_service_with_an_active_version_is_not_deleted(standin: Standin) -> None:
    """Fastly's answer: github.com/fastly/terraform-provider-fastly/issues/51."""
    refused = standin.api.delete(standin.at(""))
    said = {"msg": "Bad request", "detail": "Cannot delete service with active version"}
    assert (refused.status_code, refused.json()) == (400, said)


def test_the_edge_serves_one_service_and_knows_nothing_of_another(
    standin: Standin, another: dict[str, Any], origin: SwitchableOrigin
) -> None:
    origin.answers(cache_control="max-age=60", surrogate_key="a")
    standin.edge.get("/one")
    path = f"/service/{another['id']}"
    snippet = {"name": "shown", "type": "deliver", "content": 'set resp.http.X-Other = "1";'}
    assert standin.api.post(f"{path}/version/1/snippet", data=snippet).status_code == 200
    assert standin.api.put(f"{path}/version/1/activate").status_code == 200
    assert standin.api.post(f"{path}/purge/a").status_code == standin.api.post(f"{path}/purge_all").status_code == 200
    asked = len(origin.asked)
    assert "X-Other" not in standin.edge.get("/one").headers
    assert len(origin.asked) == asked, "the page is still in the cache"


def test_activating_warns_where_there_is_no_backend(standin: Standin, another: dict[str, Any]) -> None:
    active = standin.api.put(f"/service/{another['id']}/version/1/activate").json()
    assert (active["active"], active["environments"]) == (True, [])
    assert active["msg"].startswith("Warning: No default director found\nat: (default Line ")
    production = [{"name": "production", "service_id": another["id"], "active_version": 1}]
    whole = standin.api.get(f"/service/{another['id']}").json()
    assert whole["environments"] == whole["versions"][0]["environments"] == production
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    assert standin.ok("PUT", f"/version/{draft}/activate")["msg"] is None


def test_a_url_is_purged_where_its_host_is_a_domain_of_the_account(
    standin: Standin, another: dict[str, Any], origin: SwitchableOrigin
) -> None:
    """The answer for another host: github.com/fastly/fastly-php/issues/53."""
    host = standin.edge_url.removeprefix("http://")
    refused = standin.api.post("/purge/https://www.example.com/a")
    assert (refused.status_code, refused.json()["details"]) == (404, "Cannot find service")
    assert standin.api.post("/purge/www.example.com").status_code == 404
    draft = f"/service/{another['id']}/version/1"
    for domain in ("www.example.com", "*.example.org"):
        standin.api.post(f"{draft}/domain", data={"name": domain})
    standin.api.put(f"{draft}/activate")
    ours = ("www.example.com/a", "http://www.example.com/a", "a.b.example.org", f"{host}/a", f"http://{host}/a?b")
    assert [standin.api.post(f"/purge/{url}").status_code for url in ours] == [200] * len(ours)
    assert standin.api.post("/purge/example.com/a").status_code == 404
    origin.answers(cache_control="max-age=60")
    standin.edge.get("/purged")
    standin.api.post(f"/purge/{host}/purged")
    asked = len(origin.asked)
    standin.edge.get("/purged")
    assert len(origin.asked) == asked + 1


def test_backends_are_as_recorded(standin: Standin) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    path = f"/version/{draft}/backend"
    made = standin.ok("POST", path, data={"name": "b", "address": "www.example.com", "override_host": "a"})
    assert (made["hostname"], made["ipv4"], made["override_host"]) == ("www.example.com", None, "a")
    assert (made["prefer_ipv6"], made["keepalive_time"], made["tcp_keepalive_enable"]) == (False, None, None)
    numbers = {"keepalive_time": "5", "tcp_keepalive_enable": "1", "override_host": "", "port": "0"}
    changed = standin.ok("PUT", f"{path}/b", data=numbers)
    assert (changed["keepalive_time"], changed["tcp_keepalive_enable"]) == (5, True)
    assert (changed["override_host"], changed["port"]) == (None, 0)
    origin = standin.ok("GET", f"{path}/origin")
    assert (origin["address"], origin["ipv4"], origin["hostname"]) == ("127.0.0.1", "127.0.0.1", None)


def test_health_checks_conditions_and_domains_are_as_recorded(standin: Standin) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    at = f"/version/{draft}"
    made = standin.ok("POST", f"{at}/healthcheck", data={"name": "h", "headers": '["Foo:Bar","Baz: Qux"]'})
    assert made["headers"] == ["Baz: Qux", "Foo: Bar"]
    assert standin.ok("PUT", f"{at}/healthcheck/h", data={"threshold": "6"})["headers"] == made["headers"]
    assert standin.api.put(standin.at(f"{at}/healthcheck/h"), data={"headers": "[wrong"}).status_code == 400
    condition = standin.ok("POST", f"{at}/condition", data={"name": "a/b", "statement": "req.url", "type": "CACHE"})
    assert (condition["priority"], condition["type"], condition["version"]) == ("100", "CACHE", str(draft))
    standin.ok("POST", f"{at}/domain", data={"name": "www.example.com"})
    domains = standin.ok("GET", f"{at}/domain")
    assert standin.ok("GET", f"{at}/domain/www.example.com/check") == [domains[-1], None, False]
    assert standin.ok("GET", f"{at}/domain/check_all") == [[row, None, False] for row in domains]
    assert standin.ok("GET", "/domain") != [], "those of the active version"
    gone = standin.api.delete(standin.at(f"{at}/condition/absent"))
    fields = f"deleted => 0000-00-00 00:00:00, name => absent, service => {standin.service_id}, version => {draft}"
    assert gone.json() == {"msg": "Record not found", "detail": f"Couldn't find Condition '{{ {fields} }}'"}


def test_one_vcl_file_is_the_main_one(standin: Standin) -> None:
    draft = standin.ok("PUT", "/version/1/clone")["number"]
    for name in ("one", "two"):
        standin.ok("POST", f"/version/{draft}/vcl", data={"name": name, "content": "#"})
    for name in ("one", "two"):
        assert standin.ok("PUT", f"/version/{draft}/vcl/{name}/main")["main"]
        assert [row["name"] for row in standin.ok("GET", f"/version/{draft}/vcl") if row["main"]] == [name]
    assert standin.api.put(standin.at(f"/version/{draft}/vcl/absent/main")).status_code == 404


def test_tokens_are_made_listed_and_deleted(standin: Standin) -> None:
    standin.set("plants")
    assert standin.api.post("/sudo", data={"username": "a", "password": "b"}).json().keys() == {"expiry_time"}
    form = {"name": "made", "scope": "global:read purge_select", "services[]": [standin.service_id, "another"]}
    made = standin.api.post("/tokens", data=form).json()
    secret = made.pop("access_token")
    assert (made["scope"], made["services"], made["service_id"]) == (form["scope"], form["services[]"], "another")
    asked = httpx.Client(base_url=standin.api_url, headers={"Fastly-Key": secret}, trust_env=False)
    with asked:
        assert asked.get("/tokens/self").json()["id"] == made["id"]
        assert asked.put(standin.at("/version/1/clone")).status_code == 403
        listed = standin.api.get("/tokens").json()
        assert {made["id"]} < {row["id"] for row in listed}
        customer = made["customer_id"]
        assert {row["id"] for row in standin.api.get(f"/customer/{customer}/tokens").json()} == {
            row["id"] for row in listed
        }
        assert standin.api.get("/customer/another/tokens").status_code == 404
        gone = standin.api.delete(f"/tokens/{made['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert asked.get("/tokens/self").status_code == 401
    assert standin.api.delete(f"/tokens/{made['id']}").status_code == 404
    assert standin.api.post("/tokens", data={"scope": "everything"}).status_code == 400


def test_whose_token_it_is_is_told(standin: Standin) -> None:
    told, user = standin.api.get("/verify").json(), standin.api.get("/current_user").json()
    assert told["services"] == {standin.service_id: "stand-in"}
    assert (told["user"]["login"], told["token"]["scope"]) == (user["login"], "global")
    assert told["customer"]["id"] == user["customer_id"]


@pytest.mark.parametrize(
    "path",
    [
        "/service/S/version/1/acl",
        "/service/S/acl/an-id/entries",
        "/service/S/version/1/gzip/name",
        "/service/S/version/1/response_object",
        "/service/S/version/1/director",
        "/service/S/version/1/logging/s3",
        "/service/S/version/1/activate/staging",
        "/service/S/diff/from/1/to/2",
        "/tls/certificates",
        "/resources/stores/kv",
        "/stats/service/S",
        "/content/edge_check",
        "/automation-tokens",
    ],
)
def test_what_is_not_imitated_is_told(standin: Standin, path: str) -> None:
    answer = standin.api.put(path.replace("/S", f"/{standin.service_id}"))
    assert (answer.status_code, answer.json()["msg"]) == (501, "Not imitated")
    assert answer.json()["detail"].rpartition(": ")[2] in NOT_IMITATED


def test_what_fastly_has_not_is_not_found(standin: Standin) -> None:
    for path in ("/nothing", "/aclx", standin.at("/version/1/aclx"), standin.at("/version/1/gzips")):
        assert (standin.api.get(path).status_code, standin.api.get(path).json()["msg"]) == (404, "Not found"), path


def test_what_is_not_imitated_is_listed_in_the_manual_and_in_the_help() -> None:
    manual = (Path(__file__).parent.parent.parent / "docs" / "standin.md").read_text(encoding="utf-8")
    listed = [line.removeprefix("- ") for line in manual.splitlines() if line.startswith("- ")]
    assert list(NOT_IMITATED) == listed
    command = [sys.executable, "-m", "edgeguard", "standin", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in " ".join(told.split()) for name in NOT_IMITATED)
