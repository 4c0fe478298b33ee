"""Times in the forms that senders use, singly and by whole columns, and the range that they must keep."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamwatch.times import epoch_s, epochs_s
from tests.decoding import RECORD_S, batch, decode, event, one, only, rows


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T10:00:00Z", 1795514400.0),
        ("2026-11-24T10:00:00", 1795514400.0),
        ("2026-11-24 10:00:00Z", 1795514400.0),
        ("2026-11-24t10:00:00z", 1795514400.0),
        ("2026-11-24T10:00Z", 1795514400.0),
        ("2026-11-24T12:30:00+02:30", 1795514400.0),
        ("2026-11-24T12:30:00+0230", 1795514400.0),
        ("2026-11-24T10:00:00.25Z", 1795514400.25),
        ("2026-11-24T10:00:00,25", 1795514400.25),
        ("2026-11-24T10:00:00.123456789Z", 1795514400.123456),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("9999-12-31T23:59:59Z", 253402300799.0),
        ("9999-12-31T23:59:59-12:00", 253402343999.0),
        (0, 0.0),
        (1795514400, 1795514400.0),
        (1795514400.5, 1795514400.5),
        (1795514400123, 1795514400.123),
        ("1795514400", 1795514400.0),
        ("1795514400.5", 1795514400.5),
        ("1795514400123", 1795514400.123),
        ("1.7955144e9", 1795514400.0),
        ("20261124", 20261124.0),
        (99_999_999_999, 99_999_999_999.0),
        (100_000_000_000, 100_000_000.0),
        (-5, -5.0),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (math.inf, math.inf),
    ],
)
def test_a_time_reads_as_seconds(value: Any, expected: float) -> None:
    assert epoch_s(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", " ", "now", "NaN", "inf", "1_000", "١٢٣", "2026-11-24", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
     "2026-11-24T10:00:00 UTC", "2026-11-24T10:00:00+99:99", "2026-W48-2T10:00:00Z", "0000-01-01T00:00:00Z",
     "2026-11-24T10:00:00Z\n", "24/11/2026 10:00", math.nan, True, False, [], {}, [1795514400]],
)  # fmt: skip
def test_what_is_no_time_is_told_with_what_is_accepted(value: Any) -> None:
    with pytest.raises(ValueError, match="expected RFC 3339 or epoch seconds or milliseconds"):
        epoch_s(value)
    letter = only(decode(event(timestamp=value)))
    assert (letter.code, letter.field) == ("field wrong", "timestamp")
    assert "expected RFC 3339 or epoch seconds or milliseconds" in letter.reason


@pytest.mark.parametrize(
    "value",
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59.999Z", -0.001, 1e300, math.inf, -math.inf,
     10**400, 1795514400123456, RECORD_S + 300.001, "9999-12-31T23:59:59-23:59"],
)  # fmt: skip
def test_a_time_outside_1970_to_ahead_of_the_record_is_a_dead_letter(value: Any) -> None:
    letter = only(decode(event(timestamp=value)))
    assert (letter.code, letter.field) == ("time out of range", "timestamp")
    assert "from 1970 to 300 s after the record (2026-09-21T14:13:20Z)" in letter.reason


@pytest.mark.parametrize("value", [0, -0.0, "1970-01-01T00:00:00Z", RECORD_S + 300.0, RECORD_S - 1e9])
def test_the_bounds_themselves_are_good(value: Any) -> None:
    assert one(decode(event(timestamp=value)))["time_s"] == epoch_s(value)


def test_without_a_time_the_records_own_counts() -> None:
    mixed = rows(decode(event(timestamp=None), event(timestamp=5), event(timestamp="1970-01-01T00:00:07Z")))
    assert [row["time_s"] for row in mixed] == [RECORD_S, 5.0, 7.0]


def test_a_record_without_a_timestamp_bounds_no_time_and_stands_for_none() -> None:
    far = "9999-12-31T23:59:59Z"
    assert one(decode(event(timestamp=far), record_s=-0.001))["time_s"] == 253402300799.0
    letter = only(decode(event(timestamp=None), record_s=-0.001))
    assert (letter.code, letter.field) == ("field missing", "timestamp")


@pytest.mark.parametrize("record_s", [253402300800.0, 9.2e15])
def test_a_record_beyond_the_year_9999_gives_no_time_that_cannot_be_written(record_s: float) -> None:
    for fields in ({"timestamp": None}, {"timestamp": 300000000000000}):
        letter = only(decode(event(**fields), record_s=record_s))
        assert letter.code == "time out of range"


def test_columns_of_one_layout_read_at_once() -> None:
    """Otherwise the equality below could hold because everything is read one by one."""
    for column in (
        ["2026-11-24T10:00:00Z"] * 3,
        ["2026-11-24 10:00:00.123"] * 2,
        ["2026-11-24T10:00:00.123456789+00:00"],
        [1, 2.5, 1795514400123],
    ):
        assert epochs_s(column) is not None
    for column in ([], [None], ["2026-11-24T10:00:00Z", "2026-11-24T10:00:00"], [True], [1, "2"]):
        assert epochs_s(column) is None


def test_a_column_at_once_equals_its_values_one_by_one() -> None:
    rng = random.Random(7)
    at_once = 0
    for _ in range(4000):
        column = _column(rng)
        read = epochs_s(column)
        if read is not None:
            at_once += 1
            assert read.tolist() == [epoch_s(value) for value in column], column
    assert at_once > 500


def _column(rng: random.Random) -> list[str]:
    """Texts of one layout, near the edges of what is valid, some of them damaged."""
    digits, zone, separator = rng.randint(0, 9), rng.choice(["", "Z", "+00:00"]), rng.choice("T ")
    column = []
    for _ in range(rng.randint(1, 3)):
        year = rng.choice([rng.randint(1970, 2100), rng.randint(0, 9999)])
        month = rng.randint(1, 12) if rng.random() < 0.9 else rng.choice([0, 13])
        day = rng.randint(1, 28) if rng.random() < 0.8 else rng.randint(0, 32)
        hour, minute = rng.choice([24, *range(24)]), rng.randint(0, 59)
        second = rng.randint(0, 60)  # 60: a leap second
        text = f"{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}"
        if digits:
            text += "." + "".join(rng.choice("0123456789") for _ in range(digits))
        text += zone
        if rng.random() < 0.05:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice("x0:.TZé") + text[at + 1 :]
        column.append(text)
    return column


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(), st.floats(), st.booleans()), max_size=4))
def test_numbers_at_once_equal_numbers_one_by_one(column: list[Any]) -> None:
    read = epochs_s(column)
    if read is not None:
        assert read.tolist() == [epoch_s(value) for value in column]


def test_the_time_of_a_record_does_not_depend_on_its_neighbours() -> None:
    values = [
        event(timestamp=value) for value in ("2026-09-21T10:00:00Z", "2026-09-21T10:00:00.5Z", 7, None, "x")
    ]
    together = rows(decode(*values))
    apart = [row for value in values for row in rows(decode(value))]
    assert [row["time_s"] for row in together] == [row["time_s"] for row in apart]
    assert batch(values).value == [batch([value]).value[0] for value in values]
