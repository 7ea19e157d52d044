"""The variables that VCL sees: a visit sets them from a request, an object or an answer before it runs a subroutine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.standin.cache import CACHEABLE, UNLIMITED, UNSTATED_TTL, Stored, lifetime, surrogate_keys
from edgeguard.standin.conditional import CONDITIONS
from edgeguard.standin.vcl import Headers, Request
from edgeguard.standin.wire import end_to_end

if TYPE_CHECKING:
    from edgeguard.standin.node import Loaded, Node
    from edgeguard.standin.vcl import Value
    from edgeguard.standin.wire import Answer, Received


OUTER = "signed!OUTER!cache-outer1-OUTER"
"""A request with this Fastly-FF comes from a node of another Fastly service, in front of this one."""


def new_request(node: Node, loaded: Loaded, received: Received, visits: int) -> Request:
    """A request as vcl_recv finds it. `visits` counts the nodes of the service that it passed before this one."""
    values: dict[str, Value] = {
        "req.url": received.target,
        "req.method": received.method,
        "req.proto": "HTTP/1.1",
        "req.restarts": 0,
        "req.hash": "",
        "req.vcl.generation": node.cache.generation,
        "req.vcl.version": loaded.number,
        "req.max_stale_if_error": UNLIMITED,
        "req.max_stale_while_revalidate": UNLIMITED,
        "client.ip": received.client,
        "server.identity": node.identity,
        "fastly_info.state": "NONE",
        "stale.exists": None,
        "resp.stale": False,
        "resp.stale.is_error": False,
        "resp.stale.is_revalidating": False,
    }
    pairs = end_to_end(received.headers)
    if visits == 0:  # a visitor could forge it; Fastly knows its own by a signature
        pairs = [pair for pair in pairs if pair[0].lower() != "fastly-ff" or pair[1] == OUTER]
    return Request(tables=loaded.tables, req=Headers(pairs), values=values, semantics=node.controls.semantics)


def set_bereq(request: Request, method: str, client: str, *, passing: bool) -> None:
    """Make the request to the upstream from the visitor's. `passing`: its answer can't be stored."""
    dropped = {"fastly-ff"} if passing else {"fastly-ff", *CONDITIONS}
    request.bereq = Headers([(key, value) for key, value in request.req.items() if key.lower() not in dropped])
    request.bereq.set("X-Forwarded-For", client)
    request.bereq.set("Fastly-Client-IP", client)
    request.bereq.set("CDN-Loop", "Fastly")
    request.values.update({"bereq.url": request.values["req.url"], "bereq.method": method})


def set_obj(request: Request, stored: Stored, node: Node) -> None:
    """Show vcl_hit the object that was hit."""
    now = node.controls.now()
    request.obj = Headers(stored.headers)
    request.values.update(
        {
            "obj.status": stored.status,
            "obj.response": stored.reason,
            "obj.ttl": stored.expires_at(node.controls.beliefs) - now,
            "obj.age": stored.age_at(now),
            "obj.hits": stored.hits,
            "obj.stale_if_error": stored.sie,
            "obj.stale_while_revalidate": stored.swr,
        },
    )


def set_beresp(request: Request, answer: Answer, now: float, *, passing: bool) -> None:
    """Show vcl_fetch the upstream's answer."""
    said = lifetime(answer.headers, now)
    request.beresp = Headers(answer.headers)
    request.values.update(
        {
            "beresp.status": answer.status,
            "beresp.response": answer.reason,
            "beresp.ttl": UNSTATED_TTL if said.ttl is None else said.ttl,
            "beresp.stale_while_revalidate": said.swr or 0.0,
            "beresp.stale_if_error": said.sie or 0.0,
            "beresp.cacheable": answer.status in CACHEABLE and not passing,
            "fastly_info.state": "PASS" if passing else "MISS",
        },
    )


def fetched(request: Request, body: bytes, now: float) -> Stored:
    """The object that vcl_fetch left behind: what the upstream sent, with what VCL set on it."""
    values, beresp = request.values, request.beresp
    assert beresp is not None  # noqa: S101 - set_beresp made it; this tells mypy
    headers = tuple(beresp.items())
    return Stored(
        url=f"{request.req.get('Host') or ''}{values['req.url']}",
        status=int(values["beresp.status"] or 0),
        reason=str(values["beresp.response"] or ""),
        headers=tuple((key, value) for key, value in headers if key.lower() != "age"),
        body=body,
        stored_at=now,
        ttl=float(values["beresp.ttl"] or 0.0),
        swr=float(values["beresp.stale_while_revalidate"] or 0.0),
        sie=float(values["beresp.stale_if_error"] or 0.0),
        age=lifetime(list(headers), now).age,
        surrogate_keys=surrogate_keys(beresp.get("Surrogate-Key") or ""),
    )


def synthetic(request: Request, now: float) -> Stored:
    """The answer that vcl_error left behind, with a body of the edge's own where VCL gave none."""
    values, obj = request.values, request.obj
    assert obj is not None  # noqa: S101 - the error step made it; this tells mypy
    status, reason = int(values["obj.status"] or 503), str(values["obj.response"] or "")
    body = request.body
    if body is None:
        body = f"<html><head><title>{status} {reason}</title></head><body>{status} {reason}</body></html>\n"
    return Stored("", status, reason, tuple(obj.items()), body.encode(), now, 0.0)
