"""When crons are due, beside what crontab(5) says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edgeguard.cluster.host import schedule

BERLIN = "Europe/Berlin"


def due(spec: str, after: str, zone: str | None = None, count: int = 1) -> list[str]:
    """The next moments after a moment in UTC, on the wall clock of the zone."""
    where = schedule.zone(zone)
    found, moment = [], datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    for _ in range(count):
        following = schedule.after(schedule.read(spec), moment, where)
        assert following is not None
        moment = following
        found.append(f"{datetime.fromtimestamp(moment, where):%Y-%m-%d %H:%M %z}")
    return found


@pytest.mark.parametrize(
    ("spec", "moments"),
    [
        ("* * * * *", ["2026-03-02 10:31 +0000", "2026-03-02 10:32 +0000"]),
        ("*/19 * * * *", ["2026-03-02 10:38 +0000", "2026-03-02 10:57 +0000", "2026-03-02 11:00 +0000"]),
        ("0 5 * * *", ["2026-03-03 05:00 +0000", "2026-03-04 05:00 +0000"]),
        ("15,45 8-9 * * mon-fri", ["2026-03-03 08:15 +0000", "2026-03-03 08:45 +0000", "2026-03-03 09:15 +0000"]),
        ("0 0 * * 7", ["2026-03-08 00:00 +0000"]),
        ("0 0 * * SUN", ["2026-03-08 00:00 +0000"]),
        ("0 0 13 * fri", ["2026-03-06 00:00 +0000", "2026-03-13 00:00 +0000"]),  # either is enough
        ("0 0 */10 * fri", ["2026-05-01 00:00 +0000"]),  # both are needed, since one begins with *
        ("0 0 29 feb *", ["2028-02-29 00:00 +0000"]),
        ("10/20 * * * *", ["2026-03-02 10:50 +0000", "2026-03-02 11:10 +0000"]),
        ("@daily", ["2026-03-03 00:00 +0000"]),
    ],
)
def test_moments_are_those_of_crontab(spec: str, moments: list[str]) -> None:
    assert due(spec, "2026-03-02T10:30:59", count=len(moments)) == moments


def test_a_time_zone_s_clock_counts_over_the_year() -> None:
    assert due("30 2 * * *", "2026-03-28T12:00", BERLIN) == ["2026-03-30 02:30 +0200"]  # no 2:30 on the 29th
    assert due("30 2 * * *", "2026-10-24T12:00", BERLIN, 2) == ["2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"]
    every = due("*/30 * * * *", "2026-10-25T00:00", BERLIN, 3)
    assert every == ["2026-10-25 02:30 +0200", "2026-10-25 02:00 +0100", "2026-10-25 02:30 +0100"]


def test_an_unspecified_value_is_always_the_same_for_one_cron_and_differs_between_crons() -> None:
    names = [f"site cron{number}" for number in range(40)]
    minutes = [min(schedule.read("H * * * *", name).minutes) for name in names]
    assert minutes == [min(schedule.read("h * * * *", name).minutes) for name in names]
    assert len(set(minutes)) > 10
    every = schedule.read("H/15 H H * *", "site cron1")
    assert (len(every.minutes), len(every.hours), len(every.days)) == (4, 1, 1)
    assert max(every.days) <= 28


@pytest.mark.parametrize(
    "spec",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8"),
        *("a * * * *", "*/0 * * * *", "*/99 * * * *", "5-1 * * * *", "1,,2 * * * *", "1- * * * *", "-1 * * * *"),
        *("1.5 * * * *", "?", "* * * * fry", "\uff19 * * * *", "99999999999999999999 * * * *", "@reboot"),
    ],
)
def test_nonsense_is_refused_with_the_field(spec: str) -> None:
    with pytest.raises(ValueError, match=r"fields instead of five|minute|hour|day|month"):
        schedule.read(spec)


def test_an_unknown_time_zone_is_refused() -> None:
    for name in ("Europe/Atlantis", "../../etc/passwd", "/etc/passwd", "\0"):
        with pytest.raises(ValueError, match="no time zone"):
            schedule.zone(name)
