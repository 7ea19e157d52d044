"""The calls of Fastly's API that the stand-in does not imitate, since no tool for deploys and stale pages needs them.

It answers each of them with 501, "Not imitated", so that nobody takes them for a mistake of their own. A call that is
neither here nor among the routes is answered with 404, as a call that Fastly does not have.
"""

from __future__ import annotations

import functools
import re

from edgeguard.standin.problems import Problem

NOT_IMITATED = {
    "ACLs and their entries": r"/service/S(/version/N)?/acl",
    "gzip settings": r"/service/S/version/N/gzip",
    "response objects": r"/service/S/version/N/response_object",
    "directors, pools and their servers": r"/service/S(/version/N)?/(director|pool)",
    "log endpoints, log streaming": r"/service/S/(version/N/logging|log_stream)",
    "rate limiters": r"(/service/S/version/N)?/rate-limiters",
    "HTTP/3 and Image Optimizer settings": r"/service/S/version/N/(http3|image_optimizer_default_settings)",
    "Compute packages and resource links": r"/service/S/version/N/(package|resource)",
    "WAF": r"/(service/S/version/N/wafs?|waf|ngwaf|security)",
    "staging": r"/service/S/version/N/(de)?activate/staging",
    "diffs of versions, boilerplate, linting of VCL": (
        r"/service/S/(diff|lint|version/N/(boilerplate|vcl/diff|lint))|/vcl_lint"
    ),
    "versionless domains, DNS zones": r"/(domains|domain-management|dns)",
    "TLS and certificates": r"/tls",
    "KV, config and secret stores": r"/resources",
    "statistics, real-time analytics, inspectors, alerts, events": (
        r"/(stats|metrics|v1/channel|observability|alerts|events|notifications|insights)"
    ),
    "questions to all POPs, lists of POPs and addresses": r"/(content/edge_check|datacenters|public-ip-list)",
    "users, invitations, automation tokens, billing, products": (
        r"/(user|users|invitations|automation-tokens|service-authorizations|roles|user-groups|service-groups|billing"
        r"|enabled-products|product|customer/[^/]+/users)"
    ),
}
"""What is not imitated, and how its paths begin: S is a service's id, N a version's number."""


def refuse(path: str) -> None:
    """Raise Problem (501) where the path belongs to what is not imitated."""
    for name, pattern in _patterns().items():
        if pattern.fullmatch(path):
            raise Problem(501, "Not imitated", f"The stand-in for Fastly does not imitate this: {name}")


@functools.cache
def _patterns() -> dict[str, re.Pattern[str]]:
    expressions = {
        name: beginning.replace("service/S", "service/[^/]+").replace("version/N", "version/[0-9]+")
        for name, beginning in NOT_IMITATED.items()
    }
    return {name: re.compile(f"(?:{expression})(?:/.*)?") for name, expression in expressions.items()}
