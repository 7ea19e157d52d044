"""Fastly's routes, over the service, the edge's caches and its dictionaries."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from edgeguard.standin.cache import KEY_BYTES
from edgeguard.standin.dictionaries import Change
from edgeguard.standin.objects import KINDS
from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.vcl import VclError
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.standin.control import Controls, Entry
    from edgeguard.standin.network import Network
    from edgeguard.standin.service import Service
    from edgeguard.standin.tokens import Token
    from edgeguard.standin.wire import Pairs, Received

PURGE_LIMIT = 256
"""Surrogate keys in one call (Fastly: reference/api/purging)."""


@dataclass(frozen=True)
class Call:
    """A request, taken apart."""

    received: Received
    path: str
    query: dict[str, str]
    form: dict[str, str]
    entry: Entry
    token: Token

    @property
    def soft(self) -> bool:
        """Whether a purge is to be soft; the header's value does not matter."""
        return self.received.header("fastly-soft-purge") is not None

    def json(self) -> Any:  # noqa: ANN401 - JSON is of any type
        """The body as JSON. Raises Problem (400)."""
        try:
            return json.loads(self.received.body or b"{}")
        except ValueError:
            raise Problem(400, "Bad request", "The body is not JSON") from None


@dataclass(frozen=True)
class Reply:
    """A success. `limited`: a control-plane call, with its rate limit told when it writes."""

    content: object
    limited: bool = True
    headers: Pairs = field(default_factory=lambda: [("Content-Type", "application/json")])


OK = Reply({"status": "ok"})
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = []


def _route(method: str, pattern: str) -> Callable[[Callable[..., Reply]], Callable[..., Reply]]:
    """`{n}` is a version's number, `{kind}` one of KINDS, other words in braces one segment each."""
    expression = pattern.replace("{n}", r"(?P<n>[0-9]+)").replace("{kind}", rf"(?P<kind>{'|'.join(KINDS)})")
    expression = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", expression)

    def add(function: Callable[..., Reply]) -> Callable[..., Reply]:
        ROUTES.append((method, re.compile(expression), function))
        return function

    return add


