"""Routes of the account: its token and its service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.problems import missing
from edgeguard.standin.routing import Call, Reply, route

if TYPE_CHECKING:
    from edgeguard.standin.account import Account


@route("GET", "/tokens/self")
def _token_self(account: Account, call: Call) -> Reply:
    return Reply(call.token.shown(account.service.customer_id))


@route("GET", "/service")
def _services(account: Account, _: Call) -> Reply:
    service = account.service
    number = service.active.number if service.active else max(service.versions)
    return Reply([{**service.json(), "version": number}])


@route("GET", "/service/search")
def _search(account: Account, call: Call) -> Reply:
    name = call.query.get("name", "")
    if name != account.service.name:
        raise missing("Service", {"name": name})
    return Reply(account.service.json())


@route("GET", "/service/{service}")
def _service(account: Account, _: Call) -> Reply:
    return Reply(account.service.json())


@route("GET", "/service/{service}/details")
def _details(account: Account, call: Call) -> Reply:
    active_only = call.query.get("filter[versions.active]", "").lower() in {"1", "true"}
    return Reply(account.service.details_json(active_only=active_only))
