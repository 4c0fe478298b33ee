"""What an event shows without its label: each signal by a table of rows, each row read alone and all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamwatch import observed
from streamwatch.series import Reading

NAN, INF = float("nan"), float("inf")
MISSING, UNUSABLE = "missing", "unusable"


def told(reading: Reading) -> list[Any]:
    assert reading.expected.all(), "every row is expected to have a value"
    return [
        (UNUSABLE if unusable else MISSING) if np.isnan(value) else float(value)
        for value, unusable in zip(reading.values, reading.unusable, strict=True)
    ]


def check(read: Callable[..., Reading], rows: list[tuple[Any, Any]], *more: Any) -> None:
    for value, says in rows:
        assert told(read([value], *more)) == [says], value
    values, says_all = zip(*rows, strict=True)
    assert told(read(values, *more)) == list(says_all)


def test_a_number_is_what_json_calls_one() -> None:
    rows = [
        (1, 1.0),
        (-2.5, -2.5),
        (True, 1.0),
        (None, MISSING),
        ("1", UNUSABLE),
        (NAN, UNUSABLE),
        (INF, UNUSABLE),
    ]
    check(observed.number, [*rows, ([1], UNUSABLE), ({}, UNUSABLE), (10**400, UNUSABLE)])


def test_a_share_outside_0_and_1_is_unusable() -> None:
    check(observed.number, [(0, 0.0), (1, 1.0), (0.5, 0.5), (1.1, UNUSABLE), (-1e-9, UNUSABLE)], "unit")


def test_a_latency_below_0_is_unusable() -> None:
    check(observed.latency, [(0, 0.0), (8.1, 8.1), (-0.1, UNUSABLE), (None, MISSING), ("8", UNUSABLE)])


def test_missing_is_absent_null_or_nan_and_always_says_0_or_1() -> None:
    check(
        observed.missing,
        [(None, 1.0), (NAN, 1.0), (0, 0.0), ("", 0.0), (False, 0.0), (INF, 0.0), ([NAN], 0.0)],
    )
    assert told(observed.missing(["a", "b"])) == [0.0, 0.0]
    assert told(observed.missing([1.0, NAN])) == [0.0, 1.0]


def test_category_is_1_for_its_value_as_text_or_number_and_0_for_every_other() -> None:
    rows = [("1", 1.0), (1, 1.0), (1.0, 1.0), ("2", 0.0), ("", 0.0), (2.5, 0.0), (True, 0.0)]
    check(observed.category, [*rows, (None, MISSING), (NAN, UNUSABLE), ([1], UNUSABLE), ({}, UNUSABLE)], "1")
    check(observed.category, [("true", 1.0), (True, 1.0), (1, 0.0), (False, 0.0)], "true")
    assert told(observed.category(["DE", "AT", None], "DE")) == [1.0, 0.0, MISSING]


def test_positive_rate_takes_the_predicted_class_as_it_is() -> None:
    rows = [
        (1, 1.0),
        (1.0, 1.0),
        (True, 1.0),
        (0, 0.0),
        (7, 0.0),
        (None, MISSING),
        ("1", UNUSABLE),
        (NAN, UNUSABLE),
    ]
    check(observed.positive_rate, [*rows, ([1], UNUSABLE)], 1)
    check(observed.positive_rate, [("bad", 1.0), ("good", 0.0), (1, UNUSABLE), (None, MISSING)], "bad")