class Routes:
    """Does what is asked. Whether the caller may ask is `api`'s to say."""

    def __init__(self, service: Service, network: Network, controls: Controls) -> None:
        self.service = service
        self.network = network
        self.controls = controls
        self._sequence = 11_000

    def dispatch(self, call: Call) -> Reply:
        """Raises Problem, also for what there is no route for (404)."""
        for method, pattern, function in ROUTES:
            if method == call.received.method and (found := pattern.fullmatch(call.path)):
                arguments = {name: unquote(value) for name, value in found.groupdict().items()}
                if arguments.pop("service", self.service.id) != self.service.id:
                    raise Problem(404, "Record not found", "Cannot load service")
                return function(self, call, **arguments)
        raise Problem(404, "Not found")

    def _purge_id(self) -> str:
        """As cache nodes make them: node, time, sequence."""
        self._sequence += 1
        return f"4151-{int(time.time())}-{self._sequence}"

    def load(self) -> None:
        """Have the edge run the active version, if there is one. Raises VclError."""
        active = self.service.active
        if active is None:
            self.network.unload()
        else:
            self.network.load(self.service.compile(active.number), active.number, active.dictionaries)

    # -- the account, the service --------------------------------------------------------------------------------

    @_route("GET", "/tokens/self")
    def _token_self(self, call: Call) -> Reply:
        return Reply(call.token.shown(self.service.customer_id))

    @_route("GET", "/service")
    def _services(self, _: Call) -> Reply:
        active = self.service.active
        return Reply([{**self.service.json(), "version": active.number if active else max(self.service.versions)}])

    @_route("GET", "/service/search")
    def _search(self, call: Call) -> Reply:
        if call.query.get("name") != self.service.name:
            raise missing("Service", {"name": call.query.get("name", "")})
        return Reply(self.service.json())

    @_route("GET", "/service/{service}")
    def _service(self, _: Call) -> Reply:
        return Reply(self.service.json())

    @_route("GET", "/service/{service}/details")
    def _details(self, call: Call) -> Reply:
        only = call.query.get("filter[versions.active]", "").lower() in {"1", "true"}
        return Reply(self.service.details_json(active_only=only))

    # -- versions ------------------------------------------------------------------------------------------------

    @_route("GET", "/service/{service}/version")
    def _versions(self, _: Call) -> Reply:
        return Reply([version.json(self.service.id) for version in self.service.versions.values()])

    @_route("POST", "/service/{service}/version")
    def _new_version(self, call: Call) -> Reply:
        version = self.service.create()
        version.comment = call.form.get("comment", "")
        return Reply({"number": version.number, "service_id": self.service.id, "comment": version.comment})

    @_route("GET", "/service/{service}/version/{n}")
    def _version(self, _: Call, n: str) -> Reply:
        return Reply(self.service.version(int(n)).json(self.service.id))

    @_route("PUT", "/service/{service}/version/{n}")
    def _comment(self, call: Call, n: str) -> Reply:
        version = self.service.draft(int(n))
        version.comment = call.form.get("comment", version.comment)
        return Reply(version.json(self.service.id))

    @_route("PUT", "/service/{service}/version/{n}/clone")
    def _clone(self, _: Call, n: str) -> Reply:
        return Reply(self.service.clone(int(n)).json(self.service.id))

    @_route("GET", "/service/{service}/version/{n}/validate")
    def _validate(self, _: Call, n: str) -> Reply:
        return Reply(self.service.validate(int(n)))

    @_route("PUT", "/service/{service}/version/{n}/activate")
    def _activate(self, _: Call, n: str) -> Reply:
        try:
            self.service.compile(int(n))
        except VclError as exc:
            raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
        version = self.service.activate(int(n))
        self.controls.sick = False  # a new configuration takes its backends to be healthy, until they are checked
        self.load()
        return Reply({**version.json(self.service.id), "environments": [], "msg": None})

    @_route("PUT", "/service/{service}/version/{n}/deactivate")
    def _deactivate(self, _: Call, n: str) -> Reply:
        version = self.service.deactivate(int(n))
        self.load()
        return Reply(version.json(self.service.id))

    @_route("PUT", "/service/{service}/version/{n}/lock")
    def _lock(self, _: Call, n: str) -> Reply:
        version = self.service.version(int(n))
        version.locked = True
        return Reply(version.json(self.service.id))

    @_route("GET", "/service/{service}/version/{n}/settings")
    def _settings(self, _: Call, n: str) -> Reply:
        return Reply(self.service.settings_json(int(n)))

    @_route("PUT", "/service/{service}/version/{n}/settings")
    def _set_settings(self, call: Call, n: str) -> Reply:
        return Reply(self.service.change_settings(int(n), call.form))

    @_route("GET", "/service/{service}/version/{n}/generated_vcl")
    def _generated(self, _: Call, n: str) -> Reply:
        version = self.service.version(int(n))
        try:
            text = self.service.compile(version.number).text
        except VclError as exc:
            raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
        names = {"name": self.service.name, "service_id": self.service.id, "version": version.number}
        times = {"created_at": version.created_at, "updated_at": version.updated_at, "deleted_at": None}
        return Reply({**names, **times, "content": text, "main": False})

    # -- backends, health checks and what else there is by name (KINDS) ------------------------------------------

    @_route("GET", "/service/{service}/version/{n}/{kind}")
    def _objects(self, _: Call, n: str, kind: str) -> Reply:
        return Reply(self.service.objects_json(int(n), kind))

    @_route("POST", "/service/{service}/version/{n}/{kind}")
    def _new_object(self, call: Call, n: str, kind: str) -> Reply:
        return Reply(self.service.add_object(int(n), kind, call.form))

    @_route("GET", "/service/{service}/version/{n}/{kind}/{name}")
    def _object(self, _: Call, n: str, kind: str, name: str) -> Reply:
        return Reply(self.service.object_json(int(n), kind, name))

    @_route("PUT", "/service/{service}/version/{n}/{kind}/{name}")
    def _set_object(self, call: Call, n: str, kind: str, name: str) -> Reply:
        return Reply(self.service.change_object(int(n), kind, name, call.form))

    @_route("DELETE", "/service/{service}/version/{n}/{kind}/{name}")
    def _delete_object(self, _: Call, n: str, kind: str, name: str) -> Reply:
        self.service.remove(int(n), kind, name)
        return OK

    # -- snippets ------------------------------------------------------------------------------------------------

    @_route("GET", "/service/{service}/version/{n}/snippet")
    def _snippets(self, _: Call, n: str) -> Reply:
        rows = self.service.version(int(n)).snippets.values()
        return Reply([row.json(self.service.id, int(n)) for row in rows])

    @_route("POST", "/service/{service}/version/{n}/snippet")
    def _new_snippet(self, call: Call, n: str) -> Reply:
        return Reply(self.service.add_snippet(int(n), call.form).json(self.service.id, int(n)))

    @_route("GET", "/service/{service}/version/{n}/snippet/{name}")
    def _snippet(self, _: Call, n: str, name: str) -> Reply:
        return Reply(self.service.snippet(int(n), name).json(self.service.id, int(n)))

    @_route("PUT", "/service/{service}/version/{n}/snippet/{name}")
    def _set_snippet(self, call: Call, n: str, name: str) -> Reply:
        return Reply(self.service.change_snippet(int(n), name, call.form).json(self.service.id, int(n)))

    @_route("DELETE", "/service/{service}/version/{n}/snippet/{name}")
    def _delete_snippet(self, _: Call, n: str, name: str) -> Reply:
        self.service.remove(int(n), "snippet", name)
        return OK

    @_route("GET", "/service/{service}/snippet/{snippet}")
    def _dynamic(self, _: Call, snippet: str) -> Reply:
        return Reply(self._dynamic_json(snippet))

    @_route("PUT", "/service/{service}/snippet/{snippet}")
    def _set_dynamic(self, call: Call, snippet: str) -> Reply:
        """Acts on the active version at once. One that doesn't compile is refused."""
        old = self._dynamic_json(snippet)["content"]
        self.service.dynamic_contents[snippet] = call.form.get("content", old)
        try:
            self.load()
        except VclError as exc:
            self.service.dynamic_contents[snippet] = old
            raise Problem(400, "Bad request", "\n".join(exc.messages)) from exc
        return Reply(self._dynamic_json(snippet))

    def _dynamic_json(self, snippet: str) -> dict[str, Any]:
        if snippet not in self.service.dynamic_contents:
            raise missing("Snippet", {"service_id": self.service.id, "id": snippet})
        now = timestamp()
        content = self.service.dynamic_contents[snippet]
        ids = {"service_id": self.service.id, "snippet_id": snippet}
        return {**ids, "content": content, "created_at": now, "updated_at": now, "deleted_at": None}

    # -- dictionaries --------------------------------------------------------------------------------------------

    @_route("GET", "/service/{service}/version/{n}/dictionary")
    def _dictionaries(self, _: Call, n: str) -> Reply:
        names = self.service.version(int(n)).dictionaries
        return Reply([self.service.dictionary_json(int(n), name) for name in names])

    @_route("POST", "/service/{service}/version/{n}/dictionary")
    def _new_dictionary(self, call: Call, n: str) -> Reply:
        name = call.form.get("name", "")
        self.service.add_dictionary(int(n), name)
        return Reply(self.service.dictionary_json(int(n), name))

    @_route("GET", "/service/{service}/version/{n}/dictionary/{name}")
    def _dictionary(self, _: Call, n: str, name: str) -> Reply:
        return Reply(self.service.dictionary_json(int(n), name))

    @_route("PUT", "/service/{service}/version/{n}/dictionary/{name}")
    def _set_dictionary(self, call: Call, n: str, name: str) -> Reply:
        new = call.form.get("name", name)
        self.service.rename_dictionary(int(n), name, new)
        return Reply(self.service.dictionary_json(int(n), new))

    @_route("DELETE", "/service/{service}/version/{n}/dictionary/{name}")
    def _delete_dictionary(self, _: Call, n: str, name: str) -> Reply:
        self.service.remove(int(n), "dictionary", name)
        return OK

    @_route("GET", "/service/{service}/version/{n}/dictionary/{dictionary}/info")
    def _info(self, _: Call, n: str, dictionary: str) -> Reply:
        self.service.version(int(n))
        return Reply(self.service.dictionary(dictionary).info_json())

    @_route("GET", "/service/{service}/dictionary/{dictionary}/items")
    def _items(self, call: Call, dictionary: str) -> Reply:
        found = self.service.dictionary(dictionary)
        page, size = _number(call.query.get("page", "1")), _number(call.query.get("per_page", "100"))
        keys = sorted(found.items) if call.query.get("sort") == "item_key" else list(found.items)
        if call.query.get("direction") == "descend":
            keys.reverse()
        return Reply([found.item_json(key) for key in keys[(page - 1) * size : page * size]])

    @_route("PATCH", "/service/{service}/dictionary/{dictionary}/items")
    def _batch(self, call: Call, dictionary: str) -> Reply:
        content = call.json()
        rows = content.get("items") if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Problem(400, "Bad request", "A batch is an object with a list of items")
        names = ("op", "item_key", "item_value")
        self._change(dictionary, [Change(*(str(row.get(name) or "") for name in names)) for row in rows])
        return OK

    @_route("POST", "/service/{service}/dictionary/{dictionary}/item")
    def _new_item(self, call: Call, dictionary: str) -> Reply:
        key = call.form.get("item_key", "")
        self._change(dictionary, [Change("create", key, call.form.get("item_value", ""))])
        return Reply(self.service.dictionary(dictionary).item_json(key))

    @_route("GET", "/service/{service}/dictionary/{dictionary}/item/{key}")
    def _item(self, _: Call, dictionary: str, key: str) -> Reply:
        return Reply(self.service.dictionary(dictionary).item_json(key))

    @_route("PUT", "/service/{service}/dictionary/{dictionary}/item/{key}")
    def _upsert_item(self, call: Call, dictionary: str, key: str) -> Reply:
        self._change(dictionary, [Change("upsert", key, call.form.get("item_value", ""))])
        item = self.service.dictionary(dictionary).item_json(key)
        return Reply({name: item[name] for name in ("dictionary_id", "service_id", "item_key", "item_value")})

    @_route("PATCH", "/service/{service}/dictionary/{dictionary}/item/{key}")
    def _update_item(self, call: Call, dictionary: str, key: str) -> Reply:
        self._change(dictionary, [Change("update", key, call.form.get("item_value", ""))])
        return Reply(self.service.dictionary(dictionary).item_json(key))

    @_route("DELETE", "/service/{service}/dictionary/{dictionary}/item/{key}")
    def _delete_item(self, _: Call, dictionary: str, key: str) -> Reply:
        self._change(dictionary, [Change("delete", key)])
        return OK

    def _change(self, dictionary: str, changes: list[Change]) -> None:
        found = self.service.dictionary(dictionary)
        before = {key: item.value for key, item in found.items.items()}
        try:
            found.apply(changes, timestamp(), atomic=self.controls.beliefs.batch_is_atomic)
        finally:
            after = {key: item.value for key, item in found.items.items()}
            changed = {key: after.get(key) for key in before | after if before.get(key) != after.get(key)}
            self.network.write(dictionary, changed, time.monotonic())

    # -- purges --------------------------------------------------------------------------------------------------

    @_route("POST", "/service/{service}/purge_all")
    def _purge_all(self, _: Call) -> Reply:
        self.network.purge_all()
        return OK

    @_route("POST", "/service/{service}/purge")
    def _purge_keys(self, call: Call) -> Reply:
        keys = (call.received.header("surrogate-key") or "").split()
        if not keys:
            content = call.json()
            listed = content.get("surrogate_keys") if isinstance(content, dict) else None
            keys = [str(key) for key in listed] if isinstance(listed, list) else []
        if not keys:
            raise Problem(400, "Bad request", "No surrogate keys were given")
        if len(keys) > PURGE_LIMIT:
            raise Problem(400, "Bad request", f"At most {PURGE_LIMIT} surrogate keys a call, not {len(keys)}")
        ids = self._purge(call, keys)
        count = ("Fastly-Surrogate-Key-Count", str(len(keys)))
        return Reply(ids, limited=False, headers=[("Fastly-Instant-Rate", "0"), count])

    @_route("POST", "/service/{service}/purge/{key}")
    def _purge_key(self, call: Call, key: str) -> Reply:
        return Reply({"status": "ok", "id": self._purge(call, [key])[key]}, limited=False)

    @_route("POST", "/purge/(?P<url>.+)")
    def _purge_url(self, call: Call, url: str) -> Reply:
        """With or without a scheme, as clients differ."""
        call.entry.soft = call.soft
        bare = re.sub(r"^https?:/{1,2}", "", url)
        self.network.purge_url(bare if "/" in bare else f"{bare}/", soft=call.soft)
        return Reply({"status": "ok", "id": self._purge_id()}, limited=False)

    def _purge(self, call: Call, keys: list[str]) -> dict[str, str]:
        call.entry.keys, call.entry.soft = keys, call.soft
        if any(len(key.encode()) > KEY_BYTES for key in keys):
            raise Problem(400, "Bad request", f"A surrogate key has at most {KEY_BYTES} bytes")
        self.network.purge_keys(keys, soft=call.soft)
        return {key: self._purge_id() for key in keys}


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Problem(400, "Bad request", f"'{text}' is not a page")
    return int(text)
