"""JSON objects with typed attributes. An object is parsed once, and written back with all keys that it had."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, TypeVar

from edgeguard.visible import on_one_line

JSON = Mapping[str, Any]

_Value = TypeVar("_Value")
_Absent = TypeVar("_Absent")
_KINDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
}


class Nonsense(ValueError):
    """A key is missing, or its value makes no sense. The message begins with the key, and never shows the value."""


@dataclass(frozen=True)
class Part:
    """A JSON object, parsed. A subclass has an attribute for each key that it knows."""

    json: JSON = field(repr=False)
    """The object itself, with its unknown keys."""

    @classmethod
    def of(cls, json: JSON) -> Self:
        """Parse an object. Raises Nonsense."""
        raise NotImplementedError

    @classmethod
    def new(cls, **keys: Any) -> Self:  # noqa: ANN401 (whatever JSON can say)
        """A new object with these keys. A value may be a Part, an Enum or a tuple."""
        return cls.of(_plain(keys))

    def also(self, **keys: Any) -> Self:  # noqa: ANN401 (as `new`)
        """A copy in which these keys have these values."""
        return self.of({**self.json, **_plain(keys)})


_Part = TypeVar("_Part", bound=Part)


def required(json: JSON, key: str, kind: type[_Value]) -> _Value:
    """The value of a key that every record has had from the start."""
    value = optional(json, key, kind, None)
    if value is None:
        raise Nonsense(f"{key} is missing")
    return value


def optional(json: JSON, key: str, kind: type[_Value], absent: _Absent) -> _Value | _Absent:
    """The value of a key; `absent` if there is no such key, or null."""
    value = json.get(key)
    if value is None:
        return absent
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:  # True is an int for isinstance
        raise Nonsense(f"{key} is not {_KINDS[kind]}")
    return value


def words(json: JSON, key: str) -> str:
    """The text of a key that people wrote, as `required`. It is shown on one line, whatever is in it."""
    return on_one_line(required(json, key, str))


def part(json: JSON, key: str, kind: type[_Part]) -> _Part | None:
    """The object of a key; None if there is no such key, or null, or an empty object."""
    value = optional(json, key, dict, None)
    return _within(key, kind, value) if value else None


def parts(json: JSON, key: str, kind: type[_Part]) -> tuple[_Part, ...]:
    """The objects in the list of a key; () if there is no such key, or null."""
    return tuple(_within(key, kind, value) for value in optional(json, key, list, []))


def whole_parts(json: JSON, key: str, kind: type[_Part]) -> tuple[_Part, ...]:
    """As `parts`, for what is only told: one damaged entry is passed over, and does not hide the others."""
    found = []
    for value in optional(json, key, list, []):
        with suppress(Nonsense):
            found.append(_within(key, kind, value))
    return tuple(found)


def texts(json: JSON, key: str) -> tuple[str, ...]:
    """The texts in the list of a key; () if there is no such key, or null."""
    values = optional(json, key, list, [])
    if not all(isinstance(value, str) for value in values):
        raise Nonsense(f"{key} is not a list of texts")
    return tuple(values)


def texts_by_name(json: JSON, key: str) -> Mapping[str, str]:
    """The object of a key whose values are texts; {} if there is no such key, or null."""
    values = optional(json, key, dict, {})
    if not all(isinstance(value, str) for value in values.values()):
        raise Nonsense(f"{key} has a value that is not a text")
    return values


def numbers_by_name(json: JSON, key: str) -> Mapping[str, int]:
    """The object of a key whose values are whole numbers; {} where there is no such key, or null."""
    values = optional(json, key, dict, {})
    if not all(type(value) is int for value in values.values()):
        raise Nonsense(f"{key} has a value that is not a whole number")
    return values


def _within(key: str, kind: type[_Part], value: object) -> _Part:
    if not isinstance(value, dict):
        raise Nonsense(f"{key} has an entry that is not an object")
    try:
        return kind.of(value)
    except Nonsense as exc:
        raise Nonsense(f"{key}.{exc}") from exc


def _plain(value: Any) -> Any:  # noqa: ANN401 (whatever JSON can say)
    """The value in JSON's own types."""
    if isinstance(value, Part):
        return value.json
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
