"""Findings on a Fastly token, from the API's answer about it: whether it may do all that edgeguard needs.

Fastly: reference/api/auth-tokens. Fastly does not document whether every kind of token may ask about itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeguard.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def find(token: Mapping[str, Any] | None, *, service: str, now: float, lasting: float) -> tuple[Finding, ...]:
    """Findings on a token that has to last for `lasting` more seconds; () if it is fit.

    `token` is the answer of GET /tokens/self; None: that was refused.
    """
    if token is None:
        text = "the token may not read its own scopes and end"
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
