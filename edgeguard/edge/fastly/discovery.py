"""Read a service's settings from its policy, for a person who has the service's id and a token, but no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.edge.fastly import policy
from edgeguard.edge.fastly.api import Api
from edgeguard.edge.fastly.shown import TIMEOUT
from edgeguard.edge.fastly.versions import Versions
from edgeguard.errors import EdgeError, OriginsUnhealthy, UsageError

if TYPE_CHECKING:
    from edgeguard.edge import Ask
    from edgeguard.settings import EdgeSettings

DOMAINS = 10
"""The most domains of the service that are tried."""


def discover(given: EdgeSettings, token: str, ask: Ask) -> dict[str, Any]:
    """The settings of [edge] that the service shows: the policy's literals, and the front door.

    `given` has the API's address, and the front door if it is known (else `url` is empty).

    Raises:
        UsageError: the policy is not installed there.
        EdgeError: the service can't be read, or none of its domains shows the policy's status.
    """
    api = Api(given.api_url, token)
    version = Versions(given, api).active()
    remedy = "Is this the right service, and the policy installed (edgeguard edge install ENV)?"
    if version is None:
        raise UsageError(f"the service {given.service} has no active version", remedy)
    of_version = {"service_id": given.service, "version_id": version}
    snippets = api.listed("snippet.list_snippets", "list the snippets", of_version)
    try:
        literals = policy.literals_in({row["name"]: str(row["content"] or "") for row in snippets})
    except ValueError as exc:
        raise UsageError(f"the service {given.service} has no policy of edgeguard's ({exc})", remedy) from exc
    if given.url:
        url = given.url
    else:
        domains = api.listed("domain.list_domains", "list the domains", of_version)
        names = [str(row["name"]) for row in domains if not str(row["name"]).startswith("*")]
        url = _front_door(names[:DOMAINS], str(literals["status_name"]), ask)
    return {**literals, "url": url, "health_url": f"{url.rstrip('/')}/"}


def _front_door(names: list[str], status_name: str, ask: Ask) -> str:
    """The first domain that shows the policy's status. A service may name domains that lead elsewhere."""
    for name in names:
        for scheme in ("https", "http"):
            url = f"{scheme}://{name}"
            try:
                answer = ask(f"{url}/{status_name}", headers={}, timeout=TIMEOUT)
                policy.read_status(answer.body.decode("utf-8"))
            except (OriginsUnhealthy, ValueError):
                continue
            return url
    raise EdgeError(
        f"none of the service's domains shows the policy: {', '.join(names) or 'it has none'}",
        "Name the address at which visitors reach the site: EDGEGUARD_EDGE__URL=https://…",
    )
