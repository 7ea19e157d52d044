from __future__ import annotations

import pytest

from edgeguard.cluster import ServerState
from edgeguard.deploy.status import servers_text
from edgeguard.settings import seconds
from edgeguard.times import apart, duration, measured, option, short


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *((0, "0 s"), (0.05, "0.05 s"), (1.5, "1.5 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min"), (90, "90 s")),
        *(
            (119.6, "2 min"),
            (150, "2 min 30 s"),
            (300, "5 min"),
            (3599, "1 h"),
            (3661, "1 h 1 min"),
            (5400, "1 h 30 min"),
        ),
        *((14_399, "4 h"), (86_399, "1 day"), (90_000, "1 day 1 h"), (604_800, "7 days"), (604_801, "7 days")),
    ],
)
def test_a_duration_is_said_as_people_say_it(given: float, said: str) -> None:
    assert duration(given) == said


def test_two_durations_that_differ_look_different() -> None:
    assert apart(3600, 7200) == ("1 h", "2 h")
    assert apart(604_800, 604_801) == ("604800 s", "604801 s")
    assert apart(604_800, 604_800) == ("7 days", "7 days")


@pytest.mark.parametrize(("given", "said"), [(31.2344, "31.234 s"), (119.9, "119.900 s"), (7261.5, "2 h 1 min")])
def test_a_measured_time_has_milliseconds_as_long_as_they_matter(given: float, said: str) -> None:
    assert measured(given) == said


@pytest.mark.parametrize(
    ("given", "said"), [(0, "0s"), (45, "45s"), (5400, "90m"), (7200, "2h"), (604_800, "7d"), (604_801, "604801s")]
)
def test_an_option_means_exactly_its_seconds(given: int, said: str) -> None:
    assert option(given) == said
    assert seconds(said) == given


@pytest.mark.parametrize(
    ("digest", "others", "shown"),
    [
        ("a" * 64, (), "a" * 12),
        ("a" * 64, ("a" * 64, None, ""), "a" * 12),
        ("a" * 64, ("b" * 64,), "a" * 12),
        ("a" * 20 + "b" * 44, ("a" * 64,), "a" * 20 + "b"),
        ("a" * 12, ("a" * 64,), "a" * 12),
        ("a" * 64, ("a" * 12,), "a" * 13),
        (None, ("a" * 64,), "none"),
    ],
)
def test_digests_that_differ_are_shown_as_far_as_they_differ(
    digest: str | None, others: tuple[str | None, ...], shown: str
) -> None:
    assert short(digest, *others) == shown


def test_a_server_s_long_name_moves_the_columns_of_all() -> None:
    names = ("web1", "web-frontend-eu-central-1a")
    one, other = "a" * 64, "a" * 20 + "b" * 44
    states = [
        ServerState(name=name, generation="g", release=one, running=running, open=True, deaths=0)
        for name, running in zip(names, (one, other), strict=True)
    ]
    first, second = servers_text(states)

    assert first.index("open") == second.index("open")
    assert second.endswith(f"release {one[:21]}, runs {other[:21]}")
