"""A plan and a freed lock, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgeguard.cluster.record import Lock


def planned(phases: Iterable[dict[str, Any]]) -> str:
    """Each phase with its acts, a line each."""
    lines = []
    for phase in phases:
        for number, line in enumerate(phase["acts"] or ["nothing"]):
            lines.append(f"{phase['name'] if number == 0 else '':<12} {line}")
    return "\n".join(lines)


def unlocked(deploy: str, freed: Lock) -> str:
    """The lock that was freed; what it left behind follows."""
    return f"the lock of {deploy} ({freed.holder}) is free; this is what it left behind"
