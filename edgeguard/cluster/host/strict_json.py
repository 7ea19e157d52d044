"""Reads JSON that others wrote, or that a disk gave back. All JSON is read here, and no text makes a reader fail.

A key that stands twice is refused, since two readers would read two things; so is a number that no reader holds.
"""

from __future__ import annotations

import json
from typing import Any

LARGEST = 16_000_000
"""Bytes of one text. A full dictionary of Fastly's has about 8 MB."""
DEEPEST = 100
"""Levels of lists and objects: whoever reads the content recursively has room for them."""
VALUES = 1_000_000
"""About the most values of one text: a small one takes 20 times the memory of its text."""
_NUMBER = 2**63
_DIGITS = 400  # of a whole number; Python takes long for very many


class Fault(ValueError):
    """The text is not JSON that can be used. The message says why in a few words, and shows nothing of the text."""


def read(text: str | bytes, *, most: int = LARGEST) -> Any:  # noqa: ANN401 (JSON is of any type)
    """The content of a JSON text of at most `most` bytes (or characters). A byte order mark in front is passed over.

    Raises:
        Fault: it is no JSON, or too long, too deep or too much; or it has a key twice, or a number beyond 64 bits.
    """
    if len(text) > most:
        raise Fault(f"it is longer than {most} bytes")
    try:
        said = text.decode("utf-8") if isinstance(text, bytes) else text
        if said.count(",") + said.count("[") + said.count("{") > VALUES:
            raise Fault(f"it has more than {VALUES} values")
        content = _DECODER.decode(said.removeprefix("\ufeff"))
    except RecursionError:
        raise Fault(f"it is nested more than {DEEPEST} levels deep") from None
    except UnicodeDecodeError as exc:
        raise Fault("it is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise Fault(f"it is not JSON (line {exc.lineno}, column {exc.colno})") from exc
    _refuse_deep(content)
    return content


def read_object(text: str | bytes, *, most: int = LARGEST) -> dict[str, Any]:
    """As `read`, for a text that has to hold an object."""
    content = read(text, most=most)
    if not isinstance(content, dict):
        raise Fault("it is not a JSON object")
    return content


def _refuse_deep(content: object) -> None:
    level = [content]
    for _ in range(DEEPEST + 1):
        nested = [each for each in level if isinstance(each, (dict, list))]
        if not nested:
            return
        level = [inner for each in nested for inner in (each.values() if isinstance(each, dict) else each)]
    raise Fault(f"it is nested more than {DEEPEST} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Fault("a key stands twice in it")
    return found


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) <= _DIGITS else _NUMBER
    if not -_NUMBER <= number < _NUMBER:
        raise Fault("it has a number with too many digits")
    return number


def _fraction(digits: str) -> float:
    number = float(digits)
    if not abs(number) < _NUMBER:
        raise Fault("it has a number that is too large")
    return number


def _constant(name: str) -> float:
    raise Fault(f"it has {name}, which is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_constant
)
