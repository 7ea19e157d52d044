"""The functions that `language.FUNCTIONS` declares. Arguments are already of the declared types.

A STRING argument that is not set is None.
"""

from __future__ import annotations

import hashlib
import random
import re
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from edgeguard.standin.vcl.regex import substitute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edgeguard.standin.vcl.request import Semantics, Value

LARGEST = 2**63 - 1
"""The largest INTEGER: it has 64 bits."""

_NUMBER = re.compile(r"\s*([+-]?[0-9]+)", re.ASCII)
_DELTA = re.compile(r"([0-9]{1,12})([smhd])", re.ASCII | re.IGNORECASE)
_EPOCH = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?", re.ASCII)
_DELTA_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIMES = (
    "%a, %d %b %Y %H:%M:%S GMT",
    "%A, %d-%b-%y %H:%M:%S GMT",
    "%a %b %d %H:%M:%S %Y",
    "%Y-%m-%d %H:%M:%S",
)
_LAST_MOMENT = 253_402_300_799  # the year 9999


def clamped(number: int) -> int:
    """The INTEGER that is nearest to a number."""
    return max(-LARGEST - 1, min(LARGEST, number))


def text(value: Value) -> str:
    """A value as STRING; `time_text` does that for a TIME. RTIME and FLOAT have three decimals, BOOL is "0" or "1"."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(int(value))


def time_text(moment: float) -> str:
    """A TIME as STRING."""
    if not 0 <= moment <= _LAST_MOMENT:
        return "datetime out of bounds"
    return formatdate(moment, usegmt=True)


def _atoi(semantics: Semantics, value: str | None) -> int:
    found = _NUMBER.match(value or "")
    if found is not None:
        digits = found[1]
        return clamped(int(digits[:24]))  # 24 digits are beyond 64 bits already
    return 0 if semantics.atoi_garbage_is_zero else LARGEST


def _substr(value: str | None, offset: int, length: int | None = None) -> str | None:
    data = (value or "").encode()
    start = offset if offset >= 0 else len(data) + offset
    if length is None:
        end = len(data)
    elif length < 0:
        end = len(data) + length + (offset < 0)  # so the two examples in Fastly: reference/vcl/functions/strings/substr
    else:
        end = start + length
    if start > len(data) or (start < 0 and end <= 0):
        return None
    start = max(0, start)
    return data[start : max(start, end)].decode(errors="replace")


def _parse_time_delta(value: str | None) -> int:
    found = _DELTA.fullmatch(value or "")
    return -1 if found is None else int(found[1]) * _DELTA_SECONDS[found[2].lower()]


def _std_time(value: str | None, fallback: float) -> float:
    if value is None:
        return fallback
    if _EPOCH.fullmatch(value):
        return float(value)
    for form in _TIMES:
        try:
            return datetime.strptime(value, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return fallback


def _lookup(table: Mapping[str, str], key: str | None, default: str | None = None) -> str | None:
    return table.get(key or "", default)


IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {
    "digest.hash_md5": lambda _, value: hashlib.md5((value or "").encode(), usedforsecurity=False).hexdigest(),
    "digest.hash_sha256": lambda _, value: hashlib.sha256((value or "").encode()).hexdigest(),
    "parse_time_delta": lambda _, value: _parse_time_delta(value),
    "randomint": lambda _, low, high: random.randint(min(low, high), max(low, high)),  # noqa: S311  # as Fastly's, no secret
    "regsub": lambda _, value, pattern, by: substitute(value or "", pattern, by or "", count=1),
    "regsuball": lambda _, value, pattern, by: substitute(value or "", pattern, by or "", count=0),
    "std.atoi": _atoi,
    "std.integer2time": lambda _, seconds: float(seconds),
    "std.itoa": lambda _, number: str(number),
    "std.strlen": lambda _, value: len((value or "").encode()),
    "std.time": lambda _, value, fallback: _std_time(value, fallback),
    "std.tolower": lambda _, value: (value or "").lower(),
    "std.toupper": lambda _, value: (value or "").upper(),
    "substr": lambda _, *arguments: _substr(*arguments),
    "table.contains": lambda _, table, key: (key or "") in table,
    "table.lookup": lambda _, *arguments: _lookup(*arguments),
    "time.add": lambda _, moment, by: moment + by,
    "time.is_after": lambda _, one, other: one > other,
    "time.sub": lambda _, moment, by: moment - by,
    "urldecode": lambda _, value: unquote(value or "", errors="replace"),
    "urlencode": lambda _, value: quote(value or "", safe="", errors="replace"),
}
"""Each function by its name. It takes the request's Semantics, and then the arguments."""
