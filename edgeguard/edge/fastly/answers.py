"""The shapes of the answers of Fastly's API, by operation, as far as edgeguard relies on them.

An answer of another shape becomes an error of ours in `api`. A shape is one of these:

- a type, or None;
- a pattern for a text;
- a dict of the keys that must be there ("key?" may be missing or null; `str` stands for any key);
- a list with one shape for all its rows;
- a tuple of shapes, of which one must fit.

The shapes are from recordings of the real API: github.com/fastly/go-fastly, fastly/fixtures.
"""

from __future__ import annotations

import re
from typing import Any

Shape = Any

_NUMBER = (int, re.compile("[0-9]+"))
"""Older endpoints give numbers as text."""
_TEXT = (str, None)
_STATUS = {"status": str}
_VERSION = {"number": int}
_SNIPPET = {"name": str, "type": str, "priority": _NUMBER, "id?": str, "content?": str}
_DICTIONARY = {"id": str, "name": str}
_ROWS = [{"name": str}]
_ITEM = {"item_key": str}
"""The value may be anything: a bad one must not hide the others (`dictionary`)."""

SHAPES: dict[str, Shape] = {
    "service.get_service_detail": {
        "type?": str,
        "active_version": (
            None,
            {
                "number": int,
                "snippets?": [_SNIPPET],
                "dictionaries?": [_DICTIONARY],
                "vcls?": _ROWS,
                "backends?": _ROWS,
                "healthchecks?": _ROWS,
                "cache_settings?": _ROWS,
                "request_settings?": _ROWS,
            },
        ),
    },
    "version.list_service_versions": [_VERSION],
    "version.get_service_version": _VERSION,
    "version.clone_service_version": _VERSION,
    "version.update_service_version": _VERSION,
    "version.activate_service_version": _VERSION,
    "version.validate_service_version": _STATUS,
    "domain.list_domains": _ROWS,
    "snippet.list_snippets": [_SNIPPET],
    "snippet.create_snippet": {"name": str},
    "snippet.delete_snippet": _STATUS,
    "snippet.get_snippet_dynamic": {"content": _TEXT},
    "dictionary.list_dictionaries": [_DICTIONARY],
    "dictionary.create_dictionary": _DICTIONARY,
    "dictionary.delete_dictionary": _STATUS,
    "dictionary_item.list_dictionary_items": [_ITEM],
    "dictionary_item.get_dictionary_item": _ITEM,
    "dictionary_item.bulk_update_dictionary_item": _STATUS,
    "settings.get_service_settings": dict,
    "settings.update_service_settings": dict,
    "vcl.get_custom_vcl_generated": {"content": str},
    "tokens.get_token_current": {"scopes?": [str], "services?": [str], "expires_at?": str},
    "purge.bulk_purge_tag": {str: str},
    "purge.purge_single_url": _STATUS,
    "purge.purge_all": _STATUS,
}


def flaw(shape: Shape, value: object, where: str = "it") -> str | None:
    """The first difference between a value and a shape, in words; None if it fits. The words don't show the value."""
    if isinstance(shape, tuple):
        flaws = [flaw(one, value, where) for one in shape]
        return None if None in flaws else flaws[-1]
    if isinstance(shape, re.Pattern):
        return None if isinstance(value, str) and shape.fullmatch(value) else f"{where} is not a number"
    if shape is None or isinstance(shape, type):
        kind = type(None) if shape is None else shape
        return None if type(value) is kind else f"{where} is a {type(value).__name__}, not a {kind.__name__}"
    if type(value) is not type(shape):
        return f"{where} is a {type(value).__name__}, not a {type(shape).__name__}"
    return _inside(shape, value, where)


def _inside(shape: Shape, value: Any, where: str) -> str | None:  # noqa: ANN401 - JSON is of any type
    if isinstance(shape, list):
        flaws = (flaw(shape[0], row, f"row {number} of {where}") for number, row in enumerate(value))
        return next(filter(None, flaws), None)
    for key, inner in shape.items():
        if key is str:
            found = next(filter(None, (flaw(inner, each, f"a value of {where}") for each in value.values())), None)
        else:
            name, optional = key.removesuffix("?"), key.endswith("?")
            if name not in value and not optional:
                return f"{where} has no {name}"
            found = None if optional and value.get(name) is None else flaw(inner, value[name], f"{name} of {where}")
        if found:
            return found
    return None
