"""Settings that come from the environment: EDGEGUARD_, then the names of the levels with __ between them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeguard.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX = "EDGEGUARD_"


def read(environ: Mapping[str, str], tables: Collection[str]) -> dict[str, Any]:
    """The settings that variables name, as tables in tables. A variable for a whole table is JSON.

    EDGEGUARD_EDGE__BASE_GRACE=2h is {"edge": {"base_grace": "2h"}}. A name without __ that is no table's is not ours:
    EDGEGUARD_CONFIG and others have a meaning of their own.

    Raises:
        UsageError: there is no such table, or what has to be JSON isn't. Values are not told: one may be a secret.
    """
    found: dict[str, Any] = {}
    for name in sorted(environ):  # EDGEGUARD_EDGE before EDGEGUARD_EDGE__URL: the nearer one wins
        if not name.upper().startswith(PREFIX):
            continue
        table, *levels = name[len(PREFIX) :].lower().split("__")
        if table not in tables:
            if levels:
                raise UsageError(f"{name}: unknown key", f"Settings are in {', '.join(tables)}.")
            continue
        value: Any = _value(environ[name]) if levels else _table(name, environ[name])
        for level in (*reversed(levels), table):
            value = {level: value}
        found = merge(found, value)
    return found


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; `upper` wins where both say something."""
    both = dict(lower)
    for key, value in upper.items():
        there = both.get(key)
        both[key] = merge(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
    return both


def _value(text: str) -> object:
    """What begins like a list or a table in JSON, and is one, is that; all else is the text."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(name: str, text: str) -> dict[str, Any]:
    content = _value(text)
    if not isinstance(content, dict):
        raise UsageError(f"{name} can't be read", "A variable for a whole table is JSON: an object.")
    return content
