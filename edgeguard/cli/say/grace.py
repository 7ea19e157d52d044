"""A claim that was made or given back, for people."""

from __future__ import annotations

from typing import Any

from edgeguard.times import duration


def extended(environment: str, made: dict[str, Any]) -> str:
    """The claim of `grace extend`."""
    return f"{made['id']}: {claimed(environment, made)}"


def claimed(environment: str, made: dict[str, Any]) -> str:
    """How stale pages may be, until when, and who at the edge confirmed it."""
    return (
        f"pages of {environment} may be served {duration(made['grace'])} stale, until {made['until']}; "
        f"confirmed after {duration(made['confirmed_seconds'])} by {', '.join(made['nodes'])}"
    )


def released(environment: str, slot: str, done: dict[str, Any]) -> str:
    """Whether the slot held a claim, and who at the edge confirmed that it is free."""
    if done["released"]:
        return f"{slot} of {environment} is free; confirmed by {', '.join(done['nodes'])}"
    return f"{slot} of {environment} held no claim that is in force; nothing was written"
