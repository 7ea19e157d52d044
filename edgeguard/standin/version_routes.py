"""Routes of versions, and of what is in them but dictionaries. Registered by being imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.routing import OK, Call, Reply, route
from edgeguard.standin.vcl import VclError
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from edgeguard.standin.routes import Routes


@route("GET", "/service/{service}/version")
def _versions(routes: Routes, _: Call) -> Reply:
    return Reply([version.json(routes.service.id) for version in routes.service.versions.values()])


@route("POST", "/service/{service}/version")
def _new_version(routes: Routes, call: Call) -> Reply:
    version = routes.service.create()
    version.comment = call.form.get("comment", "")
    return Reply({"number": version.number, "service_id": routes.service.id, "comment": version.comment})


@route("GET", "/service/{service}/version/{n}")
def _version(routes: Routes, _: Call, n: str) -> Reply:
    return Reply(routes.service.version(int(n)).json(routes.service.id))


@route("PUT", "/service/{service}/version/{n}")
def _comment(routes: Routes, call: Call, n: str) -> Reply:
    version = routes.service.draft(int(n))
    version.comment = call.form.get("comment", version.comment)
    return Reply(version.json(routes.service.id))


@route("PUT", "/service/{service}/version/{n}/clone")
def _clone(routes: Routes, _: Call, n: str) -> Reply:
    return Reply(routes.service.clone(int(n)).json(routes.service.id))


@route("GET", "/service/{service}/version/{n}/validate")
def _validate(routes: Routes, _: Call, n: str) -> Reply:
    return Reply(routes.service.validate(int(n)))


@route("PUT", "/service/{service}/version/{n}/activate")
def _activate(routes: Routes, _: Call, n: str) -> Reply:
    try:
        routes.service.compile(int(n))
    except VclError as exc:
        raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
    version = routes.service.activate(int(n))
    routes.controls.sick = False  # a new configuration takes its backends to be healthy, until they are checked
    routes.load()
    return Reply({**version.json(routes.service.id), "environments": [], "msg": None})


@route("PUT", "/service/{service}/version/{n}/deactivate")
def _deactivate(routes: Routes, _: Call, n: str) -> Reply:
    version = routes.service.deactivate(int(n))
    routes.load()
    return Reply(version.json(routes.service.id))


@route("PUT", "/service/{service}/version/{n}/lock")
def _lock(routes: Routes, _: Call, n: str) -> Reply:
    version = routes.service.version(int(n))
    version.locked = True
    return Reply(version.json(routes.service.id))


@route("GET", "/service/{service}/version/{n}/settings")
def _settings(routes: Routes, _: Call, n: str) -> Reply:
    return Reply(routes.service.settings_json(int(n)))


@route("PUT", "/service/{service}/version/{n}/settings")
def _set_settings(routes: Routes, call: Call, n: str) -> Reply:
    return Reply(routes.service.change_settings(int(n), call.form))


@route("GET", "/service/{service}/version/{n}/generated_vcl")
def _generated(routes: Routes, _: Call, n: str) -> Reply:
    version = routes.service.version(int(n))
    try:
        text = routes.service.compile(version.number).text
    except VclError as exc:
        raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
    names = {"name": routes.service.name, "service_id": routes.service.id, "version": version.number}
    times = {"created_at": version.created_at, "updated_at": version.updated_at, "deleted_at": None}
    return Reply({**names, **times, "content": text, "main": False})


@route("GET", "/service/{service}/version/{n}/{kind}")
def _objects(routes: Routes, _: Call, n: str, kind: str) -> Reply:
    return Reply(routes.service.objects_json(int(n), kind))


@route("POST", "/service/{service}/version/{n}/{kind}")
def _new_object(routes: Routes, call: Call, n: str, kind: str) -> Reply:
    return Reply(routes.service.add_object(int(n), kind, call.form))


@route("GET", "/service/{service}/version/{n}/{kind}/{name}")
def _object(routes: Routes, _: Call, n: str, kind: str, name: str) -> Reply:
    return Reply(routes.service.object_json(int(n), kind, name))


@route("PUT", "/service/{service}/version/{n}/{kind}/{name}")
def _set_object(routes: Routes, call: Call, n: str, kind: str, name: str) -> Reply:
    return Reply(routes.service.change_object(int(n), kind, name, call.form))


@route("DELETE", "/service/{service}/version/{n}/{kind}/{name}")
def _delete_object(routes: Routes, _: Call, n: str, kind: str, name: str) -> Reply:
    routes.service.remove(int(n), kind, name)
    return OK


# -- snippets ------------------------------------------------------------------------------------------------


@route("GET", "/service/{service}/version/{n}/snippet")
def _snippets(routes: Routes, _: Call, n: str) -> Reply:
    rows = routes.service.version(int(n)).snippets.values()
    return Reply([row.json(routes.service.id, int(n)) for row in rows])


@route("POST", "/service/{service}/version/{n}/snippet")
def _new_snippet(routes: Routes, call: Call, n: str) -> Reply:
    return Reply(routes.service.add_snippet(int(n), call.form).json(routes.service.id, int(n)))


@route("GET", "/service/{service}/version/{n}/snippet/{name}")
def _snippet(routes: Routes, _: Call, n: str, name: str) -> Reply:
    return Reply(routes.service.snippet(int(n), name).json(routes.service.id, int(n)))


@route("PUT", "/service/{service}/version/{n}/snippet/{name}")
def _set_snippet(routes: Routes, call: Call, n: str, name: str) -> Reply:
    return Reply(routes.service.change_snippet(int(n), name, call.form).json(routes.service.id, int(n)))


@route("DELETE", "/service/{service}/version/{n}/snippet/{name}")
def _delete_snippet(routes: Routes, _: Call, n: str, name: str) -> Reply:
    routes.service.remove(int(n), "snippet", name)
    return OK


@route("GET", "/service/{service}/snippet/{snippet}")
def _dynamic(routes: Routes, _: Call, snippet: str) -> Reply:
    return Reply(_dynamic_json(routes, snippet))


@route("PUT", "/service/{service}/snippet/{snippet}")
def _set_dynamic(routes: Routes, call: Call, snippet: str) -> Reply:
    """Acts on the active version at once. One that doesn't compile is refused."""
    old = _dynamic_json(routes, snippet)["content"]
    routes.service.dynamic_contents[snippet] = call.form.get("content", old)
    try:
        routes.load()
    except VclError as exc:
        routes.service.dynamic_contents[snippet] = old
        raise Problem(400, "Bad request", "\n".join(exc.messages)) from exc
    return Reply(_dynamic_json(routes, snippet))


def _dynamic_json(routes: Routes, snippet: str) -> dict[str, Any]:
    if snippet not in routes.service.dynamic_contents:
        raise missing("Snippet", {"service_id": routes.service.id, "id": snippet})
    now = timestamp()
    content = routes.service.dynamic_contents[snippet]
    ids = {"service_id": routes.service.id, "snippet_id": snippet}
    return {**ids, "content": content, "created_at": now, "updated_at": now, "deleted_at": None}
