"""Routes of dictionaries and their items. Registered by being imported."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.standin.dictionaries import Change
from edgeguard.standin.problems import Problem
from edgeguard.standin.routing import OK, Call, Reply, route
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from edgeguard.standin.routes import Routes


@route("GET", "/service/{service}/version/{n}/dictionary")
def _dictionaries(routes: Routes, _: Call, n: str) -> Reply:
    names = routes.service.version(int(n)).dictionaries
    return Reply([routes.service.dictionary_json(int(n), name) for name in names])


@route("POST", "/service/{service}/version/{n}/dictionary")
def _new_dictionary(routes: Routes, call: Call, n: str) -> Reply:
    name = call.form.get("name", "")
    routes.service.add_dictionary(int(n), name)
    return Reply(routes.service.dictionary_json(int(n), name))


@route("GET", "/service/{service}/version/{n}/dictionary/{name}")
def _dictionary(routes: Routes, _: Call, n: str, name: str) -> Reply:
    return Reply(routes.service.dictionary_json(int(n), name))


@route("PUT", "/service/{service}/version/{n}/dictionary/{name}")
def _set_dictionary(routes: Routes, call: Call, n: str, name: str) -> Reply:
    new = call.form.get("name", name)
    routes.service.rename_dictionary(int(n), name, new)
    return Reply(routes.service.dictionary_json(int(n), new))


@route("DELETE", "/service/{service}/version/{n}/dictionary/{name}")
def _delete_dictionary(routes: Routes, _: Call, n: str, name: str) -> Reply:
    routes.service.remove(int(n), "dictionary", name)
    return OK


@route("GET", "/service/{service}/version/{n}/dictionary/{dictionary}/info")
def _info(routes: Routes, _: Call, n: str, dictionary: str) -> Reply:
    routes.service.version(int(n))
    return Reply(routes.service.dictionary(dictionary).info_json())


@route("GET", "/service/{service}/dictionary/{dictionary}/items")
def _items(routes: Routes, call: Call, dictionary: str) -> Reply:
    found = routes.service.dictionary(dictionary)
    page, size = _number(call.query.get("page", "1")), _number(call.query.get("per_page", "100"))
    keys = sorted(found.items) if call.query.get("sort") == "item_key" else list(found.items)
    if call.query.get("direction") == "descend":
        keys.reverse()
    return Reply([found.item_json(key) for key in keys[(page - 1) * size : page * size]])


@route("PATCH", "/service/{service}/dictionary/{dictionary}/items")
def _batch(routes: Routes, call: Call, dictionary: str) -> Reply:
    content = call.json()
    rows = content.get("items") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Problem(400, "Bad request", "A batch is an object with a list of items")
    names = ("op", "item_key", "item_value")
    _change(routes, dictionary, [Change(*(str(row.get(name) or "") for name in names)) for row in rows])
    return OK


@route("POST", "/service/{service}/dictionary/{dictionary}/item")
def _new_item(routes: Routes, call: Call, dictionary: str) -> Reply:
    key = call.form.get("item_key", "")
    _change(routes, dictionary, [Change("create", key, call.form.get("item_value", ""))])
    return Reply(routes.service.dictionary(dictionary).item_json(key))


@route("GET", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _item(routes: Routes, _: Call, dictionary: str, key: str) -> Reply:
    return Reply(routes.service.dictionary(dictionary).item_json(key))


@route("PUT", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _upsert_item(routes: Routes, call: Call, dictionary: str, key: str) -> Reply:
    _change(routes, dictionary, [Change("upsert", key, call.form.get("item_value", ""))])
    item = routes.service.dictionary(dictionary).item_json(key)
    return Reply({name: item[name] for name in ("dictionary_id", "service_id", "item_key", "item_value")})


@route("PATCH", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _update_item(routes: Routes, call: Call, dictionary: str, key: str) -> Reply:
    _change(routes, dictionary, [Change("update", key, call.form.get("item_value", ""))])
    return Reply(routes.service.dictionary(dictionary).item_json(key))


@route("DELETE", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _delete_item(routes: Routes, _: Call, dictionary: str, key: str) -> Reply:
    _change(routes, dictionary, [Change("delete", key)])
    return OK


def _change(routes: Routes, dictionary: str, changes: list[Change]) -> None:
    found = routes.service.dictionary(dictionary)
    before = {key: item.value for key, item in found.items.items()}
    try:
        found.apply(changes, timestamp(), atomic=routes.controls.beliefs.batch_is_atomic)
    finally:
        after = {key: item.value for key, item in found.items.items()}
        changed = {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}
        routes.network.write(dictionary, changed, time.monotonic())


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Problem(400, "Bad request", f"'{text}' is not a page")
    return int(text)
