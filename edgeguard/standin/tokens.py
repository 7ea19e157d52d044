"""API tokens: what a token may ask, for which services, and until when.

Fastly: guides/account-info/account-management/using-api-tokens. The body of 401 is as in
github.com/fastly/fastly-js/issues/14, that of 403 was never recorded. Nor was the status for a service that a token is
not for: here that is 403, and 404 where there is no such service. A token that is unknown or has ended gets 401.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from edgeguard.standin.problems import Problem, missing
from edgeguard.standin.version import new_id, timestamp

Scope = Literal["global", "global:read", "purge_select", "purge_all"]
USER_ID = "standin0user0000000000"
_SERVICE = re.compile(r"/service/([^/?]+)")


class Token(BaseModel):
    """A token, without its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)] = ("global",)
    services: tuple[str, ...] = ()
    """The ids of the services that it is for; empty: all of the account's."""
    expires_at: AwareDatetime | None = None
    sees_itself: bool | None = None
    """Whether GET /tokens/self answers this token. None: it does, but for a token that may only purge (403). That case
    is not documented."""
    name: str = "stand-in"
    id: str = Field(default_factory=new_id, exclude=True)
    created_at: str = Field(default_factory=timestamp, exclude=True)

    def may(self, method: str, path: str) -> bool:
        """Whether a scope covers the call."""
        reads = method == "GET"
        purges = method == "POST" and re.fullmatch(r"/purge/.+|/service/[^/]+/purge(/[^/]+)?", path) is not None
        if path == "/tokens/self":
            whole = bool({"global", "global:read"} & set(self.scopes))
            return whole if self.sees_itself is None else self.sees_itself
        return (
            "global" in self.scopes
            or ("global:read" in self.scopes and reads)
            or ("purge_select" in self.scopes and purges)
            or ("purge_all" in self.scopes and method == "POST" and path.endswith("/purge_all"))
        )

    def made(self, customer_id: str) -> dict[str, Any]:
        """The token as the answer to making it shows it, without its secret. `service_id` is the last of `services`."""
        ends = self.expires_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if self.expires_at else None
        return {
            "id": self.id,
            "user_id": USER_ID,
            "customer_id": customer_id,
            "name": self.name,
            "created_at": self.created_at,
            "updated_at": self.created_at,
            "expires_at": ends,
            "scope": " ".join(self.scopes),
            "services": list(self.services),
            "service_id": self.services[-1] if self.services else None,
        }

    def shown(self, customer_id: str) -> dict[str, Any]:
        """The token as GET /tokens/self shows it."""
        made = self.made(customer_id)
        del made["updated_at"]
        used = {"last_used_at": timestamp(), "ip": "127.0.0.1", "user_agent": "", "sudo_expires_at": None}
        return {**made, **used, "scopes": list(self.scopes)}


class Tokens:
    """All tokens, by their secrets."""

    def __init__(self, secret: str, service_id: str) -> None:
        """There is one token at first; it is for one service."""
        self.known = {secret: Token(services=(service_id,))}
        self._services = {service_id}

    def extend(self, secret: str, service_id: str) -> None:
        """Let a token that is for certain services be for this new one, too."""
        self._services.add(service_id)
        token = self.known.get(secret)
        if token is not None and token.services:
            self.known[secret] = token.model_copy(update={"services": (*token.services, service_id)})

    def delete(self, token_id: str) -> None:
        """Delete a token by its id. Raises Problem (404)."""
        for secret, token in self.known.items():
            if token.id == token_id:
                del self.known[secret]
                return
        raise missing("Token", {"id": token_id})

    def authorize(self, secret: str | None, method: str, path: str) -> Token:
        """The token with this secret, if it may make this call. Raises Problem (401, 403)."""
        if secret is None:
            raise Problem(403, "You are not authorized to perform this action")
        found = [token for known, token in self.known.items() if hmac.compare_digest(secret.encode(), known.encode())]
        if not found or (found[0].expires_at is not None and found[0].expires_at <= datetime.now(UTC)):
            raise Problem(401, "Provided credentials are missing or invalid")
        named = _SERVICE.match(path)
        elsewhere = found[0].services and named is not None and named[1] in self._services - set(found[0].services)
        if not found[0].may(method, path) or elsewhere:
            raise Problem(403, "You are not authorized to perform this action")
        return found[0]

    def may_purge(self, secret: str | None) -> bool:
        """Whether the token with this secret may purge a URL."""
        try:
            self.authorize(secret, "POST", "/purge/a.url")
        except Problem:
            return False
        return True
