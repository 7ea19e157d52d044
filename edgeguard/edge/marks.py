"""The headers named `Edgeguard-…`, which the policy and the gate set: pure, and the one place that reads them.

`Edgeguard-Show` asks the policy to mark its answers. `Edgeguard-Stale` marks a stale copy. `Edgeguard-Closed` is a
closed gate's: for which deploy, and until when. Names of headers are in lower case in every mapping.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from edgeguard.times import unix

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLOSED = re.compile(r"\s*([^;]*?)\s*;\s*until=(\S+)\s*")


class Closed(NamedTuple):
    """A closed gate's word: the deploy's id, and until when it expects to be closed (Unix time)."""

    deploy: str
    until: float


def asking(status_name: str) -> dict[str, str]:
    """The header with which a visitor asks for the policy's marks; `status_name` is edge.status_name."""
    return {"Edgeguard-Show": status_name}


def stale(headers: Mapping[str, str]) -> str | None:
    """Why the answer is a stale copy ("hold", "error"); None where it is none."""
    return headers.get("edgeguard-stale")


def closed(headers: Mapping[str, str]) -> str | None:
    """The word of a closed gate, as it stands in the header; None where no gate speaks."""
    return headers.get("edgeguard-closed") or None


def closed_until(said: str) -> Closed | None:
    """The deploy and the end in a closed gate's word; None where it names no moment."""
    found = _CLOSED.fullmatch(said)
    if found is None:
        return None
    try:
        return Closed(found[1], unix(found[2]))
    except (ValueError, OverflowError):
        return None
