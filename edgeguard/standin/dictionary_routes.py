"""Routes of dictionaries and their items."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.standin.dictionaries import Change
from edgeguard.standin.paging import paged
from edgeguard.standin.problems import Problem
from edgeguard.standin.routing import OK, Call, Reply, route
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from edgeguard.standin.account import Account


@route("GET", "/service/{service}/version/{n}/dictionary")
def _dictionaries(account: Account, _: Call, n: str) -> Reply:
    names = account.service.version(int(n)).dictionaries
    return Reply([account.service.dictionary_json(int(n), name) for name in names])


@route("POST", "/service/{service}/version/{n}/dictionary")
def _new_dictionary(account: Account, call: Call, n: str) -> Reply:
    name = call.form.get("name", "")
    account.service.add_dictionary(int(n), name)
    return Reply(account.service.dictionary_json(int(n), name))


@route("GET", "/service/{service}/version/{n}/dictionary/{name}")
def _dictionary(account: Account, _: Call, n: str, name: str) -> Reply:
    return Reply(account.service.dictionary_json(int(n), name))


@route("PUT", "/service/{service}/version/{n}/dictionary/{name}")
def _set_dictionary(account: Account, call: Call, n: str, name: str) -> Reply:
    new = call.form.get("name", name)
    account.service.rename_dictionary(int(n), name, new)
    return Reply(account.service.dictionary_json(int(n), new))


@route("DELETE", "/service/{service}/version/{n}/dictionary/{name}")
def _delete_dictionary(account: Account, _: Call, n: str, name: str) -> Reply:
    account.service.remove(int(n), "dictionary", name)
    return OK


@route("GET", "/service/{service}/version/{n}/dictionary/{dictionary}/info")
def _info(account: Account, _: Call, n: str, dictionary: str) -> Reply:
    account.service.version(int(n))
    return Reply(account.service.dictionary(dictionary).info_json())


@route("GET", "/service/{service}/dictionary/{dictionary}/items")
def _items(account: Account, call: Call, dictionary: str) -> Reply:
    found = account.service.dictionary(dictionary)
    keys = sorted(found.items) if call.query.get("sort") == "item_key" else list(found.items)
    if call.query.get("direction") == "descend":
        keys.reverse()
    return paged(call, [found.item_json(key) for key in keys])


@route("PATCH", "/service/{service}/dictionary/{dictionary}/items")
def _batch(account: Account, call: Call, dictionary: str) -> Reply:
    content = call.json()
    rows = content.get("items") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Problem(400, "Bad request", "A batch is an object with a list of items")
    names = ("op", "item_key", "item_value")
    _change(account, dictionary, [Change(*(str(row.get(name) or "") for name in names)) for row in rows])
    return OK


@route("POST", "/service/{service}/dictionary/{dictionary}/item")
def _new_item(account: Account, call: Call, dictionary: str) -> Reply:
    key = call.form.get("item_key", "")
    _change(account, dictionary, [Change("create", key, call.form.get("item_value", ""))])
    return Reply(account.service.dictionary(dictionary).item_json(key))


@route("GET", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _item(account: Account, _: Call, dictionary: str, key: str) -> Reply:
    return Reply(account.service.dictionary(dictionary).item_json(key))


@route("PUT", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _upsert_item(account: Account, call: Call, dictionary: str, key: str) -> Reply:
    _change(account, dictionary, [Change("upsert", key, call.form.get("item_value", ""))])
    item = account.service.dictionary(dictionary).item_json(key)
    return Reply({name: item[name] for name in ("dictionary_id", "service_id", "item_key", "item_value")})


@route("PATCH", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _update_item(account: Account, call: Call, dictionary: str, key: str) -> Reply:
    _change(account, dictionary, [Change("update", key, call.form.get("item_value", ""))])
    return Reply(account.service.dictionary(dictionary).item_json(key))


@route("DELETE", "/service/{service}/dictionary/{dictionary}/item/{key}")
def _delete_item(account: Account, _: Call, dictionary: str, key: str) -> Reply:
    _change(account, dictionary, [Change("delete", key)])
    return OK


def _change(account: Account, dictionary: str, changes: list[Change]) -> None:
    found = account.service.dictionary(dictionary)
    before = {key: item.value for key, item in found.items.items()}
    try:
        found.apply(changes, timestamp(), atomic=account.controls.beliefs.batch_is_atomic)
    finally:
        after = {key: item.value for key, item in found.items.items()}
        changed = {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}
        account.network.write(dictionary, changed, time.monotonic())
