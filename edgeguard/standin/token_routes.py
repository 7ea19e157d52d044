"""Routes of tokens, and of the user who holds them.

The shapes were recorded (github.com/fastly/go-fastly, fastly/fixtures/tokens and users); that of GET /verify is what
Fastly's command-line client reads (github.com/fastly/cli, pkg/commands/whoami). No password is asked for.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.routing import Call, Reply, route
from edgeguard.standin.tokens import USER_ID, Token
from edgeguard.standin.version import timestamp

if TYPE_CHECKING:
    from edgeguard.standin.account import Account

SUDO = timedelta(minutes=5)
"""How long a password lets tokens be made. Nothing enforces it."""
GONE = Reply(None, status=204, headers=[])
USER = {"id": USER_ID, "name": "Stand-in", "login": "stand-in@example.com"}
SINCE = timestamp()


@route("GET", "/tokens/self")
def _token_self(account: Account, call: Call) -> Reply:
    return Reply(call.token.shown(account.customer_id))


@route("GET", "/tokens")
def _tokens(account: Account, _: Call) -> Reply:
    return Reply([token.shown(account.customer_id) for token in account.tokens.known.values()])


@route("GET", "/customer/{customer}/tokens")
def _tokens_of(account: Account, call: Call, customer: str) -> Reply:
    _own(account, customer)
    return _tokens(account, call)


@route("POST", "/sudo")
def _sudo(_: Account, __: Call) -> Reply:
    return Reply({"expiry_time": (datetime.now(UTC) + SUDO).isoformat(timespec="seconds")})


@route("POST", "/tokens")
def _new_token(account: Account, call: Call) -> Reply:
    services = [value for key, value in parse_qsl(call.received.body.decode("latin-1")) if key == "services[]"]
    form: dict[str, Any] = {"services": services, "expires_at": call.form.get("expires_at") or None}
    form |= {"name": call.form.get("name", ""), "scopes": call.form.get("scope", "global").split()}
    try:
        token = Token.model_validate(form)
    except ValidationError as exc:
        raise Problem(400, "Bad request", exc.errors()[0]["msg"]) from exc
    secret = secrets.token_urlsafe(24)
    account.tokens.known[secret] = token
    return Reply(token.made(account.customer_id) | {"access_token": secret})


@route("DELETE", "/tokens")
def _delete_tokens(account: Account, call: Call) -> Reply:
    content = call.json()
    rows = content.get("data") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Problem(400, "Bad request", "Tokens are named as an object with a list, data")
    for row in rows:
        account.tokens.delete(str(row.get("id")))
    return GONE


@route("DELETE", "/tokens/self")
def _delete_self(account: Account, call: Call) -> Reply:
    account.tokens.delete(call.token.id)
    return GONE


@route("DELETE", "/tokens/{token}")
def _delete_token(account: Account, _: Call, token: str) -> Reply:
    account.tokens.delete(token)
    return GONE


@route("GET", "/verify")
def _verify(account: Account, call: Call) -> Reply:
    may_see = call.token.services or tuple(account.services)
    shown = call.token.shown(account.customer_id)
    return Reply(
        {
            "customer": {"id": account.customer_id, "name": "Stand-in"},
            "user": USER,
            "services": {one.id: one.name for one in account.services.values() if one.id in may_see},
            "token": {key: shown[key] for key in ("id", "name", "created_at", "expires_at", "scope")},
        }
    )


@route("GET", "/current_user")
def _current_user(account: Account, _: Call) -> Reply:
    return Reply(
        {
            **USER,
            "customer_id": account.customer_id,
            "role": "superuser",
            "limit_services": False,
            "locked": False,
            "require_new_password": False,
            "two_factor_auth_enabled": None,
            "last_active_at": timestamp(),
            "created_at": SINCE,
            "updated_at": SINCE,
            "deleted_at": None,
        }
    )


def _own(account: Account, customer: str) -> None:
    if customer != account.customer_id:
        raise missing("Customer", {"id": customer})
