"""Whether a Fastly token may do all that edgeguard needs of it, by its own word.

Fastly: reference/api/auth-tokens. Whether every kind of token may ask about itself is not documented.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeguard.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def find(token: Mapping[str, Any] | None, *, service: str, now: float, lasting: float) -> tuple[Finding, ...]:
    """Findings on a token that will be used for `lasting` more seconds; () where it is fit. `token` is the answer of
    GET /tokens/self, None where that was refused."""
    if token is None:
        text = "the token may not tell its scopes and its end"
        return (Finding("token-unknown", "note", text, "Look in Fastly's control panel, under API tokens."),)
    return (*_scope(token, service), *_end(token, now, lasting))


def _scope(token: Mapping[str, Any], service: str) -> Iterator[Finding]:
    scopes = token.get("scopes") or str(token.get("scope") or "").split()
    services = token.get("services") or []
    if "global" not in scopes:
        yield Finding(
            "token-scope",
            "warning",
            f"the token's scope is {' '.join(map(str, scopes)) or 'empty'}: it can't claim grace, so no deploy with it "
            "gets as far as closing anything",
            f"Deploy with a token of scope global, limited to the service {service}.",
        )
    elif services and service not in services:
        text = f"the token is for other services than {service}"
        yield Finding("token-scope", "warning", text, "Make one for this service, with the scope global.")


def _end(token: Mapping[str, Any], now: float, lasting: float) -> Iterator[Finding]:
    ends = token.get("expires_at")
    try:
        left = datetime.fromisoformat(str(ends)).timestamp() - now if ends else None
    except ValueError:
        return
    if left is not None and left < lasting:
        yield Finding(
            "token-expires",
            "warning",
            f"the token ends at {ends}, in {max(0.0, left) / 3600:.1f} h",
            "Make a new one in time: a deploy whose token ends can neither renew its claim nor purge.",
        )
