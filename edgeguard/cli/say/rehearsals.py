"""The world of a rehearsal that stays, for people."""

from __future__ import annotations

from typing import Any


def ready(world: dict[str, Any]) -> str:
    """Where each part of the world is, and a command to try there."""
    lines = [f"{key:<12} {value}" for key, value in world.items() if key != "event"]
    lines += ["", f"Try: edgeguard deploy {world['environment']} --config {world['config']}", "Ctrl-C ends this world."]
    return "\n".join(lines)
