"""The API: tokens, faults, rate limits and the shapes of answers, around the routes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from edgeguard.standin import (
    account_routes,
    dictionary_routes,
    domain_routes,
    problems,
    purge_routes,
    token_routes,
    version_routes,
)
from edgeguard.standin.controls import Entry
from edgeguard.standin.problems import Problem
from edgeguard.standin.routing import Call, Reply, dispatch
from edgeguard.standin.wire import Answer, Dropped

if TYPE_CHECKING:
    from edgeguard.standin.account import Account
    from edgeguard.standin.controls import Fault
    from edgeguard.standin.wire import Pairs, Received

RATE_LIMIT = 10_000
"""Writes an hour, as the recorded account had. The headers count them; nothing enforces the limit."""
HOUR = 3600
ROUTES = (account_routes, dictionary_routes, domain_routes, purge_routes, token_routes, version_routes)
"""The files whose routes this API has. They register them when they are imported; the first that fits is taken."""
OPENID = "/realms/fastly/.well-known/openid-configuration"


class Api:
    """Answers on the API's port. One call at a time acts; a delayed call holds up no other."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._controls = account.controls
        self._written = 0
        self._hour = 0

    async def answer(self, received: Received) -> Answer:
        """Record the request, let a fault act on it, and do what the request asks."""
        path = urlsplit(received.target).path if not received.target.startswith("/purge/") else received.target
        entry = Entry(time.time(), received.method, path)
        self._controls.history.append(entry)
        fault = self._controls.fault(received.method, path)
        answer = self._answer(received, path, entry) if fault is None else await self._misbehave(fault, received, entry)
        entry.status = answer.status
        return answer

    async def _misbehave(self, fault: Fault, received: Received, entry: Entry) -> Answer:
        """Answer as the fault says. Raises Dropped for no answer; the entry's status then stays None."""
        instead = fault.status is not None or fault.body is not None
        answer = self._answer(received, entry.path, entry) if fault.apply else None
        await asyncio.sleep(fault.delay)
        if fault.drop == "before":
            raise Dropped
        if instead:
            body = '{"msg": "The stand-in was told to fail"}' if fault.body is None else fault.body
            headers = {"Content-Type": "application/json"} | fault.headers
            answer = Answer(fault.status or 200, list(headers.items()), body.encode("latin-1"))
        answer = answer or self._answer(received, entry.path, entry)
        if fault.drop == "after":
            raise Dropped
        return replace(answer, cut=fault.drop == "within")

    def _answer(self, received: Received, path: str, entry: Entry) -> Answer:
        headers: Pairs = [("Date", formatdate(usegmt=True))]
        limited = True
        try:
            reply = self._dispatch(received, path, entry)
            status, limited = reply.status, reply.limited
            content = b"" if reply.content is None else json.dumps(reply.content).encode()
            headers += reply.headers
        except Problem as problem:
            status, content = problem.status, problems.body(problem)
            headers.append(("Content-Type", "application/json"))
        if limited:
            headers += [("Status", f"{status} {HTTPStatus(status).phrase}"), ("Cache-Control", "no-store")]
            headers += self._rate_limit() if received.method != "GET" else []
        return Answer(status, headers, content)

    def _rate_limit(self) -> Pairs:
        hour = int(time.time()) // HOUR
        self._written = self._written + 1 if hour == self._hour else 1
        self._hour = hour
        remaining = max(0, RATE_LIMIT - self._written)
        return [("Fastly-RateLimit-Remaining", str(remaining)), ("Fastly-RateLimit-Reset", str((hour + 1) * HOUR))]

    def _dispatch(self, received: Received, path: str, entry: Entry) -> Reply:
        if received.method == "GET" and path == OPENID:
            issuer = f"http://{received.header('host')}/realms/fastly"
            below = f"{issuer}/protocol/openid-connect"
            urls = {"authorization_endpoint": f"{below}/auth", "token_endpoint": f"{below}/token"}
            return Reply({"issuer": issuer, **urls, "jwks_uri": f"{below}/certs"})
        token = self._account.tokens.authorize(received.header("fastly-key"), received.method, path)
        query = dict(parse_qsl(urlsplit(received.target).query))
        return dispatch(self._account, Call(received, path, query, _form(received), entry, token))


def _form(received: Received) -> dict[str, str]:
    """The body as a form. A JSON object is read like a form; an empty body is an empty form, whatever its type."""
    if (received.header("content-type") or "").startswith("application/json"):
        try:
            content = json.loads(received.body or b"{}")
        except ValueError:
            raise Problem(400, "Bad request", "The body is not JSON") from None
        return {key: str(value) for key, value in content.items()} if isinstance(content, dict) else {}
    return dict(parse_qsl(received.body.decode("utf-8", "replace"), keep_blank_values=True))
