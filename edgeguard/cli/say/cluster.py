"""A cluster that was closed or opened by hand, for people."""

from __future__ import annotations

from typing import Any

from edgeguard.times import duration, short


def closed(environment: str, done: dict[str, Any]) -> str:
    """The end that was planned, and the command that opens it."""
    ends = f" until {done['grace']['until']}" if "until" in done["grace"] else ""
    return (
        f"{environment} is closed, as planned until {done['closure']['until']}; the edge serves the copies it has{ends}"
        f"\nedgeguard cluster open {environment} opens it"
    )


def opened(environment: str, done: dict[str, Any]) -> str:
    """The release that serves, and the servers that are left out."""
    left_out = [f"{server} is left out until a deploy brings it back" for server in done["without"]]
    closed = "" if done["closed_seconds"] is None else f", after {duration(done['closed_seconds'])} closed"
    opened = f"{environment} is open{closed}, healthy, and on {short(done['opened'])}; the grace is given back"
    return "\n".join([opened, *left_out])
