"""The typed models of the official Python client accept each answer that edgeguard relies on.

edgeguard itself reads the answers as JSON, since Fastly's API has drifted from the models before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import fastly
import pytest
from fastly.model.bulk_update_dictionary_item import BulkUpdateDictionaryItem
from fastly.model.bulk_update_dictionary_list_request import BulkUpdateDictionaryListRequest

from edgeguard.edge.fastly.answers import SHAPES
from tests.standin.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.standin.conftest import Standin

    Ask = Callable[..., Any]

MAIN = "".join(f"sub vcl_{name} {{\n  #FASTLY {name}\n}}\n" for name in ("recv", "fetch", "deliver"))
WHOLE = {
    "healthcheck": [{"name": "alive", "path": "/health", "headers": '["Host: a"]'}],
    "condition": [{"name": "asked", "statement": "req.url", "type": "REQUEST"}],
    "backend": [
        {"name": "named", "address": "www.example.com", "healthcheck": "alive", "keepalive_time": "5"},
        {"name": "shielded", "address": "192.0.2.1", "shield": "bwi-va-us", "tcp_keepalive_enable": "1"},
    ],
    "request_settings": [{"name": "aged", "max_stale_age": "30", "force_ssl": "1"}],
    "cache_settings": [{"name": "kept", "stale_ttl": "1500", "ttl": "10", "action": "cache"}],
    "header": [{"name": "told", "dst": "http.X"}],
    "domain": [{"name": "www.example.com"}],
    "vcl": [{"name": "main", "main": True, "content": MAIN}],
    "dictionary": [{"name": "words"}],
    "snippet": [{"name": "live", "type": "recv", "content": "#", "dynamic": "1"}],
}
"""One of each kind of object in a version."""


@pytest.fixture(autouse=True)
def weeded(standin: Standin) -> Iterator[None]:
    yield
    standin.control.delete("/plants")


@pytest.fixture
def asked() -> set[str]:
    """The calls that were made."""
    return set()


@pytest.fixture
def ask(standin: Standin, asked: set[str]) -> Iterator[Ask]:
    """Calls `module.method` of the client, typed and checked."""
    configuration = fastly.Configuration(host=standin.api_url)
    configuration.api_token = TOKEN
    configuration.retries = False
    with fastly.ApiClient(configuration) as client:

        def call(operation: str, *ids: object, **arguments: object) -> Any:  # noqa: ANN401 - the client's models
            asked.add(operation)
            module, method = operation.split(".")
            name = "".join(word.title() for word in module.split("_")) + "Api"
            api = getattr(importlib.import_module(f"fastly.api.{module}_api"), name)(client)
            return getattr(api, method)(*ids, **arguments)

        yield call


def test_each_answer_that_edgeguard_relies_on_has_the_client_s_types(
    standin: Standin, ask: Ask, asked: set[str]
) -> None:
    sid = standin.service_id
    standin.set("plants", add=WHOLE, tokens={TOKEN: {"services": [sid], "expires_at": "2100-01-01T00:00:00Z"}})
    detail = ask("service.get_service_detail", sid, filter_versions_active=True)
    active = detail.active_version
    assert {row.name for row in active.backends} == {"origin", "named", "shielded"}
    assert [row.name for row in active.conditions] == ["asked"]
    assert active.number in {row.number for row in ask("version.list_service_versions", sid)}
    assert ask("version.get_service_version", sid, active.number).environments[0].name == "production"

    draft = ask("version.clone_service_version", sid, active.number).number
    assert ask("version.update_service_version", sid, draft, comment="ours").comment == "ours"
    assert {"www.example.com"} < {row.name for row in ask("domain.list_domains", sid, draft).value}
    form = {"name": "ours", "type": "recv", "content": "#", "priority": "5", "dynamic": "0"}
    assert ask("snippet.create_snippet", sid, draft, **form).name == "ours"
    live = next(row.id for row in ask("snippet.list_snippets", sid, draft) if row.name == "live")
    assert ask("snippet.get_snippet_dynamic", sid, live).content == "#"
    assert ask("snippet.delete_snippet", sid, draft, "ours").status == "ok"
    assert ask("dictionary.create_dictionary", sid, draft, name="more").name == "more"
    words = next(row.id for row in ask("dictionary.list_dictionaries", sid, draft) if row.name == "words")
    assert ask("dictionary.delete_dictionary", sid, draft, "more").status == "ok"
    rows = BulkUpdateDictionaryListRequest(items=[BulkUpdateDictionaryItem(op="upsert", item_key="k", item_value="v")])
    batch = {"bulk_update_dictionary_list_request": rows}
    assert ask("dictionary_item.bulk_update_dictionary_item", sid, words, **batch).status == "ok"
    assert [row.item_value for row in ask("dictionary_item.list_dictionary_items", sid, words)] == ["v"]
    assert ask("dictionary_item.get_dictionary_item", sid, words, "k").item_value == "v"
    assert ask("settings.update_service_settings", sid, draft, general_default_ttl=60).general_default_ttl == 60
    assert ask("settings.get_service_settings", sid, draft).general_default_ttl == 60
    assert ask("version.validate_service_version", sid, draft).status == "ok"
    assert "Snippet live" in ask("vcl.get_custom_vcl_generated", sid, draft).content
    assert ask("version.activate_service_version", sid, draft).active

    assert ask("tokens.get_token_current").services == [sid]
    assert ask("purge.bulk_purge_tag", sid, surrogate_key="a b", fastly_soft_purge=1)
    assert ask("purge.purge_single_url", "www.example.com/a").status == "ok"
    assert ask("purge.purge_all", sid).status == "ok"
    assert asked == set(SHAPES)


def test_more_answers_have_the_client_s_types(standin: Standin, ask: Ask) -> None:
    """Of calls that edgeguard doesn't make, but its operators may."""
    made = ask("service.create_service", name="another", comment="", type="vcl")
    assert {made.id, standin.service_id} <= {row.id for row in ask("service.list_services")}
    assert ask("service.get_service", made.id).versions[0].environments == []
    assert ask("service.get_service_detail", made.id).version.number == 1
    assert ask("service.search_service", name="another").id == made.id
    assert ask("service.update_service", made.id, name="renamed").name == "renamed"
    check = ask("healthcheck.create_healthcheck", made.id, 1, name="alive", path="/health")
    assert (
        ask("backend.create_backend", made.id, 1, name="b", address="a.example.com", healthcheck=check.name).port == 80
    )
    assert ask("backend.list_backends", made.id, 1)[0].prefer_ipv6 is False
    assert ask("healthcheck.get_healthcheck", made.id, 1, "alive").headers == []
    condition = {"name": "c", "statement": "req.url", "type": "REQUEST", "priority": "10"}
    assert ask("condition.create_condition", made.id, 1, **condition).priority == "10"
    ask("domain.create_domain", made.id, 1, name="a.example.com")
    assert [row.value[2] for row in ask("domain.check_domains", made.id, 1).value] == [False]
    assert ask("service.delete_service", made.id).status == "ok"
    assert ask("user.get_current_user").customer_id == made.customer_id


def test_the_client_refuses_a_token_without_an_end(ask: Ask) -> None:
    """That is an error of the client: Fastly's own answer was recorded so."""
    with pytest.raises(fastly.exceptions.ApiValueError, match="expires_at"):
        ask("tokens.get_token_current")
