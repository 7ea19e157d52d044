"""Inputs that are made from texts that a border reads. The same seed makes the same inputs."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 300_000
"""Bytes of one input."""
PIECES = (
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        "\u202e".encode(),
        b"\xed\xa0\x80",
        b"\r\n",
        b"\n",
        b"\n\n",
        b" ",
        b"\t",
    ),
    *(
        b"NaN",
        b"-Infinity",
        b"1e300",
        b"1e999",
        b"-1",
        b"9" * 400,
        b"9" * 4400,
        b"0x10",
        "\uff11\uff12".encode(),
        b"1_0",
        b"null",
    ),
    *(
        b"[" * 2000,
        b'{"a":' * 2000,
        b"(" * 500,
        b"<a>" * 5000,
        b"&a *a ",
        b"!include ",
        b"<!DOCTYPE a>",
        b"{{",
        b'"',
        b"'",
    ),
    *(
        b"a" * 70_000,
        b"0," * 5000,
        b"x: y\n" * 200,
        b"..",
        b"/",
        b"%00",
        b"%ff",
        b";",
        b":",
        b"=",
        b"@",
        b"~",
        b",",
        b"-",
    ),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**53, 2**63, 10**400, 1.5, 1e300, float("nan"), float("inf"), "", "\x1b[2J", "\ud800"),
    *(
        [],
        {},
        [None],
        {"a": None},
        [[[[]]]],
        {"": {"": {}}},
        "9" * 500,
        "a" * 10_000,
        [0] * 1000,
        "now",
        "9999-12-31",
        [5],
    ),
)


def made(seeds: Sequence[bytes], count: int, seed: str) -> Iterator[bytes]:
    """So many inputs: the seeds as they are, and then changed ones."""
    chance = random.Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        content = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            content = content[:LONGEST]
            content = chance.choice((_torn, _flipped, _put, _put, _twice, _swapped, _value, _value, _value))(
                content, chance
            )
        yield content[:LONGEST]


def _torn(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content or b" ")
    for _ in range(chance.choice((1, 4, 16))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _put(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice(PIECES) + content[at + chance.choice((0, 0, 1, 5)) :]


def _twice(content: bytes, chance: random.Random) -> bytes:
    begin, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[begin:end] * chance.choice((1, 2, 20)) + content[end:]


def _swapped(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    chance.shuffle(lines)
    return b"".join(lines[: chance.randrange(len(lines) + 1)])


def _value(content: bytes, chance: random.Random) -> bytes:
    """In a line of JSON, one value is another one; a text that has no JSON stays."""
    lines = content.splitlines()
    if not lines:
        return content
    at = chance.randrange(len(lines))
    try:
        found = json.loads(lines[at])
    except (ValueError, RecursionError):
        return content
    lines[at] = json.dumps(changed(found, chance)).encode()
    return b"\n".join(lines) + b"\n"


def changed(found: Any, chance: random.Random) -> Any:  # noqa: ANN401 (JSON)
    """The same JSON with one value that is another one, or is missing."""
    if isinstance(found, dict | list) and found and chance.random() < 0.8:
        copy = found.copy()
        key = chance.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
        if isinstance(copy, dict) and chance.random() < 0.2:
            del copy[key]
        else:
            copy[key] = changed(copy[key], chance)
        return copy
    return chance.choice(VALUES)
