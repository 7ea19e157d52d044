"""The statements of VCL that Fastly itself generates, which are no conflict with the policy. Pure.

A service without a main VCL file runs them, and many main files have copied them from Fastly's documentation. A
statement is Fastly's own if its words are exactly these: white space and comments may differ, a single word may not.
The forms are those of generated VCL that was published (github.com/thechangelog/changelog.com, 2022.fly and
fly.io/cdn-2024-01-26; github.com/ysugimoto/falco, examples/formatter), and of Fastly's boilerplate, old and new
(guides/full-site-delivery/fastly-vcl/about-fastly-vcl).

- **The error that is kept for a second.** A 500 or 503 that comes this far has no stale copy: the policy's fetch
  snippet is in the macro before it. Such an answer is not cacheable, so its grace keeps no page.
- **One restart on a 500 or 503.** It, too, comes after the policy has looked for a stale copy.
- **The restart in the error macro** comes after the policy's error snippet, and only for clients that ask for it.
- **"Serve stale"**, where the service's own setting is on. That setting is a finding of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeguard.edge.fastly.vcl import statements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeguard.edge.fastly.vcl import Statement

_RESTART = """
if ((beresp.status == 500 || beresp.status == 503) && req.restarts < 1
    && (req.request == "GET" || req.request == "HEAD")) {
  restart;
}
"""
_ERROR = """
if (beresp.status == 500 || beresp.status == 503) {
  set req.http.Fastly-Cachetype = "ERROR";
  set beresp.ttl = 1s;
  set beresp.grace = 5s;
  return (deliver);
}
"""
_RESTART_FOR_WHO_ASKS = """
if (req.http.Fastly-Restart-On-Error) {
  if (obj.status == 503 && req.restarts == 0) {
    restart;
  }
}
"""
_SERVE_STALE = """
if (beresp.status >= 500 && beresp.status < 600) {
  if (stale.exists) {
    return(deliver_stale);
  }
  if (req.restarts < 1 && (req.request == "GET" || req.request == "HEAD")) {
    restart;
  }
}
"""
_OWN = {
    # Since 2023 the restart is in a condition: with the image optimizer, Fastly sets that variable to true before it.
    "fetch": frozenset(
        statements(f"{_RESTART} if (!var.fastly_disable_restart_on_error) {{ {_RESTART} }} {_ERROR}"),
    ),
    "error": frozenset(statements(_RESTART_FOR_WHO_ASKS)),
}


def statements_of(serve_stale: int | None) -> Mapping[str, frozenset[Statement]]:
    """Fastly's own statements at the top of its subroutines (recv, fetch, …).

    `serve_stale` is general.stale_if_error_ttl where general.stale_if_error is on, else None.
    """
    if serve_stale is None:
        return _OWN
    stale = statements(f"{_SERVE_STALE} set beresp.stale_if_error = {serve_stale}s;")
    return _OWN | {"fetch": _OWN["fetch"] | frozenset(stale)}
