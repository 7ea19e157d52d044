"""What processes find in their environment, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeguard.width import padded, width

if TYPE_CHECKING:
    from collections.abc import Mapping


def told(environment: str, server: str, processes: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for the web process; of each other process what it has more, less, or otherwise."""
    if not processes:
        return f"{environment}: nothing was deployed to {server} yet"
    web = processes["web"]
    lines = [f"web, on {server}:", *_table(web)]
    for who, own in processes.items():
        if who != "web":
            more = {name: said for name, said in own.items() if web.get(name) != said}
            without = [name for name in web if name not in own]
            less = f", without {', '.join(without)}" if without else ""
            lines += [f"{who}: as web{less}{', and' if more else ''}", *_table(more)]
    return "\n".join(lines)


def _table(variables: Mapping[str, Any]) -> list[str]:
    columns = max(map(width, variables), default=0)
    return [
        f"  {padded(name, columns)}  {said['bytes']:>6} bytes, from {said['from']}" for name, said in variables.items()
    ]
