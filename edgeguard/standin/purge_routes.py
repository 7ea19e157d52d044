"""Routes of purges: by surrogate keys, by URL, or of everything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeguard.standin.cache import KEY_BYTES
from edgeguard.standin.problems import Problem
from edgeguard.standin.routing import OK, Call, Reply, route

if TYPE_CHECKING:
    from edgeguard.standin.account import Account

PURGE_LIMIT = 256
"""The most surrogate keys in one call (Fastly: reference/api/purging)."""


@route("POST", "/service/{service}/purge_all")
def _purge_all(account: Account, _: Call) -> Reply:
    if account.served:
        account.network.purge_all()
    return OK


@route("POST", "/service/{service}/purge")
def _purge_keys(account: Account, call: Call) -> Reply:
    keys = (call.received.header("surrogate-key") or "").split()
    if not keys:
        content = call.json()
        listed = content.get("surrogate_keys") if isinstance(content, dict) else None
        keys = [str(key) for key in listed] if isinstance(listed, list) else []
    if not keys:
        raise Problem(400, "Bad request", "No surrogate keys were given")
    if len(keys) > PURGE_LIMIT:
        raise Problem(400, "Bad request", f"At most {PURGE_LIMIT} surrogate keys a call, not {len(keys)}")
    ids = _purge(account, call, keys)
    count = ("Fastly-Surrogate-Key-Count", str(len(keys)))
    return Reply(ids, limited=False, headers=[("Fastly-Instant-Rate", "0"), count])


@route("POST", "/service/{service}/purge/{key}")
def _purge_key(account: Account, call: Call, key: str) -> Reply:
    return Reply({"status": "ok", "id": _purge(account, call, [key])[key]}, limited=False)


@route("POST", "/purge/.+")
def _purge_url(account: Account, call: Call) -> Reply:
    """Purge a URL, given with or without a scheme: clients differ. The host is a domain of the account's services.

    The URL is compared as it came, since a cache knows pages by the URL that visitors asked for. The answer for another
    host is as github.com/fastly/fastly-php/issues/53 shows it.
    """
    call.entry.soft = call.soft
    bare = re.sub(r"^https?:/{1,2}", "", call.path.removeprefix("/purge/"))
    host, _, rest = bare.partition("/")
    if not account.has_host(host):
        raise Problem(404, "Record not found", "Cannot find service", key="details")
    account.network.purge_url(f"{host}/{rest}", soft=call.soft)
    return Reply({"status": "ok", "id": account.new_purge_id()}, limited=False)


def _purge(account: Account, call: Call, keys: list[str]) -> dict[str, str]:
    """Purge these keys. Returns the purge's id by key."""
    call.entry.keys, call.entry.soft = keys, call.soft
    if any(len(key.encode()) > KEY_BYTES for key in keys):
        raise Problem(400, "Bad request", f"A surrogate key has at most {KEY_BYTES} bytes")
    if account.served:
        account.network.purge_keys(keys, soft=call.soft)
    return {key: account.new_purge_id() for key in keys}
