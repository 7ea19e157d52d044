"""When a cron is due: the five fields of crontab(5), minute, hour, day of the month, month and day of the week.

`H` stands for a value that is not said, but is always the same for one cron (Upsun: image-properties/crons). Each field
is compared with the wall clock of a time zone. A wall time that the clock passes over in spring is no moment of that
day. One that comes twice in autumn counts once where the hour is given, and twice where every hour is meant.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(?:(?P<all>\*)|(?P<hash>h)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)
_EVERY_MONTH = 28  # days that every month has
_YEARS = 9
"""29 February is the rarest day; around a turn of the century it takes eight years to come again."""


@dataclass(frozen=True)
class Field:
    """One field: what it is called in messages, its least and its greatest value, and names for values."""

    name: str
    least: int
    greatest: int
    names: tuple[str, ...] = ()  # the first one stands for `least`


_FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31),
    Field("month", 1, 12, _MONTHS),
    Field("day of the week", 0, 7, _DAYS),  # 0 and 7 are both Sunday
)


@dataclass(frozen=True)
class Schedule:
    """The values that each field admits. `either`: the two fields of days are both restricted, so one is enough."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def has_day(self, local: datetime) -> bool:
        """Whether it has moments on the day of this wall time."""
        by_month, by_week = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return local.month in self.months and (by_month or by_week if self.either else by_month and by_week)

    def has(self, local: datetime) -> bool:
        """Whether this wall time, to the minute, is one of its moments."""
        if not self.has_day(local) or local.hour not in self.hours or local.minute not in self.minutes:
            return False
        return not local.fold or len(self.hours) == _FIELDS[1].greatest + 1


def read(spec: str, name: str = "") -> Schedule:
    """The schedule that five fields, or a nickname such as `@daily`, describe. `name` is what `H` depends on.

    Raises:
        ValueError: they describe none; the message says which field is wrong.
    """
    fields = _NICKNAMES.get(spec.strip().lower(), spec).lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{len(fields)} fields instead of five: minute, hour, day of the month, month, day of the week"
        )
    minutes, hours, days, months, weekdays = (
        frozenset(_values(said, field, f"{name} {field.name}")) for said, field in zip(fields, _FIELDS)
    )
    either = not any(said.startswith("*") for said in (fields[2], fields[4]))
    return Schedule(minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either)


def zone(name: str | None) -> tzinfo:
    """The time zone of this name (None: UTC). Raises ValueError if this machine knows none of this name."""
    if name is None or name == "UTC":
        return timezone.utc
    import zoneinfo  # noqa: PLC0415 (most applications have none)

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ValueError(f"there is no time zone {name!r} here") from exc


def after(schedule: Schedule, moment: float, where: tzinfo) -> float | None:
    """The first moment of a schedule after this one; both in Unix time. None where nine years have none, as none has a
    30 February."""
    at = datetime.fromtimestamp(moment - moment % 60, timezone.utc) + timedelta(minutes=1)
    end = at + timedelta(days=366 * _YEARS)
    while at < end:
        local = at.astimezone(where)
        if schedule.has(local):
            return at.timestamp()
        hopeless = local.hour not in schedule.hours or not schedule.has_day(local)
        at += timedelta(minutes=60 - local.minute if hopeless else 1)
    return None


def between(schedule: Schedule, begin: float, end: float, where: tzinfo) -> Iterator[float]:
    """Its moments after `begin`, `end` included; all in Unix time."""
    moment = after(schedule, begin, where)
    while moment is not None and moment <= end:
        yield moment
        moment = after(schedule, moment, where)


def _values(said: str, field: Field, name: str) -> Iterator[int]:
    """The values that a field's text names, which is a list of parts."""
    for part in said.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise ValueError(f"{field.name}: {part!r} is not *, a value, a range, H, or one of these with /step")
        step = int(found["step"] or 1)
        if not 0 < step <= field.greatest:
            raise ValueError(f"{field.name}: a step of {step} is not between 1 and {field.greatest}")
        if found["hash"]:
            last = min(_last(field), _EVERY_MONTH) if field.greatest == _FIELDS[2].greatest else _last(field)
            period = step if found["step"] else last - field.least + 1
            yield from range(field.least + zlib.crc32(name.encode()) % period, last + 1, period)
            continue
        if found["all"]:
            first, last = field.least, _last(field)
        else:
            first = _value(found["first"], field)
            last = _value(found["last"], field) if found["last"] else _last(field) if found["step"] else first
        if first > last:
            raise ValueError(f"{field.name}: {part!r} begins after its end")
        yield from range(first, last + 1, step)


def _value(said: str, field: Field) -> int:
    if said in field.names:
        return field.least + field.names.index(said)
    if not said.isdecimal() or not field.least <= int(said) <= field.greatest:
        raise ValueError(f"{field.name}: {said!r} is not between {field.least} and {field.greatest}")
    return int(said)


def _last(field: Field) -> int:
    """The greatest value that `*` means. Sunday is 0 there, not 7 as well."""
    return 6 if field.greatest == 7 else field.greatest  # noqa: PLR2004
