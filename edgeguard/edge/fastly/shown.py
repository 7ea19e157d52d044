"""The answer to the policy's status request. It needs no token, and no API."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from edgeguard.edge.fastly import policy
from edgeguard.errors import EdgeUnavailable, OriginsUnhealthy

if TYPE_CHECKING:
    from edgeguard.edge import Ask, Status
    from edgeguard.settings import EdgeSettings

TIMEOUT = 5.0
_REMEDY = "Is the policy installed (`edgeguard edge diff` tells), and is edge.url the front door?"


def status(settings: EdgeSettings, ask: Ask, *, timeout: float = TIMEOUT) -> Status:
    """Ask the status request once, through the front door.

    Raises:
        EdgeUnavailable: there is no answer, or the answer is not a status of our policy.
    """
    url = settings.address(f"/{settings.status_name}")
    try:
        answer = ask(url, headers={}, timeout=timeout)
    except OriginsUnhealthy as exc:
        raise EdgeUnavailable(exc.message, _REMEDY) from exc
    if answer.status != HTTPStatus.OK:
        raise EdgeUnavailable(f"{url} answers {answer.status}, which is not a status of the policy", _REMEDY)
    try:
        return policy.read_status(answer.body.decode("utf-8"))
    except ValueError as exc:
        raise EdgeUnavailable(f"{url} gives no status of the policy ({exc})", _REMEDY) from exc
