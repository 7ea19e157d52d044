"""Routes of versions and of what is in them: settings, objects and snippets. Dictionaries have a file of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.routing import OK, Call, Reply, route
from edgeguard.standin.vcl import VclError
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from edgeguard.standin.account import Account


@route("GET", "/service/{service}/version")
def _versions(account: Account, _: Call) -> Reply:
    return Reply([version.json(account.service.id) for version in account.service.versions.values()])


@route("POST", "/service/{service}/version")
def _new_version(account: Account, call: Call) -> Reply:
    """The answer repeats the comment where one is given, as recorded."""
    version = account.service.create()
    version.comment = call.form.get("comment", "")
    given = {key: value for key, value in call.form.items() if key == "comment"}
    return Reply({"number": version.number, "service_id": account.service.id, **given})


@route("GET", "/service/{service}/version/{n}")
def _version(account: Account, _: Call, n: str) -> Reply:
    return Reply(account.service.version(int(n)).json(account.service.id))


@route("PUT", "/service/{service}/version/{n}")
def _comment(account: Account, call: Call, n: str) -> Reply:
    version = account.service.draft(int(n))
    version.comment = call.form.get("comment", version.comment)
    return Reply(version.json(account.service.id))


@route("PUT", "/service/{service}/version/{n}/clone")
def _clone(account: Account, _: Call, n: str) -> Reply:
    return Reply(account.service.clone(int(n)).json(account.service.id))


@route("GET", "/service/{service}/version/{n}/validate")
def _validate(account: Account, _: Call, n: str) -> Reply:
    return Reply(account.service.validate(int(n)))


@route("PUT", "/service/{service}/version/{n}/activate")
def _activate(account: Account, _: Call, n: str) -> Reply:
    """`environments` is empty in this answer alone, and `msg` has the compiler's warnings, as recorded."""
    try:
        program = account.service.compile(int(n))
    except VclError as exc:
        raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
    version = account.service.activate(int(n))
    if account.served:
        account.controls.sick = False  # a new configuration takes its backends to be healthy, until they are checked
    account.load()
    last = len(program.text.splitlines())
    warning = f"Warning: No default director found\nat: (default Line {last} Pos 1)"
    msg = None if version.objects["backend"] else warning
    return Reply({**version.json(account.service.id), "environments": [], "msg": msg})


@route("PUT", "/service/{service}/version/{n}/deactivate")
def _deactivate(account: Account, _: Call, n: str) -> Reply:
    version = account.service.deactivate(int(n))
    account.load()
    return Reply(version.json(account.service.id))


@route("PUT", "/service/{service}/version/{n}/lock")
def _lock(account: Account, _: Call, n: str) -> Reply:
    version = account.service.version(int(n))
    version.locked = True
    return Reply(version.json(account.service.id))


@route("GET", "/service/{service}/version/{n}/settings")
def _settings(account: Account, _: Call, n: str) -> Reply:
    return Reply(account.service.settings_json(int(n)))


@route("PUT", "/service/{service}/version/{n}/settings")
def _set_settings(account: Account, call: Call, n: str) -> Reply:
    return Reply(account.service.change_settings(int(n), call.form))


@route("GET", "/service/{service}/version/{n}/generated_vcl")
def _generated(account: Account, _: Call, n: str) -> Reply:
    version = account.service.version(int(n))
    try:
        text = account.service.compile(version.number).text
    except VclError as exc:
        raise Problem(422, "Version has errors", "\n".join(exc.messages)) from exc
    names = {"name": account.service.name, "service_id": account.service.id, "version": version.number}
    times = {"created_at": version.created_at, "updated_at": version.updated_at, "deleted_at": None}
    return Reply({**names, **times, "content": text, "main": False})


@route("PUT", "/service/{service}/version/{n}/vcl/{name}/main")
def _main(account: Account, _: Call, n: str, name: str) -> Reply:
    return Reply(account.service.be_main(int(n), name))


@route("GET", "/service/{service}/version/{n}/{kind}")
def _objects(account: Account, _: Call, n: str, kind: str) -> Reply:
    return Reply(account.service.objects_json(int(n), kind))


@route("POST", "/service/{service}/version/{n}/{kind}")
def _new_object(account: Account, call: Call, n: str, kind: str) -> Reply:
    return Reply(account.service.add_object(int(n), kind, call.form))


@route("GET", "/service/{service}/version/{n}/{kind}/{name}")
def _object(account: Account, _: Call, n: str, kind: str, name: str) -> Reply:
    return Reply(account.service.object_json(int(n), kind, name))


@route("PUT", "/service/{service}/version/{n}/{kind}/{name}")
def _set_object(account: Account, call: Call, n: str, kind: str, name: str) -> Reply:
    return Reply(account.service.change_object(int(n), kind, name, call.form))


@route("DELETE", "/service/{service}/version/{n}/{kind}/{name}")
def _delete_object(account: Account, _: Call, n: str, kind: str, name: str) -> Reply:
    account.service.remove(int(n), kind, name)
    return OK


# -- snippets ------------------------------------------------------------------------------------------------


@route("GET", "/service/{service}/version/{n}/snippet")
def _snippets(account: Account, _: Call, n: str) -> Reply:
    rows = account.service.version(int(n)).snippets.values()
    return Reply([row.json(account.service.id, int(n)) for row in rows])


@route("POST", "/service/{service}/version/{n}/snippet")
def _new_snippet(account: Account, call: Call, n: str) -> Reply:
    return Reply(account.service.add_snippet(int(n), call.form).json(account.service.id, int(n)))


@route("GET", "/service/{service}/version/{n}/snippet/{name}")
def _snippet(account: Account, _: Call, n: str, name: str) -> Reply:
    return Reply(account.service.snippet(int(n), name).json(account.service.id, int(n)))


@route("PUT", "/service/{service}/version/{n}/snippet/{name}")
def _set_snippet(account: Account, call: Call, n: str, name: str) -> Reply:
    return Reply(account.service.change_snippet(int(n), name, call.form).json(account.service.id, int(n)))


@route("DELETE", "/service/{service}/version/{n}/snippet/{name}")
def _delete_snippet(account: Account, _: Call, n: str, name: str) -> Reply:
    account.service.remove(int(n), "snippet", name)
    return OK


@route("GET", "/service/{service}/snippet/{snippet}")
def _dynamic(account: Account, _: Call, snippet: str) -> Reply:
    return Reply(_dynamic_json(account, snippet))


@route("PUT", "/service/{service}/snippet/{snippet}")
def _set_dynamic(account: Account, call: Call, snippet: str) -> Reply:
    """Acts on the active version at once. One that doesn't compile is refused."""
    old = _dynamic_json(account, snippet)["content"]
    account.service.dynamic_contents[snippet] = call.form.get("content", old)
    try:
        account.load()
    except VclError as exc:
        account.service.dynamic_contents[snippet] = old
        raise Problem(400, "Bad request", "\n".join(exc.messages)) from exc
    return Reply(_dynamic_json(account, snippet))


def _dynamic_json(account: Account, snippet: str) -> dict[str, Any]:
    if snippet not in account.service.dynamic_contents:
        raise missing("Snippet", {"service_id": account.service.id, "id": snippet})
    now = timestamp()
    content = account.service.dynamic_contents[snippet]
    ids = {"service_id": account.service.id, "snippet_id": snippet}
    return {**ids, "content": content, "created_at": now, "updated_at": now}
