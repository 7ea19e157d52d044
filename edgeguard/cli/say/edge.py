"""The service's active version, for people."""

from __future__ import annotations

from typing import Any


def active(content: dict[str, Any], otherwise: str) -> str:
    """The active version with what it carries, and `otherwise` where nothing was written."""
    version = f"version {content['version']} of {content['service']} is active"
    if content["changed"]:
        return f"{version}, with {_carries(content['revision'])}"
    return f"{version}: {otherwise}; nothing was written"


def _carries(revision: str | None) -> str:
    if revision == "settings":
        return "the service's own stale-if-error at the ceiling"
    return f"policy {revision}" if revision else "no policy"
