"""Windows: when they are, alone and together."""

from __future__ import annotations

import datetime as dt
import random
import time
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError

from streamwatch.windows import (
    DAYS,
    NEVER,
    InForce,
    Once,
    Weekly,
    Window,
    covered,
    covered_until,
    covering,
    next_covered,
    outside,
    touching,
)

HOUR = 3600.0
T = dt.datetime(2026, 3, 23, tzinfo=dt.UTC).timestamp()  # a Monday, 00:00 UTC


def once(from_h: float, to_h: float, name: str = "w") -> InForce:
    return InForce(name, "mute", (), Once(T + from_h * HOUR, T + to_h * HOUR))


def weekly(**said: object) -> InForce:
    return InForce("w", "mute", (), Weekly.model_validate(said))


def hours(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return interval and ((interval[0] - T) / HOUR, (interval[1] - T) / HOUR)


def test_the_end_belongs_to_the_time_after():
    window = once(1, 2)
    inside = [covering([window], T + hour * HOUR) is not None for hour in (0.99, 1, 1.99, 2)]
    assert inside == [False, True, True, False]


WEEKLY = [
    ("within a day", {"days": ["tue"], "from": "08:00", "to": "10:30"}, 25, (32, 34.5)),
    ("over midnight", {"days": ["tue"], "from": "22:00", "to": "04:00"}, 25, (46, 52)),
    ("begun the day before", {"days": ["mon"], "from": "22:00", "to": "04:00"}, 25, None),
    ("a whole day", {"days": ["mon"], "from": "00:00", "to": "00:00"}, -1, (0, 24)),
    ("local time", {"days": ["mon"], "from": "08:00", "to": "09:00", "zone": "Europe/Berlin"}, 0, (7, 8)),
    ("next week", {"days": ["mon"], "from": "08:00", "to": "09:00"}, 9, (7 * 24 + 8, 7 * 24 + 9)),
    # In Berlin the clocks go from 2 to 3 on Sunday, 29 March 2026.
    ("a day of 23 hours", {"days": ["sat"], "from": "12:00", "to": "12:00", "zone": "Europe/Berlin"}, 0, (131, 154)),
    ("after the change",
     {"days": ["mon"], "from": "08:00", "to": "09:00", "zone": "Europe/Berlin"}, 24, (7 * 24 + 6, 7 * 24 + 7)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "after_h", "expected"), [row[1:] for row in WEEKLY], ids=[row[0] for row in WEEKLY]
)
def test_a_weekly_window_is_at_local_times(said, after_h, expected):
    window = weekly(**said)
    found = hours(window.times.next_from(T + after_h * HOUR))
    if expected is None:
        assert hours(window.interval(T + after_h * HOUR)) == (22, 28)
    else:
        assert found == expected
        assert hours(window.interval(T + expected[0] * HOUR)) == expected
        assert window.interval(T + expected[1] * HOUR) is None


def test_windows_that_follow_each_other_cover_as_one():
    windows = [once(1, 2), once(2, 3), once(2.5, 4), once(5, 6)]
    assert covered_until(windows, T + 1.5 * HOUR) == T + 4 * HOUR
    assert covered_until(windows, T) == T
    assert next_covered(windows, T + 1 * HOUR) == T + 2 * HOUR
    assert next_covered(windows, T + 6 * HOUR) == NEVER


def test_a_window_without_end_has_none():
    always = weekly(**{"from": "00:00", "to": "00:00"})
    assert covered_until([always], T) == NEVER
    assert outside([always], T, 60.0) == NEVER


def test_time_outside_is_counted_without_what_is_covered():
    windows = [once(1, 2), once(1.5, 3), once(4, 5)]
    assert outside(windows, T, 1 * HOUR) == T + HOUR
    assert outside(windows, T, 1.5 * HOUR) == T + 3.5 * HOUR
    assert outside(windows, T + 1.2 * HOUR, 1.5 * HOUR) == T + 5.5 * HOUR
    assert outside([], T, 0.1) == T + 0.1


def test_many_moments_are_covered_as_each_alone():
    draw = random.Random(1)
    windows = [
        once(draw.uniform(0, 90), draw.uniform(90, 99)),
        weekly(days=["wed"], **{"from": "23:15", "to": "01:00"}),
    ]
    times = np.array([T + draw.uniform(-50, 300) * HOUR for _ in range(500)])
    mask = covered(windows, times)
    assert mask is not None
    assert mask.tolist() == [covering(windows, float(time_s)) is not None for time_s in times]
    assert covered(windows, np.array([T - 900 * HOUR])) is None
    assert covered([], times) is None
    assert covered(windows, np.array([])) is None


@pytest.mark.parametrize(
    ("from_h", "to_h", "touches"),
    [(0, 1, False), (0, 1.1, True), (1.2, 1.3, True), (1.9, 3, True), (2, 3, False), (0, 3, True)],
)
def test_a_span_of_time_is_touched_or_not(from_h, to_h, touches):
    assert touching([once(-9, -8), once(1, 2)], T + from_h * HOUR, T + to_h * HOUR) is touches


def test_moments_centuries_apart_cost_no_more_than_their_own_days():
    times = np.array([0.0, T, 253_402_300_799.0] * 500)
    began = time.perf_counter()
    mask = covered([weekly(**{"from": "00:00", "to": "12:00"})], times)
    assert mask is not None
    assert mask.tolist()[:3] == [True, True, False]  # the last one is behind what a local time can say
    assert time.perf_counter() - began < 1.0  # day by day it would be three million of them


def test_a_week_of_any_zone_is_covered_as_its_clock_says():
    """Against the plain reading: the local time of each moment, over both changes of the clocks."""
    zone = ZoneInfo("America/New_York")
    window = weekly(days=["sun", "mon"], zone="America/New_York", **{"from": "05:00", "to": "18:00"})
    for day in range(0, 365):
        time_s = T + day * 24 * HOUR + (day % 24) * HOUR + 60
        local = dt.datetime.fromtimestamp(time_s, zone)
        inside = DAYS[local.weekday()] in ("sun", "mon") and 5 <= local.hour < 18
        assert (window.interval(time_s) is not None) is inside, local


WRONG = [
    ({}, "expected either"),
    ({"from": "2026-01-01T00:00:00Z"}, "expected either"),
    ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "is not after"),
    ({"from": "2026-01-01T00:00:00", "to": "2026-01-02T00:00:00Z"}, "with its zone"),
    ({"from": "1969-12-31T23:59:59Z", "to": "2026-01-02T00:00:00Z"}, "from 1970 to 9999"),
    ({"from": "2026-01-01T00:00:00Z", "weekly": {"from": "01:00", "to": "02:00"}}, "expected either"),
    ({"from": 5, "to": "2026-01-02T00:00:00Z"}, "expected a moment"),
    ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "weekly": {"from": "1:00", "to": "02:00"}},
     "like 22:00"),
    ({"weekly": {"from": "01:00", "to": "02:00", "zone": "Europe/Bärlin"}}, "expected a time zone"),
    ({"weekly": {"from": "01:00", "to": "02:00", "zone": "../../etc/passwd"}}, "expected a time zone"),
    ({"weekly": {"from": "25:00", "to": "02:00"}}, "like 22:00"),
    ({"weekly": {"from": "01:00", "to": "02:00", "days": []}}, "at least 1"),
    ({"weekly": {"from": "01:00", "to": "02:00"}, "match": ["colour=red"]}, "expected one of"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "says"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_wrong_window_is_refused_with_what_was_expected(said, says):
    with pytest.raises(ValidationError, match=says):
        Window.model_validate({"name": "w", **said})


def test_a_window_written_out_reads_as_the_same():
    said = {"name": "w", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T01:00:00+02:00"}
    window = Window.model_validate(said)
    assert Window.model_validate(window.model_dump(mode="json", by_alias=True)) == window
