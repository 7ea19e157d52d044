"""The headers named `Edgeguard-…`, which the policy and the gate set. Only this module reads them. Pure.

`Edgeguard-Show` asks the policy to mark its answers. `Edgeguard-Stale` marks a stale copy. A closed gate sends
`Edgeguard-Closed`, with its deploy and the planned end. Names of headers are in lower case in every mapping.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeguard.times import unix

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLOSED = re.compile(r"\s*([^;]*?)\s*;\s*until=(\S+)\s*")


class Closed(NamedTuple):
    """A closed gate's header: the deploy's id, and the planned end of the closure (Unix time)."""

    deploy: str
    until: float


def asking(status_name: str) -> dict[str, str]:
    """The request header that asks for the policy's marks. `status_name` is edge.status_name."""
    return {"Edgeguard-Show": status_name}


def stale(headers: Mapping[str, str]) -> str | None:
    """The reason why the answer is a stale copy ("hold", "error"); None if it is not stale."""
    return headers.get("edgeguard-stale")


def closed(headers: Mapping[str, str]) -> str | None:
    """The value of a closed gate's header; None if no closed gate has answered."""
    return headers.get("edgeguard-closed") or None


def closed_until(said: str) -> Closed | None:
    """The deploy and the planned end in a closed gate's header; None if it has no readable end."""
    found = _CLOSED.fullmatch(said)
    if found is None:
        return None
    try:
        return Closed(found[1], unix(found[2]))
    except (ValueError, OverflowError):
        return None
