"""Routes of the account: its services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin import service_shapes
from edgeguard.standin.objects import TRUE
from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.routing import OK, Call, Reply, route
from edgeguard.standin.service import Service

if TYPE_CHECKING:
    from edgeguard.standin.account import Account


@route("GET", "/service")
def _services(account: Account, call: Call) -> Reply:
    """In the order of making; `direction=descend` turns it round. `version` is the active one's number, or the last."""
    services = list(account.services.values())
    if call.query.get("direction") == "descend":
        services.reverse()
    return Reply(
        [
            {**service_shapes.listed(service), "version": (service.active or service.latest).number}
            for service in services
        ]
    )


@route("POST", "/service")
def _new_service(account: Account, call: Call) -> Reply:
    name, kind = call.form.get("name", ""), call.form.get("type", "vcl")
    if kind not in {"vcl", "wasm"}:
        raise Problem(400, "Bad request", f"'{kind}' is not a type of service")
    service = Service(name, account.customer_id, kind, call.form.get("comment", ""))
    account.add(service, call.received.header("fastly-key") or "")
    return Reply(service_shapes.by_id(service))


@route("GET", "/service/search")
def _search(account: Account, call: Call) -> Reply:
    name = call.query.get("name", "")
    for service in account.services.values():
        if service.name == name:
            return Reply(service_shapes.found(service))
    raise missing("Service", {"name": name})


@route("GET", "/service/{service}")
def _service(account: Account, _: Call) -> Reply:
    return Reply(service_shapes.by_id(account.service))


@route("PUT", "/service/{service}")
def _set_service(account: Account, call: Call) -> Reply:
    service = account.service
    service.name = call.form.get("name", service.name)
    service.comment = call.form.get("comment", service.comment)
    return Reply(service_shapes.by_id(service))


@route("DELETE", "/service/{deleted}")
def _delete_service(account: Account, _: Call, deleted: str) -> Reply:
    account.delete(deleted)
    return OK


@route("GET", "/service/{service}/details")
def _details(account: Account, call: Call) -> Reply:
    active_only = call.query.get("filter[versions.active]", "").lower() in TRUE
    named = call.query.get("version", "")
    number = int(named) if named.isdecimal() else None
    return Reply(service_shapes.details(account.service, active_only=active_only, number=number))


@route("GET", "/service/{asked}/domain")
def _domains(account: Account, _: Call, asked: str) -> Reply:
    """A deleted service has none, as recorded."""
    if asked in account.deleted:
        return Reply([])
    service = account.at(asked).service
    return Reply(service.objects_json((service.active or service.latest).number, "domain"))
