"""Routes that check a version's domains. No DNS is asked: a domain never points to the stand-in.

The shape was recorded (github.com/fastly/go-fastly, fastly/fixtures/domains): the domain, its CNAME, and whether that
leads to Fastly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.routing import Call, Reply, route

if TYPE_CHECKING:
    from edgeguard.standin.account import Account


@route("GET", "/service/{service}/version/{n}/domain/check_all")
def _check_all(account: Account, _: Call, n: str) -> Reply:
    return Reply([[row, None, False] for row in account.service.objects_json(int(n), "domain")])


@route("GET", "/service/{service}/version/{n}/domain/{name}/check")
def _check(account: Account, _: Call, n: str, name: str) -> Reply:
    return Reply([account.service.object_json(int(n), "domain", name), None, False])
