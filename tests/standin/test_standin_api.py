"""The API with the official Python client, and against recordings of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastly
import httpx
import pytest
from fastly.api import (
    dictionary_api,
    dictionary_info_api,
    dictionary_item_api,
    purge_api,
    service_api,
    settings_api,
    snippet_api,
    tokens_api,
    vcl_api,
    version_api,
)
from fastly.model.bulk_update_dictionary_item import BulkUpdateDictionaryItem
from fastly.model.bulk_update_dictionary_list_request import BulkUpdateDictionaryListRequest

from tests.standin.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standin.conftest import Standin


@pytest.fixture
def client(standin: Standin) -> Iterator[fastly.ApiClient]:
    configuration = fastly.Configuration(host=standin.api_url)
    configuration.api_token = TOKEN
    configuration.retries = False
    with fastly.ApiClient(configuration) as client:
        yield client


def details(client: fastly.ApiClient, sid: str) -> Any:  # noqa: ANN401 - the client's models have no types
    return service_api.ServiceApi(client).get_service_detail(sid, filter_versions_active=True)


def test_the_official_client_installs_a_policy_and_finds_it(standin: Standin, client: fastly.ApiClient) -> None:
    sid = standin.service_id
    versions, snippets = version_api.VersionApi(client), snippet_api.SnippetApi(client)
    detail = details(client, sid)
    assert [detail["active_version"]["number"]] == [version["number"] for version in detail["versions"]]
    draft = versions.clone_service_version(sid, detail["active_version"]["number"]).number
    versions.update_service_version(sid, draft, comment="by hand")
    name = f"table_{draft}"
    made = dictionary_api.DictionaryApi(client).create_dictionary(sid, draft, name=name)
    content = f'set req.http.X-Word = table.lookup({name}, "word", "none");'
    form = {"name": "look up", "type": "recv", "content": content, "priority": "5", "dynamic": "0"}
    snippets.create_snippet(sid, draft, **form)
    shown = "set resp.http.X-Word = req.http.X-Word;"
    snippets.create_snippet(sid, draft, name="show", type="deliver", content=shown, priority="5", dynamic="0")
    assert versions.validate_service_version(sid, draft).status == "ok"
    assert versions.activate_service_version(sid, draft).active

    items = dictionary_item_api.DictionaryItemApi(client)
    operations = [BulkUpdateDictionaryItem(op="upsert", item_key="word", item_value="hello")]
    batch = BulkUpdateDictionaryListRequest(items=operations)
    items.bulk_update_dictionary_item(sid, made.id, bulk_update_dictionary_list_request=batch)
    assert [item.item_value for item in items.list_dictionary_items(sid, made.id)] == ["hello"]
    assert standin.edge.get("/").headers["X-Word"] == "hello"

    after = details(client, sid)["active_version"]
    assert (draft, "by hand") == (after["number"], after["comment"])
    assert {"look up", "show"} == {snippet["name"] for snippet in after["snippets"]}
    assert content in vcl_api.VclApi(client).get_custom_vcl_generated(sid, draft).content


def test_the_official_client_and_the_rest_of_the_routes(standin: Standin, client: fastly.ApiClient) -> None:
    sid = standin.service_id
    versions, items = version_api.VersionApi(client), dictionary_item_api.DictionaryItemApi(client)
    token = tokens_api.TokensApi(client).get_token_current(_check_return_type=False)
    assert [sid] == token["services"]
    assert sid == service_api.ServiceApi(client).search_service(name="stand-in").id
    draft = versions.create_service_version(sid).number
    settings = settings_api.SettingsApi(client)
    settings.update_service_settings(sid, draft, general_default_ttl=60, general_stale_if_error=True)
    read = settings.get_service_settings(sid, draft)
    assert (read.general_default_ttl, read.general_stale_if_error) == (60, True)

    dictionaries = dictionary_api.DictionaryApi(client)
    made = dictionaries.create_dictionary(sid, draft, name="one")
    assert items.create_dictionary_item(sid, made.id, item_key="k/1", item_value="a").item_value == "a"
    assert items.upsert_dictionary_item(sid, made.id, "k/1", item_value="b").item_value == "b"
    assert items.update_dictionary_item(sid, made.id, "k/1", item_value="c").item_value == "c"
    assert items.get_dictionary_item(sid, made.id, "k/1").item_value == "c"
    assert dictionary_info_api.DictionaryInfoApi(client).get_dictionary_info(sid, draft, made.id).item_count == 1
    items.delete_dictionary_item(sid, made.id, "k/1")
    with pytest.raises(fastly.exceptions.NotFoundException):
        items.get_dictionary_item(sid, made.id, "k/1")
    assert [made.id] == [row.id for row in dictionaries.list_dictionaries(sid, draft)]
    dictionaries.delete_dictionary(sid, draft, "one")
    versions.lock_service_version(sid, draft)
    with pytest.raises(fastly.ApiException) as locked:
        dictionaries.create_dictionary(sid, draft, name="two")
    assert locked.value.status == 422
    assert json.loads(locked.value.body)["msg"] == "Version locked"


def test_the_official_client_purges(standin: Standin, client: fastly.ApiClient) -> None:
    purges, sid = purge_api.PurgeApi(client), standin.service_id
    ids = purges.bulk_purge_tag(sid, surrogate_key="a b", fastly_soft_purge=1)
    assert {"a", "b"} == ids.keys() if isinstance(ids, dict) else set(ids.to_dict())
    assert purges.purge_tag(sid, "a").status == "ok"
    assert purges.purge_all(sid).status == "ok"
    assert purges.purge_single_url(f"{standin.edge_url.removeprefix('http://')}/a").status == "ok"
    purged = standin.control.get("/history").json()[-4:]
    assert [(entry["soft"], entry["keys"]) for entry in purged[:2]] == [(True, ["a", "b"]), (False, ["a"])]


def test_a_dynamic_snippet_changes_the_active_version(standin: Standin) -> None:
    active = next(version["number"] for version in standin.versions() if version["active"])
    draft = standin.ok("PUT", f"/version/{active}/clone")["number"]
    form = {"name": "live", "type": "deliver", "content": "", "dynamic": "1"}
    made = standin.ok("POST", f"/version/{draft}/snippet", data=form)
    assert (made["content"], made["dynamic"]) == (None, "1")
    standin.ok("PUT", f"/version/{draft}/activate")
    path = f"/snippet/{made['id']}"
    standin.ok("PUT", path, data={"content": 'set resp.http.X-Live = "1";'})
    assert standin.edge.get("/").headers["X-Live"] == "1"
    assert standin.api.put(standin.at(path), data={"content": "nonsense"}).status_code == 400
    assert standin.edge.get("/").headers["X-Live"] == "1"
    standin.install()


def test_what_does_not_compile_is_told_by_validate_and_never_becomes_active(standin: Standin) -> None:
    active = next(version["number"] for version in standin.versions() if version["active"])
    draft = standin.ok("PUT", f"/version/{active}/clone")["number"]
    for content in ("set beresp.ttl = 600;", 'set req.http.A = table.lookup(absent, "k", "");'):
        form = {"name": "wrong", "type": "recv", "content": content}
        standin.ok("POST", f"/version/{draft}/snippet", data=form)
        verdict = standin.ok("GET", f"/version/{draft}/validate")
        assert verdict["status"] == "error"
        assert verdict["msg"]
        assert standin.api.put(standin.at(f"/version/{draft}/activate")).status_code == 422
        standin.ok("DELETE", f"/version/{draft}/snippet/wrong")
    assert [active] == [version["number"] for version in standin.versions() if version["active"]]


@pytest.mark.parametrize(("headers", "status"), [({}, 403), ({"Fastly-Key": "wrong"}, 401)])
def test_without_the_token_nothing_is_answered(standin: Standin, headers: dict[str, str], status: int) -> None:
    answer = httpx.get(standin.api_url + standin.at("/version"), headers=headers, trust_env=False)
    assert status == answer.status_code
    assert "msg" in answer.json()


@pytest.mark.parametrize(
    ("status", "method", "path", "content"),
    [
        (404, "GET", "/nothing", {}),
        (404, "GET", "/version/999", {}),
        (404, "PUT", "/version/999/clone", {}),
        (404, "GET", "/dictionary/unknown/items", {}),
        (422, "POST", "/version/1/snippet", {"data": {"name": "a", "type": "recv"}}),
        (422, "PUT", "/version/1", {"data": {"comment": "late"}}),
        (400, "POST", "/purge", {"headers": {"Surrogate-Key": " ".join(f"k{n}" for n in range(257))}}),
        (400, "POST", "/purge", {"json": {"surrogate_keys": ["k" * 1025]}}),
        (400, "POST", "/purge", {}),
        (400, "PATCH", "/dictionary/{}/items", {"content": b"{"}),
        (400, "PATCH", "/dictionary/{}/items", {"json": {"items": [{"op": "add", "item_key": "a"}]}}),
        (404, "PATCH", "/dictionary/{}/items", {"json": {"items": [{"op": "update", "item_key": "absent"}]}}),
        (404, "DELETE", "/dictionary/{}/item/absent", {}),
        (409, "POST", "/dictionary/{}/item", {"data": {"item_key": "there", "item_value": "2"}}),
        (400, "PUT", "/dictionary/{}/item/{key}", {"data": {"item_value": "2"}}),
        (400, "PATCH", "/dictionary/{}/items", {"json": {"items": [{"op": "upsert", "item_key": "a"}] * 1001}}),
    ],
)
def test_refusals(standin: Standin, status: int, method: str, path: str, content: dict[str, Any]) -> None:
    dictionary = standin.install(dictionary="refusals")
    standin.ok("PUT", f"/dictionary/{dictionary}/item/there", data={"item_value": "1"})
    path = path.replace("{}", dictionary).replace("{key}", "k" * 257)
    answer = standin.api.request(method, standin.at(path), **content)
    assert status == answer.status_code, answer.text
    assert "msg" in answer.json()


@pytest.mark.parametrize(("atomic", "expected"), [(True, []), (False, ["a"])])
def test_a_batch_with_a_mistake(standin: Standin, *, atomic: bool, expected: list[str]) -> None:
    standin.set("switches", batch_is_atomic=atomic)
    dictionary = standin.install(dictionary=f"batch_{atomic}")
    rows = [
        {"op": "create", "item_key": "a", "item_value": "1"},
        {"op": "update", "item_key": "absent", "item_value": "1"},
    ]
    answer = standin.api.patch(standin.at(f"/dictionary/{dictionary}/items"), json={"items": rows})
    assert (answer.status_code, answer.json()["msg"]) == (404, "Record not found")
    items = standin.ok("GET", f"/dictionary/{dictionary}/items")
    assert expected == [item["item_key"] for item in items]


def test_pages_of_items(standin: Standin) -> None:
    dictionary = standin.install(dictionary="pages")
    rows = [{"op": "upsert", "item_key": f"k{n:02}", "item_value": ""} for n in range(25)]
    standin.ok("PATCH", f"/dictionary/{dictionary}/items", json={"items": rows})
    pages = [standin.ok("GET", f"/dictionary/{dictionary}/items?page={page}&per_page=10") for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    at = standin.at(f"/dictionary/{dictionary}/items")
    links = [standin.api.get(f"{at}?page={page}&per_page=10&sort=item_key").links for page in (1, 2, 3)]
    assert [{name: int(httpx.URL(row["url"]).params["page"]) for name, row in found.items()} for found in links] == [
        {"last": 3, "next": 2},
        {"last": 3, "next": 3, "prev": 1},
        {"prev": 2},
    ]
    assert httpx.URL(links[0]["next"]["url"]).params["sort"] == "item_key"


def test_a_clone_shares_dictionaries_and_nothing_else(standin: Standin) -> None:
    dictionary = standin.install(dictionary="shared", recv="# empty")
    source = next(version for version in standin.versions() if version["active"])
    clone = standin.ok("PUT", f"/version/{source['number']}/clone")
    same = ("comment", "created_at")
    assert [source[key] for key in same] == [clone[key] for key in same]
    assert dictionary in {row["id"] for row in standin.ok("GET", f"/version/{clone['number']}/dictionary")}
    standin.ok("DELETE", f"/version/{clone['number']}/snippet/test recv")
    assert len(standin.ok("GET", f"/version/{source['number']}/snippet")) == 1


RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


@pytest.fixture(scope="module")
def recorded_state() -> dict[str, str]:
    """Ids of what earlier recordings made: they are replayed in their order."""
    return {}


def shape(value: object) -> object:
    """Keys and types, of the first of many; null may stand for anything."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items() if entry is not None}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def agree(theirs: object, ours: object) -> bool:
    """What both have has one shape; theirs has no key that ours lacks."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(agree(theirs[key], ours[key]) if key in ours else False for key in theirs)
    if isinstance(theirs, list) and isinstance(ours, list):
        return all(agree(one, other) for one, other in zip(theirs, ours, strict=True))
    return theirs == ours


@pytest.mark.parametrize("recording", RECORDED, ids=[str(recording["from"]) for recording in RECORDED])
def test_the_shapes_of_recorded_traffic(
    standin: Standin, recorded_state: dict[str, str], recording: dict[str, Any]
) -> None:
    """Recordings of the real API, published with github.com/fastly/go-fastly (Apache-2.0) as test fixtures."""
    if not recorded_state:
        recorded_state["version"] = str(standin.ok("PUT", "/version/1/clone")["number"])
        dynamic = {"name": "snipdyn", "type": "fetch", "dynamic": "1", "content": ""}
        standin.ok("POST", f"/version/{recorded_state['version']}/snippet", data=dynamic)
    request, expected = recording["request"], recording["response"]
    segments = request["path"].split("/")
    for place, segment in enumerate(segments[:-1]):
        if segment in {"service", "version"}:
            segments[place + 1] = standin.service_id if segment == "service" else recorded_state["version"]
        elif segment == "dictionary" and "version" not in segments:
            segments[place + 1] = recorded_state["dictionary"]
    renamed = {"new_test_dictionary": "test_dictionary", "snipverUpdated": "snipver"}
    path = "/".join(renamed.get(segment, segment) for segment in segments)
    answer = standin.api.request(request["method"], path, headers=request["headers"], content=request["body"])
    assert expected["status"] == answer.status_code
    body = answer.json()
    if recording["from"] == "dictionaries/create":
        recorded_state["dictionary"] = body["id"]
    assert agree(shape(expected["body"]), shape(body)), body
    if "ip" not in body:
        assert isinstance(body, list) or set(expected["body"]) == set(body) - {"environments"}, "recorded since 2025"
    telling = {"cache-control", "content-type", "status", "fastly-ratelimit-remaining", "fastly-ratelimit-reset"}
    telling |= {"fastly-instant-rate", "fastly-surrogate-key-count"}
    assert {name.lower() for name in expected["headers"]} == {name for name in answer.headers if name in telling}
