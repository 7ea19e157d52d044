"""The service's active version, for people."""

from __future__ import annotations

from typing import Any


def active(content: dict[str, Any], carried: str, otherwise: str) -> str:
    """The active version with the thing that it carries now, or `otherwise` if nothing was written."""
    version = f"version {content['version']} of {content['service']} is active"
    if content["changed"]:
        return f"{version}, with {carried}"
    return f"{version}: {otherwise}; nothing was written"
