"""The headers that the edge adds to an answer, and the answer as the visitor gets it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeguard.standin.conditional import not_modified
from edgeguard.standin.vcl import Headers
from edgeguard.standin.wire import Answer, end_to_end

if TYPE_CHECKING:
    from edgeguard.standin.cache import Stored
    from edgeguard.standin.node import Node
    from edgeguard.standin.vcl import Request
    from edgeguard.standin.wire import Received


def set_resp(request: Request, served: Stored, node: Node, seconds: float) -> None:
    """Show vcl_deliver the answer. `seconds`: how long this node has worked on it."""
    resp = Headers(served.headers)
    info = str(request.values["fastly_info.state"])
    hit = info.startswith("HIT") and info != "HIT-SYNTH"
    resp.set("Age", str(int(served.age_at(node.controls.now()))))
    resp.set("Via", "1.1 varnish")
    for name, value in (
        ("X-Served-By", node.identity),
        ("X-Cache", "HIT" if hit else "MISS"),
        ("X-Cache-Hits", str(served.hits + 1 if hit else 0)),
    ):  # each node adds its word after those of the nodes behind it
        before = resp.get(name)
        resp.set(name, value if before is None else f"{before}, {value}")
    resp.set("X-Timer", f"S{time.time():.6f},VS0,VE{int(seconds * 1000)}")
    request.resp = resp
    request.values["resp.status"], request.values["resp.response"] = served.status, served.reason


def finished(
    request: Request, received: Received, served: Stored, node: Node, *, length: int | None, passed: bool, holds: bool
) -> Answer:
    """The answer as vcl_deliver left it; a 304 where the visitor has it already.

    `length` is the Content-Length of a body that was left out; `passed`: no conditions are judged; `holds`: this node
    holds the object itself.
    """
    resp, values, beliefs = request.resp, request.values, node.controls.beliefs
    assert resp is not None  # noqa: S101 - every request ends with an answer; this tells mypy
    status, headers = int(values["resp.status"] or 0), list(resp.items())
    if any(key.lower() == "fastly-debug" for key, _ in received.headers):
        before = resp.get("Fastly-Debug-TTL") or ""
        headers = [pair for pair in headers if pair[0].lower() != "fastly-debug-ttl"]
        headers.append(("Fastly-Debug-TTL", f"{_debug_ttl(request, served, node, holds=holds)} {before}".strip()))
    headers = end_to_end(headers)
    judged = headers if beliefs.conditions_judged_after_deliver else list(served.headers)
    if not passed and status == 200 and not_modified(received, judged):  # noqa: PLR2004 - OK
        told = beliefs.surrogates_told_in_304
        return Answer(304, [pair for pair in headers if told or pair[0].lower() != "surrogate-control"])
    return Answer(status, headers, served.body, str(values.get("resp.response") or served.reason), length)


def _debug_ttl(request: Request, served: Stored, node: Node, *, holds: bool) -> str:
    """`(H|M server ttl sie age)`; the times are "-" where this node does not hold the object itself.

    Fastly: reference/http/http-headers/Fastly-Debug-TTL. The brackets are seen in Fastly's own answers. Behind a
    shield there are two such groups, this node's first.
    """
    now, info = node.controls.now(), str(request.values["fastly_info.state"])
    found = "H" if info.startswith("HIT") else "M"
    times = "- -"
    if holds:
        remaining = max(0.0, served.expires_at(node.controls.beliefs) - now)
        times = f"{remaining:.3f} {served.sie:.3f}"
    return f"({found} {node.identity} {times} {int(served.age_at(now))})"
